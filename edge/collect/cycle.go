package collect

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"gnomon/schema"
)

// round is one cycle at work.
type round struct {
	*runner
	driver Driver

	mu      sync.Mutex
	cycle   Cycle
	gap     string // the first value that a meter didn't give, though it was read
	results map[string]bool
}

// cycle reads every meter once: in order, but for those that failed last time,
// which come last, so that their silence costs the others nothing.
func (r *runner) cycle(ctx context.Context, slot time.Time) {
	began := time.Now() // how long it takes doesn't depend on a clock that may be set
	c := &round{runner: r, driver: r.engine.cfg.Drivers[r.policy.Source.Kind], results: make(map[string]bool)}
	c.cycle = Cycle{At: slot, Meters: len(r.policy.Meters)}
	if cycler, ok := c.driver.(Cycler); ok {
		c.beside(ctx, cycler)
	} else {
		for _, m := range r.inOrder() {
			if ctx.Err() == nil {
				c.poll(ctx, m)
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	r.failing = c.results
	c.cycle.Error = cmp.Or(c.cycle.Error, c.gap)
	c.cycle.Duration = time.Since(began)
	missed := r.next(slot.Add(c.cycle.Duration)).Sub(slot)/r.policy.Period.D() - 1
	r.mu.Lock()
	c.cycle.Overruns = r.report.Cycle.Overruns + uint64(missed)
	r.report.Cycle = c.cycle
	r.report.Cycles++
	r.mu.Unlock()
	if c.cycle.Error != "" {
		r.engine.cfg.Log.Debug("cycle incomplete", "policy", r.name, "error", c.cycle.Error)
	}
	r.engine.signal()
}

// inOrder returns the meters as they are to be read.
func (r *runner) inOrder() []schema.Meter {
	meters := slices.Clone(r.policy.Meters)
	slices.SortStableFunc(meters, func(a, b schema.Meter) int { return rank(r.failing[a.ID]) - rank(r.failing[b.ID]) })
	return meters
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}

// margin is the share of a period, one in so many, that is left when a cycle of
// meters read beside each other is broken off: the next slot is not to be missed.
const margin = 20

// beside reads several meters at once. What the period doesn't suffice for is
// broken off, since one meter that keeps silent would cost all others a slot.
func (c *round) beside(ctx context.Context, cycler Cycler) {
	period := c.policy.Period.D()
	within, cancel := context.WithTimeout(ctx, period-period/margin)
	defer cancel()
	done, err := cycler.Begin(within, Round{Source: c.policy.Source, Meters: c.engine.metersOn(c.policy.Source)})
	if err != nil {
		for _, m := range c.policy.Meters {
			items := c.policy.ItemsOf(m)
			result := Result{Values: make(map[string]Value, len(items))}
			NoValues(result.Values, items, err, time.Now())
			c.done(m, items, result, err)
		}
		return
	}
	defer done()
	next := make(chan schema.Meter)
	var lanes sync.WaitGroup
	for range min(max(c.policy.Source.Parallel, 1), len(c.policy.Meters)) {
		lanes.Go(func() {
			for m := range next {
				c.poll(within, m)
			}
		})
	}
	for _, m := range c.inOrder() {
		next <- m
	}
	close(next)
	lanes.Wait()
}

// poll reads one meter. What is read after the policy has ended is nobody's.
func (c *round) poll(ctx context.Context, m schema.Meter) {
	items := c.policy.ItemsOf(m)
	result, err := c.driver.Poll(ctx, Request{Source: c.policy.Source, Meter: m, Items: items, Priority: c.policy.Priority})
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // the cause itself, not what wraps it
		return
	}
	c.done(m, items, result, err)
}

// done takes what became of one meter.
func (c *round) done(m schema.Meter, items []schema.Item, result Result, err error) {
	c.mu.Lock()
	c.cycle.Frames += result.Frames
	complete := err == nil
	for _, it := range items {
		v := result.Values[it.Name]
		complete = complete && v.Err == nil && v.Value != nil
		if v.Err != nil && c.gap == "" {
			c.gap = m.ID + ": " + v.Err.Error()
		}
	}
	if complete {
		c.cycle.Success++
	} else if err != nil {
		c.results[m.ID] = true
		c.cycle.Error = cmp.Or(c.cycle.Error, m.ID+": "+err.Error())
	}
	c.mu.Unlock()
	c.take(m.ID, items, result)
}

// metersOn returns the meters of all policies that use a source's port, each
// once. Policies in effect only: a disabled one reads nothing.
func (e *Engine) metersOn(s schema.Source) (all []schema.Meter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range e.policies {
		if !r.policy.IsEnabled() || !samePort(r.policy.Source, s) {
			continue
		}
		for _, m := range r.policy.Meters {
			if !seen[m.Address] {
				seen[m.Address] = true
				all = append(all, m)
			}
		}
	}
	return all
}

// Read reads one meter of a policy now, ahead of what is read in cycles, and
// returns its latest readings, which are in reports as well.
func (e *Engine) Read(ctx context.Context, policy, meter string) (map[string]Reading, error) {
	e.mu.Lock()
	r := e.policies[policy]
	e.mu.Unlock()
	if r == nil {
		return nil, ErrUnknown
	}
	at := slices.IndexFunc(r.policy.Meters, func(m schema.Meter) bool { return m.ID == meter })
	if at < 0 {
		return nil, ErrUnknown
	}
	m := r.policy.Meters[at]
	items := r.policy.ItemsOf(m)
	result, err := e.cfg.Drivers[r.policy.Source.Kind].Poll(ctx, Request{Source: r.policy.Source, Meter: m, Items: items, Demand: true})
	r.take(m.ID, items, result)
	e.signal()
	return r.snapshot().Readings[m.ID], err
}
