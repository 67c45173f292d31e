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

// runner is one policy at work, as one version of it has it. Every slot is one
// version's: that of the last which was applied before it.
type runner struct {
	engine  *Engine
	name    string
	policy  *schema.Policy
	from    time.Time // slots up to it are the former's
	started bool
	cancel  context.CancelFunc
	done    chan struct{}
	former  *runner       // the version before, until it has ended; nil when there is none
	retired chan struct{} // closed when another version follows
	limit   *time.Timer   // of what is finished then

	meters map[string]*seen // belongs to the cycle
	fill   *fill            // belongs to run; nil = nothing is filled
	owing  bool             // the former had a round of it to go on with

	mu      sync.Mutex
	until   time.Time // the last slots that are ours, once retired
	report  Report
	faulted time.Time // when a Fault was logged last
}

// seen is what is remembered of a meter between cycles.
type seen struct {
	failed  bool      // its last poll
	silent  time.Time // when it last kept silent; zero once it was heard
	unasked int       // slots in a row in which it wasn't asked
}

func newRunner(e *Engine, name string, version uint64, p *schema.Policy) *runner {
	r := &runner{engine: e, name: name, policy: p, done: make(chan struct{}), retired: make(chan struct{}), meters: make(map[string]*seen)}
	r.report = Report{Version: version, Phase: Collecting, Readings: make(map[string]map[string]Reading), Stored: e.cfg.Store != nil}
	r.report.Task = Task{State: TaskWaiting, Meters: len(p.Meters)}
	if !p.IsEnabled() {
		r.report.Phase = Disabled
	}
	if p.Backfill != nil && e.cfg.Store != nil {
		r.report.Backfill = new(Filling)
	}
	return r
}

// stop ends the runner; one that never started has ended already.
func (r *runner) stop() {
	if !r.started {
		r.started = true
		if r.former == nil {
			close(r.done)
			return
		}
		former := r.former
		go func() { <-former.done; close(r.done) }()
		return
	}
	r.cancel()
}

// retire lets the runner finish what slots up to a time have begun, and then end.
// It has a period for that.
func (r *runner) retire(until time.Time) {
	if !r.started {
		r.stop()
		return
	}
	r.mu.Lock()
	r.until = until
	r.mu.Unlock()
	close(r.retired)
	r.limit = time.AfterFunc(r.policy.Period.D()+r.policy.Delay.D(), r.cancel)
}

// inherit keeps the readings that mean what they meant before: of the same
// item of the same meter on the same port; and what is known of its meters.
func (r *runner) inherit(old *runner) {
	last := old.snapshot()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Cycle, r.report.Cycles, r.report.Task = last.Cycle, last.Cycles, last.Task
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
	select {
	case <-old.done: // nobody else uses it any more
		maps.Copy(r.meters, old.meters)
		r.owing = old.fill != nil && old.fill.open
	default:
	}
}

func (r *runner) setVersion(v uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Version = v
}

func (r *runner) version() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report.Version
}

// snapshot returns a report that nobody changes any more.
func (r *runner) snapshot() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.report
	out.Readings = maps.Clone(r.report.Readings) // meters' maps are replaced, never changed
	if out.Backfill != nil {
		filling := *out.Backfill
		out.Backfill = &filling
	}
	return out
}

// run polls at every slot that is the runner's, until ctx ends.
func (r *runner) run(ctx context.Context) {
	if !r.policy.IsEnabled() {
		select {
		case <-ctx.Done():
		case <-r.retired:
		}
		return
	}
	if r.fill = r.newFill(); r.fill != nil {
		r.fill.setOpen(r.owing)
	}
	last := r.from
	for {
		slot, ok := r.await(ctx, &last)
		if !ok {
			return
		}
		if r.policy.InWindow(slot) {
			r.cycle(ctx, slot)
		}
		last = slot
		if due := r.dueAt(r.engine.cfg.Now()); due.After(last) {
			last = due // slots that a cycle took too are left out
		}
	}
}

// dueAt returns the latest slot that is to be read by now.
func (r *runner) dueAt(now time.Time) time.Time {
	return r.next(now.Add(-r.policy.Delay.D())).Add(-r.policy.Period.D())
}

// next returns the first slot after t.
func (r *runner) next(t time.Time) time.Time { return r.policy.NextSlot(t) }

// last returns the time up to which slots are ours; ok is false while all are.
func (r *runner) lastOwn() (until time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.until, !r.until.IsZero()
}

// tolerance is how far a clock may be set back without a slot being read again.
const tolerance = time.Minute

// await waits until the slot after last is due, by the clock, and fills gaps
// meanwhile. When the clock is set back, the slot moves with it; when it is set
// forward, the latest slot is due at once, and once only.
func (r *runner) await(ctx context.Context, last *time.Time) (slot time.Time, ok bool) {
	for ctx.Err() == nil {
		now := r.engine.cfg.Now()
		due := r.dueAt(now)
		if back := last.Sub(now); back > min(tolerance, r.policy.Period.D()/2) {
			*last = due
		}
		until, retired := r.lastOwn()
		if retired && due.After(until) {
			due = r.next(until).Add(-r.policy.Period.D())
		}
		if due.After(*last) {
			return due, true
		}
		next := r.next(*last)
		if retired && next.After(until) {
			return slot, false
		}
		left := next.Add(r.policy.Delay.D()).Sub(now)
		if spare := left - r.policy.Period.D()/margin; r.fill.due(now) && spare > 0 && !retired {
			r.fill.run(ctx, spare)
			continue
		}
		r.sleep(ctx, min(left, maxWait, r.fill.next(now)))
	}
	return slot, false
}

// sleep waits, until ctx ends or another version follows.
func (r *runner) sleep(ctx context.Context, d time.Duration) {
	retired := r.retired
	if _, already := r.lastOwn(); already {
		retired = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-retired:
	case <-ctx.Done():
	}
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
