package collect

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"gnomon/schema"
)

// round is one cycle at work.
type round struct {
	*runner
	source schema.Source
	slot   time.Time
	began  time.Time     // how long it takes doesn't depend on a clock that may be set
	within time.Duration // until the next slot
	sheet  *sheet

	mu    sync.Mutex
	cycle Cycle
	gap   string        // the first value that a meter didn't give, though it was read
	quiet time.Duration // that silent meters have taken
}

// cycle reads every meter once: in order, but for those that failed last time,
// which come last, so that their silence costs the others nothing. What there was no
// time for until the next slot isn't read; it is first next time.
func (r *runner) cycle(ctx context.Context, slot time.Time) {
	c := &round{runner: r, source: r.engine.sourceOf(r.policy.Source), slot: slot, began: time.Now(), sheet: r.sheet()}
	now := r.engine.cfg.Now()
	c.within = r.next(slot).Add(r.policy.Delay.D()).Sub(now)
	if c.within <= 0 || c.within > r.policy.Period.D() {
		c.within = r.policy.Period.D()
	}
	c.cycle = Cycle{At: slot, Meters: len(r.policy.Meters)}
	r.begun(now)
	if cycler, ok := r.engine.cfg.Drivers[r.policy.Source.Kind].(Cycler); ok {
		c.beside(ctx, cycler)
	} else {
		for _, m := range r.inOrder() {
			if ctx.Err() == nil {
				c.poll(ctx, m)
			}
		}
	}
	c.sheet.flush()
	if ctx.Err() != nil {
		return
	}
	c.ended()
	if c.cycle.Error != "" {
		r.engine.cfg.Log.Debug("cycle incomplete", "policy", r.name, "error", c.cycle.Error)
	}
	r.engine.signal()
}

// begun says that a task runs.
func (r *runner) begun(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Task = Task{State: TaskRunning, Start: now, Meters: len(r.policy.Meters)}
}

// ended sums the cycle up.
func (c *round) ended() {
	c.cycle.Error = cmp.Or(c.cycle.Error, c.gap)
	if err := c.sheet.err(); err != nil {
		c.cycle.Error = "not kept: " + err.Error()
	}
	c.cycle.Duration = time.Since(c.began)
	missed := c.next(c.slot.Add(c.cycle.Duration)).Sub(c.slot)/c.policy.Period.D() - 1
	r := c.runner
	r.mu.Lock()
	defer r.mu.Unlock()
	c.cycle.Overruns = r.report.Cycle.Overruns + uint64(missed)
	r.report.Cycle = c.cycle
	r.report.Cycles++
	r.report.Task.State, r.report.Task.End = TaskDone, r.engine.cfg.Now()
}

// inOrder returns the meters as they are to be read: those that failed last come
// last, and before others of their kind those that weren't asked last time.
func (r *runner) inOrder() []schema.Meter {
	meters := slices.Clone(r.policy.Meters)
	for _, m := range meters {
		if r.meters[m.ID] == nil {
			r.meters[m.ID] = new(seen)
		}
	}
	slices.SortStableFunc(meters, func(a, b schema.Meter) int {
		x, y := r.meters[a.ID], r.meters[b.ID]
		return cmp.Or(rank(x.failed)-rank(y.failed), cmp.Compare(y.unasked, x.unasked))
	})
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
	within, cancel := context.WithTimeout(ctx, c.within-min(c.policy.Period.D()/margin, c.within/2))
	defer cancel()
	meters := c.inOrder()
	done, err := c.beginCycle(within, cycler, Round{Source: c.source, Meters: c.engine.metersOn(c.source)})
	if err != nil {
		for _, m := range meters {
			c.none(m, err)
		}
		return
	}
	defer done()
	next := make(chan schema.Meter)
	var lanes sync.WaitGroup
	for range min(max(c.source.Parallel, 1), len(meters)) {
		lanes.Go(func() {
			for m := range next {
				c.poll(within, m)
			}
		})
	}
	for _, m := range meters {
		next <- m
	}
	close(next)
	lanes.Wait()
}

// poll reads one meter, if there is time. What is read after the policy has ended
// is nobody's.
func (c *round) poll(ctx context.Context, m schema.Meter) {
	if err := c.denied(ctx, m); err != nil {
		c.none(m, err)
		return
	}
	items := c.policy.ItemsOf(m)
	began := time.Now()
	result, err := c.ask(ctx, m, items)
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // the cause itself, not what wraps it
		return
	}
	c.mu.Lock()
	known := c.meters[m.ID]
	known.failed, known.unasked = err != nil, 0
	if silent(err) {
		c.quiet += time.Since(began)
		known.silent = time.Now()
	} else {
		known.silent = time.Time{}
	}
	c.mu.Unlock()
	c.done(m, items, result, err)
}

// denied tells why a meter isn't asked in this slot any more: because the next one
// has come, or because meters that keep silent have had their share.
func (c *round) denied(ctx context.Context, m schema.Meter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.meters[m.ID]
	share := c.policy.Period.D() / 100 * time.Duration(c.policy.SilentShare) * time.Duration(max(c.source.Parallel, 1))
	var err error
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return nil
	case ctx.Err() != nil, time.Since(c.began) >= c.within:
		err = context.DeadlineExceeded
	case !known.silent.IsZero() && c.policy.SilentShare > 0 && c.quiet >= share:
		err = ErrGivenUp
	default:
		return nil
	}
	known.unasked++
	c.cycle.GivenUp++
	return err
}

// none says of a meter that nothing was read of it.
func (c *round) none(m schema.Meter, err error) {
	items := c.policy.ItemsOf(m)
	result := Result{Values: make(map[string]Value, len(items))}
	NoValues(result.Values, items, err, time.Now())
	c.done(m, items, result, err)
}

// ask reads one meter: what it measures, or what it froze at the slot.
func (c *round) ask(ctx context.Context, m schema.Meter, items []schema.Item) (Result, error) {
	request := Request{Source: c.source, Meter: m, Items: items, Priority: c.policy.Priority}
	if c.policy.Collect != schema.CollectFreeze {
		return c.askDriver(ctx, request)
	}
	recalled, err := c.recallFrom(ctx, c.recall(request, []time.Time{c.slot}))
	out := Result{Frames: recalled.Frames, Answers: recalled.Answers}
	if len(recalled.Rows) > 0 {
		out.Values = recalled.Rows[0]
	}
	for name, v := range out.Values {
		if v.Value != nil {
			v.At = c.slot
		} else if errors.Is(v.Err, ErrNoData) {
			v.Err = ErrNoValue // the meter's clock may be behind: it is asked again
		}
		out.Values[name] = v
	}
	return out, err
}

// recall asks for what a meter had at some slots.
func (r *runner) recall(request Request, slots []time.Time) Recall {
	return Recall{Request: request, Times: slots, Now: r.engine.cfg.Now(), Step: r.policy.Period.D(), Zone: r.policy.Offset(), Daily: r.policy.Daily()}
}

// done takes what became of one meter.
func (c *round) done(m schema.Meter, items []schema.Item, result Result, err error) {
	c.mu.Lock()
	c.cycle.Frames += result.Frames
	c.cycle.Answers += result.Answers
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
		c.cycle.Error = cmp.Or(c.cycle.Error, m.ID+": "+err.Error())
	}
	success, sent, received := c.cycle.Success, c.cycle.Frames, c.cycle.Answers
	c.mu.Unlock()
	c.take(m.ID, items, result)
	c.sheet.add(items, c.row(m.ID, c.slot, items, result.Values))
	c.runner.mu.Lock()
	defer c.runner.mu.Unlock()
	t := &c.report.Task
	t.Success, t.Sent, t.Received = max(t.Success, success), max(t.Sent, sent), max(t.Received, received)
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
