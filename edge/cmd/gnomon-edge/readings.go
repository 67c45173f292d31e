package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gnomon/edge/collect"
	"gnomon/edge/health"
	"gnomon/edge/readiness"
	"gnomon/edge/readings"
	"gnomon/edge/readings/upward"
	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// leastReadings is the smallest bound of readings: some segments.
const leastReadings = 1 << 20

// nodeReadings is the store of what is collected, and its way to the cloud.
type nodeReadings struct {
	store  *readings.Store
	sender *upward.Sender
	reader *upward.Reader
	terms  wishes
	report readings.Report
	now    func() time.Time
}

// collect puts together what reads meters, and what keeps and sends what is read.
func (a *agent) collect() *nodeReadings {
	n := &nodeReadings{now: a.now}
	n.terms = wishes{rate: a.cfg.ReadingsRate, now: a.now, desired: func() []state.Desired {
		all, _ := a.link.Desired()
		return all
	}}
	a.garbage.frugally(func() {
		n.store = readings.Open(readings.Config{Dir: filepath.Join(a.cfg.Data, "readings"), Bytes: a.cfg.ReadingsBytes,
			Terms: n.terms.of, Now: a.now, Log: a.log})
	})
	a.policies = collect.New(collect.Config{Drivers: drivers(a.cfg, a.log), Store: n.store, Now: a.now, Log: a.log})
	n.reader = upward.NewReader(a.policies, n.store)
	n.sender = upward.New(upward.Config{Node: a.cfg.Node, Epoch: a.node.BootEpoch, Store: n.store, Changed: n.store.Changed(),
		Nudge: func() { a.link.Nudge() }, Rate: n.terms.bytesPerSecond, Reader: n.reader, Now: a.now, Log: a.log})
	return n
}

// Run sends, and answers the cloud, until ctx ends.
func (n *nodeReadings) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.sender.Run(ctx) })
	g.Go(func() error { return n.reader.Run(ctx) })
	return g.Wait()
}

// Find implements local.Readings.
func (n *nodeReadings) Find(ctx context.Context, q readings.Query) ([]readings.Found, bool, error) {
	return n.store.Find(ctx, q)
}

// maxSlots bounds the slots that are looked through for gaps.
const maxSlots = 100_000

// Gaps implements local.Readings. Without times it is the last day. Rows and their
// items are within the bounds of what is found.
func (n *nodeReadings) Gaps(q readings.Query) ([]collect.Gap, error) {
	p := n.terms.policy(q.Policy)
	if p == nil {
		return nil, fmt.Errorf("%w: %s", collect.ErrUnknown, q.Policy)
	}
	if q.To.IsZero() {
		q.To = n.now().Add(-p.Delay.D())
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-24 * time.Hour)
	}
	w := collect.Want{Policy: q.Policy, Meters: make(map[string][]string), Slots: p.Slots(q.From.Add(-1), q.To.Add(-1), maxSlots), Limit: q.Limit}
	if w.Limit == 0 {
		w.Limit = readings.MaxFound
	}
	for _, m := range p.Meters {
		if q.Meter != "" && q.Meter != m.ID {
			continue
		}
		for _, item := range p.ItemsOf(m) {
			if len(q.Items) == 0 || slices.Contains(q.Items, item.Name) {
				w.Meters[m.ID] = append(w.Meters[m.ID], item.Name)
			}
		}
		w.Limit = min(w.Limit, readings.MaxFoundValues/max(1, len(w.Meters[m.ID])))
	}
	return n.store.Gaps(w)
}

// readingsFacts are for the readiness.
func (a *agent) readingsFacts() *readiness.ReadingsFacts {
	s := a.readings.store.Status()
	f := &readiness.ReadingsFacts{Dropped: s.Dropped, SetAside: s.SetAside, Unsent: s.Unsent}
	if s.Fault != nil {
		f.Fault = s.Fault.Code
	}
	return f
}

// reporting is what the loop asks for what the node reports of itself.
type reporting struct {
	*health.Monitor
	readings *nodeReadings
}

// Node implements loop.Health.
func (r reporting) Node() []shadow.Member {
	return append(r.Monitor.Node(), shadow.Member{Key: schema.ReadingStoreMember, Value: r.readings.report.Value(r.readings.store.Status(), r.readings.now())})
}

// wishes is what is desired of readings, looked up again some seconds after it was
// last.
type wishes struct {
	rate    int
	desired func() []state.Desired
	now     func() time.Time

	bytes atomic.Int64 // a second, as desired of the node; 0: rate

	mu       sync.Mutex
	looked   time.Time
	policies map[string]termsOf
	node     uint64 // the version that bytes are of
}

type termsOf struct {
	version uint64
	terms   readings.Terms
	policy  *schema.Policy
}

// wishesHold is how long what is desired may be older than it is.
const wishesHold = 2 * time.Second

// of implements readings.Config.Terms.
func (w *wishes) of(policy string) readings.Terms {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	if t, ok := w.policies[policy]; ok {
		return t.terms
	}
	return readings.DefaultTerms
}

// policy is what is desired of a policy; nil if there is none.
func (w *wishes) policy(name string) *schema.Policy {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return w.policies[name].policy
}

// bytesPerSecond is the budget of readings.
func (w *wishes) bytesPerSecond() int {
	w.mu.Lock()
	w.look()
	w.mu.Unlock()
	if n := w.bytes.Load(); n > 0 {
		return int(n)
	}
	return w.rate
}

// look reads what is desired, if it is time; mu is held.
func (w *wishes) look() {
	now := w.now()
	if since := now.Sub(w.looked); since >= 0 && since < wishesHold {
		return
	}
	w.looked = now
	policies := make(map[string]termsOf)
	for _, d := range w.desired() {
		name, policy := strings.CutPrefix(d.Name, schema.PolicyPrefix)
		switch {
		case d.Name == "" && d.DesiredVersion != w.node:
			w.node = d.DesiredVersion
			w.bytes.Store(rateOf(d.Value))
		case policy && w.policies[name].version == d.DesiredVersion && w.policies[name].version > 0:
			policies[name] = w.policies[name]
		case policy && d.Value != nil:
			p, err := schema.ParsePolicy(d.Value.AppendJSON(nil))
			if err != nil {
				if before, ok := w.policies[name]; ok {
					policies[name] = before // the engine goes on with what was
				}
				continue
			}
			policies[name] = termsOf{d.DesiredVersion, readings.Terms{
				Batch: p.Report.Batch, MaxDelay: p.Report.MaxDelay.D(), Keep: time.Duration(p.Keep) * 24 * time.Hour,
			}, p}
		}
	}
	w.policies = policies
}

func rateOf(desired *shadow.Value) int64 {
	wanted := desired.Get(schema.NodeMember)
	if wanted == nil {
		return 0
	}
	n, err := schema.ParseNode(wanted.AppendJSON(nil))
	if err != nil {
		return 0
	}
	return int64(n.Readings.BytesPerSecond)
}
