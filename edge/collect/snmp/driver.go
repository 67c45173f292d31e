package snmp

import (
	"context"
	"errors"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/schema"
)

// Driver is a collect.Driver for SNMP agents.
type Driver struct {
	credentials credentials.Dir

	mu     sync.Mutex
	agents map[string]*agent // by address, of all sources
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceSNMP}

// New returns a driver that has credentials from a directory; "" = none.
func New(dir credentials.Dir) *Driver {
	return &Driver{credentials: dir, agents: make(map[string]*agent)}
}

// maxAgents bounds what is remembered of agents, of policies that are gone too;
// beyond it all is learnt anew.
const maxAgents = 4 * schema.MaxMeters

// agent returns what is known of the agent at an address.
func (d *Driver) agent(address string) *agent {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.agents[address]
	if a == nil {
		if len(d.agents) >= maxAgents {
			clear(d.agents)
		}
		a = newAgent()
		d.agents[address] = a
	}
	return a
}

// Begin implements collect.Cycler: agents are read beside each other, and need no
// preparation.
func (d *Driver) Begin(ctx context.Context, _ collect.Round) (func(), error) {
	return func() {}, ctx.Err()
}

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	err := d.poll(ctx, r, &out)
	for _, it := range r.Items {
		if _, there := out.Values[it.Name]; !there {
			collect.NoValues(out.Values, []schema.Item{it}, err, time.Now())
		}
	}
	return out, err
}

// poll reads one agent when it is its turn. Items without an entry in out have no
// value for the error it returns.
func (d *Driver) poll(ctx context.Context, r collect.Request, out *collect.Result) error {
	a := d.agent(r.Meter.Address)
	if err := a.Take(ctx, r.Priority); err != nil {
		return err
	}
	defer a.Give()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.Err(time.Now()); err != nil {
		return err
	}
	err := d.ask(ctx, a, r, out)
	if errors.Is(err, errEngine) {
		a.user = nil // another engine than the one we knew, perhaps: it is asked for again, once
		err = d.ask(ctx, a, r, out)
	}
	a.Note(err, time.Now())
	return err
}

// ask reads one agent, whose turn it is.
func (d *Driver) ask(ctx context.Context, a *agent, r collect.Request, out *collect.Result) error {
	s, err := a.open(ctx, r.Source, r.Meter, d.credentials)
	if err != nil {
		return err
	}
	defer s.close()
	err = a.read(s, r.Items, out.Values)
	out.Frames, out.Answers = out.Frames+s.wire.sent, out.Answers+s.wire.came
	return err
}

// Release implements collect.Driver. Agents have nothing open between polls: what
// was learnt of them is forgotten.
func (d *Driver) Release(schema.Source) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.agents)
}

var _ collect.Cycler = (*Driver)(nil)
