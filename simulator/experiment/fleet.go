package experiment

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"gnomon/simulator/figures"
	"gnomon/simulator/node"
)

// fleet is the nodes of an experiment.
type fleet struct {
	cfg   Config
	nodes []*node.Node
	byID  map[string]*node.Node
	group sync.WaitGroup
}

func newFleet(cfg Config) *fleet {
	f := &fleet{cfg: cfg, byID: make(map[string]*node.Node, cfg.Nodes)}
	epoch := uint64(time.Now().Unix()) // later than that of any run before
	for i := range cfg.Nodes {
		dialer := &net.Dialer{LocalAddr: source(cfg.Nodes, i), KeepAliveConfig: net.KeepAliveConfig{Enable: false}}
		n := node.New(node.Config{
			Dial: func(ctx context.Context, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", cfg.MQTT)
			},
			Agent:     cfg.Agent,
			BootEpoch: epoch,
			Delay:     Delays(cfg.Delay),
			FaultRate: cfg.FaultRate,
			Log:       cfg.Log,
		}, fmt.Sprintf("%s-%05d", cfg.Prefix, i), cfg.Seed+uint64(i)*0x9e3779b97f4a7c15)
		f.nodes = append(f.nodes, n)
		f.byID[n.Name()] = n
	}
	return f
}

// start starts the nodes at the connect rate and waits until all are registered.
func (f *fleet) start(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, f.cfg.Timeout, fmt.Errorf("not all nodes registered within %s", f.cfg.Timeout))
	defer cancel()
	f.group.Go(func() { f.launch(ctx) })
	for i, n := range f.nodes {
		select {
		case <-n.Registered():
			f.cfg.Progress(Progress{"connect", i + 1, len(f.nodes)})
		case <-limited.Done():
			return fmt.Errorf("connect: %w", context.Cause(limited))
		}
	}
	return nil
}

// launch starts one node after the other, a batch every tick.
func (f *fleet) launch(ctx context.Context) {
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began := time.Now()
	for started := 0; started < len(f.nodes); {
		due := min(len(f.nodes), 1+int(time.Since(began).Seconds()*float64(f.cfg.ConnectRate)))
		for ; started < due; started++ {
			n := f.nodes[started]
			f.group.Go(func() { _ = n.Run(ctx) }) // nil: ends with ctx only
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// wait waits for all nodes to end, after their context ended.
func (f *fleet) wait() { f.group.Wait() }

// unregistered lists nodes that never registered, and why.
func (f *fleet) unregistered(limit int) (all []Straggler, total int) {
	for _, n := range f.nodes {
		select {
		case <-n.Registered():
			continue
		default:
		}
		if total++; len(all) < limit {
			all = append(all, Straggler{Node: n.Name(), Why: "not registered: " + why(n)})
		}
	}
	return all, total
}

// why says what the node itself knows of its troubles.
func why(n *node.Node) string {
	if err := n.Problem(); err != nil {
		return err.Error()
	}
	return "the node knows of no problem"
}

// account sums up the nodes' counters.
func (f *fleet) account(r *Report) {
	var connect []time.Duration
	for _, n := range f.nodes {
		c := &n.Counters
		r.Traffic.MessagesUp.Add(c.Traffic.PacketsUp.Load())
		r.Traffic.MessagesDown.Add(c.Traffic.PacketsDown.Load())
		r.Traffic.BytesUp.Add(c.Traffic.BytesUp.Load())
		r.Traffic.BytesDown.Add(c.Traffic.BytesDown.Load())
		r.Reconnects += max(0, c.Connects.Load()-1)
		r.FailedConnects += c.Failures.Load()
		r.Faults.CutBefore += c.CutBefore.Load()
		r.Faults.CutAfter += c.CutAfter.Load()
		r.Faults.FailedApply += c.FailedApply.Load()
		r.Reports += c.Reports.Load()
		r.Syncs += c.Syncs.Load()
		r.Unanswered += c.Unanswered.Load()
		r.Errors += c.Rejected.Load() + c.Errors.Load()
		if d := c.ConnectNanos.Load(); d > 0 {
			connect = append(connect, time.Duration(d))
		}
	}
	for _, s := range []*figures.Spread{&r.Traffic.MessagesUp, &r.Traffic.MessagesDown, &r.Traffic.BytesUp, &r.Traffic.BytesDown} {
		s.Divide(len(f.nodes))
	}
	r.Connect = figures.Summarise(connect)
}
