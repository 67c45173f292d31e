package q376

import (
	"context"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/q376/wire"
	"gnomon/schema"
)

// Driver is a collect.Driver for meters behind CCOs.
type Driver struct {
	open  func(schema.Source) (medium.Line, error)
	ports medium.Ports[*port]
}

// Kinds are the sources that a Driver serves.
var Kinds = []schema.SourceKind{schema.SourceQ376, schema.SourceQ376TCP}

// New returns a driver without open ports.
func New() *Driver { return NewOver(medium.Open) }

// NewOver is New with lines of another kind.
func NewOver(open func(schema.Source) (medium.Line, error)) *Driver { return &Driver{open: open} }

func (d *Driver) fresh(s schema.Source) *port { return newPort(s, d.open) }

// port returns the port of a source.
func (d *Driver) port(ctx context.Context, s schema.Source) (*port, error) {
	p, err := d.ports.Take(ctx, s, 0, d.fresh) // never waits: turns are taken within
	if err != nil {
		return nil, err
	}
	p.Give()
	return p, nil
}

// Begin implements collect.Cycler: the CCO is told its archive, and to leave
// reading to us.
func (d *Driver) Begin(ctx context.Context, r collect.Round) (func(), error) {
	p, err := d.port(ctx, r.Source)
	if err != nil {
		return nil, err
	}
	return p.begin(ctx, r.Meters)
}

// Poll implements collect.Driver.
func (d *Driver) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value, len(r.Items))}
	var err error
	out.Frames, out.Answers, err = d.visit(ctx, r, func(m *meter, c *carrier) error { return m.Poll(ctx, c, r.Items, out.Values) })
	for _, it := range r.Items {
		if _, there := out.Values[it.Name]; !there {
			collect.NoValues(out.Values, []schema.Item{it}, err, time.Now())
		}
	}
	return out, err
}

// Recall implements collect.Historian.
func (d *Driver) Recall(ctx context.Context, r collect.Recall) (out collect.Recalled, err error) {
	out.Rows = make([]map[string]collect.Value, len(r.Times))
	out.Frames, out.Answers, err = d.visit(ctx, r.Request, func(m *meter, c *carrier) error { return m.Recall(ctx, c, r, out.Rows) })
	for i := range out.Rows {
		if out.Rows[i] == nil {
			out.Rows[i] = make(map[string]collect.Value, len(r.Items))
			collect.NoValues(out.Rows[i], r.Items, err, time.Now())
		}
	}
	return out, err
}

// visit gives a meter its turn.
func (d *Driver) visit(ctx context.Context, r collect.Request, do func(m *meter, c *carrier) error) (frames, answers int, err error) {
	p, err := d.port(ctx, r.Source)
	if err != nil {
		return 0, 0, err
	}
	m, err := p.meter(r.Meter, r.Demand)
	if err != nil {
		return 0, 0, err
	}
	c := &carrier{port: p, source: r.Source, meter: m, demand: r.Demand}
	err = p.visit(ctx, r, c, do)
	return c.frames, c.answers, err
}

// visit reads one meter when it is its turn, and when there is a place for it.
func (p *port) visit(ctx context.Context, r collect.Request, c *carrier, do func(m *meter, c *carrier) error) error {
	m := c.meter
	if err := m.turn.Take(ctx, r.Priority); err != nil {
		return err
	}
	defer m.turn.Give()
	if err := m.Absent(time.Now()); err != nil {
		return err
	}
	places := &p.places
	if r.Demand {
		places = &p.demands
	}
	if err := places.Take(ctx, r.Priority); err != nil {
		return err
	}
	defer places.Give()
	if err := p.ready(ctx); err != nil {
		return err
	}
	c.until = time.Now().Add(c.source.Timeout.D())
	err := do(m, c)
	m.failed = err != nil
	return err
}

// Release implements collect.Driver.
func (d *Driver) Release(s schema.Source) { d.ports.Release(s) }

// protocolOf is how the CCO names a protocol.
func protocolOf(p schema.Protocol) wire.Protocol {
	if p == schema.DLT698 {
		return wire.DLT698
	}
	return wire.DLT645
}

var (
	_ collect.Cycler    = (*Driver)(nil)
	_ collect.Historian = (*Driver)(nil)
)
