package collect

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"gnomon/schema"
)

// maxWait is how long a policy sleeps at most before it looks at the clock
// again, so that a clock that was set is noticed.
const maxWait = 30 * time.Second

// runner is one policy at work.
type runner struct {
	engine  *Engine
	name    string
	policy  *schema.Policy
	started bool
	cancel  context.CancelFunc
	done    chan struct{}
	after   <-chan struct{} // closed when the policy's former runner has ended; nil when there is none

	failing map[string]bool // meters whose last poll failed; belongs to the cycle

	mu     sync.Mutex
	report Report
}

func newRunner(e *Engine, name string, version uint64, p *schema.Policy) *runner {
	r := &runner{engine: e, name: name, policy: p, done: make(chan struct{}), failing: make(map[string]bool)}
	r.report = Report{Version: version, Phase: Collecting, Readings: make(map[string]map[string]Reading)}
	if !p.IsEnabled() {
		r.report.Phase = Disabled
	}
	return r
}

// stop ends the runner; one that never started has ended already.
func (r *runner) stop() {
	if !r.started {
		r.started = true
		if r.after == nil {
			close(r.done)
			return
		}
		go func() { <-r.after; close(r.done) }()
		return
	}
	r.cancel()
}

// inherit keeps the readings that mean what they meant before: of the same
// item of the same meter on the same port.
func (r *runner) inherit(old *runner) {
	last := old.snapshot()
	r.report.Cycle, r.report.Cycles = last.Cycle, last.Cycles
	r.report.Cycle.Overruns = 0
	if !samePort(r.policy.Source, old.policy.Source) {
		return
	}
	former := make(map[string]schema.Meter, len(old.policy.Meters))
	for _, m := range old.policy.Meters {
		former[m.ID] = m
	}
	for _, m := range r.policy.Meters {
		was, had := former[m.ID], last.Readings[m.ID]
		if had == nil || was.Unit != m.Unit || was.Address != m.Address {
			continue
		}
		before := old.policy.ItemsOf(was)
		keep := make(map[string]Reading)
		for _, it := range r.policy.ItemsOf(m) {
			if reading, ok := had[it.Name]; ok && slices.Contains(before, it) {
				keep[it.Name] = reading
			}
		}
		r.report.Readings[m.ID] = keep
	}
}

func (r *runner) setVersion(v uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Version = v
}

// snapshot returns a report that nobody changes any more.
func (r *runner) snapshot() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.report
	out.Readings = maps.Clone(r.report.Readings) // meters' maps are replaced, never changed
	return out
}

// run polls at every slot until ctx ends.
func (r *runner) run(ctx context.Context) {
	if !r.policy.IsEnabled() {
		<-ctx.Done()
		return
	}
	for {
		now, ok := r.sleep(ctx)
		if !ok {
			return
		}
		// Of slots that a clock set forward has jumped over, the last is due.
		slot := r.next(now).Add(-r.policy.Period.D())
		if InWindow(slot, r.policy.Windows) {
			r.cycle(ctx, slot)
		}
	}
}

// next returns the first slot after t.
func (r *runner) next(t time.Time) time.Time {
	return NextSlot(t, r.policy.Period.D(), r.policy.Align.D())
}

// sleep waits for the next slot by the clock, and returns what the clock shows
// then. When it is set back, the slot moves with it; when it is set forward, the
// slot is due at once, and once only.
func (r *runner) sleep(ctx context.Context) (now time.Time, ok bool) {
	now = r.engine.cfg.Now()
	slot := r.next(now)
	for ; now.Before(slot); now = r.engine.cfg.Now() {
		if first := r.next(now); first.Before(slot) {
			slot = first
		}
		timer := time.NewTimer(min(slot.Sub(now), maxWait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return now, false
		}
	}
	return now, ctx.Err() == nil
}

// take turns a meter's result into its latest readings.
func (r *runner) take(meter string, items []schema.Item, result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.report.Readings[meter]
	latest := make(map[string]Reading, len(items))
	for _, it := range items {
		v := result.Values[it.Name]
		switch had := old[it.Name]; {
		case v.Value != nil:
			latest[it.Name] = Reading{Value: v.Value, At: v.At, Quality: Good}
		case had.Value != nil:
			had.Quality, had.Reason = Stale, Reason(v.Err)
			latest[it.Name] = had
		default:
			latest[it.Name] = Reading{At: v.At, Quality: Missing, Reason: Reason(v.Err)}
		}
	}
	r.report.Readings[meter] = latest
}
