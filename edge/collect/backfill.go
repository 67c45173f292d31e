package collect

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"gnomon/schema"
	"gnomon/schema/reading"
)

const (
	fillPriority = 9                // added to a policy's: whatever is read in a slot goes before
	fillTries    = 6                // that a meter answers in vain for one time
	fillQuiet    = 10 * time.Minute // a meter that kept silent isn't asked for what was
	fillFinal    = time.Hour        // after a time, a meter that has nothing of it never will
)

// fill reads what a policy's cycles have missed from what its meters keep: oldest
// first, since that is what they lose first.
type fill struct {
	*runner
	looked time.Time      // up to when the schedule was looked at
	open   bool           // a round is due or under way
	todo   []schema.Meter // of it; nil = it hasn't begun

	mu    sync.Mutex
	state Filling // of the round
	quiet time.Duration
}

// newFill returns nil where nothing is filled; that is never due.
func (r *runner) newFill() *fill {
	if r.policy.Backfill == nil || r.engine.cfg.Store == nil {
		return nil
	}
	return &fill{runner: r, looked: r.from}
}

// due tells whether a round is to be begun or to go on.
func (f *fill) due(now time.Time) bool {
	if f == nil {
		return false
	}
	if now.Before(f.looked) { // the clock was set back
		f.looked = now
	}
	if !f.at(f.looked).After(now) {
		f.setOpen(true)
	}
	f.looked = now
	return f.open
}

// next is how long it is to the next round.
func (f *fill) next(now time.Time) time.Duration {
	if f == nil {
		return maxWait
	}
	return max(f.at(now).Sub(now), time.Millisecond)
}

// at returns the first time after t that the schedule has.
func (f *fill) at(t time.Time) (first time.Time) {
	for _, text := range f.policy.Backfill.At {
		after, ofDay, err := schema.BackfillTime(text)
		if err != nil {
			continue // refused by schema before it got here
		}
		next := f.runner.next(t.Add(-after)).Add(after)
		if after == 0 {
			next = schema.NextSlot(t, 24*time.Hour, ofDay-f.policy.Offset())
		}
		if first.IsZero() || next.Before(first) {
			first = next
		}
	}
	return first
}

func (f *fill) setOpen(open bool) {
	f.open = open
	f.runner.mu.Lock()
	defer f.runner.mu.Unlock()
	f.report.Backfill.Open = open
}

// run goes on with the round for a time at most; what is left of it then goes on
// when there is time again.
func (f *fill) run(ctx context.Context, spare time.Duration) {
	within, cancel := context.WithTimeout(ctx, spare)
	defer cancel()
	if f.todo == nil {
		f.begin()
	}
	source := f.engine.sourceOf(f.policy.Source)
	driver := f.engine.cfg.Drivers[source.Kind]
	lanes := 1
	if cycler, ok := driver.(Cycler); ok {
		done, err := f.beginCycle(within, cycler, Round{Source: source, Meters: f.engine.metersOn(source)})
		if err != nil {
			f.state.Error = err.Error()
			f.end(within.Err() != nil)
			return
		}
		defer done()
		lanes = max(source.Parallel-1, 1) // a place is left for whoever has a slot
	}
	sheet := f.sheet()
	f.lanes(within, lanes, func(m schema.Meter) bool { return f.meter(within, m, source, sheet) })
	sheet.flush()
	if err := sheet.err(); err != nil {
		f.state.Error = "not kept: " + err.Error()
	}
	f.end(len(f.todo) > 0)
}

// begin begins a round, over all meters that may answer.
func (f *fill) begin() {
	f.todo = []schema.Meter{}
	f.state, f.quiet = Filling{At: f.engine.cfg.Now()}, 0
	for _, m := range f.policy.Meters {
		if len(f.policy.KeptOf(m)) == 0 {
			continue
		}
		if known := f.meters[m.ID]; known != nil && !known.silent.IsZero() && time.Since(known.silent) < fillQuiet {
			f.state.Silent++
			continue
		}
		f.todo = append(f.todo, m)
	}
}

// end says how the round has gone so far.
func (f *fill) end(broken bool) {
	f.runner.mu.Lock()
	defer f.runner.mu.Unlock()
	all := f.report.Backfill
	all.At, all.Left, all.Silent, all.Error = f.state.At, f.state.Left, f.state.Silent, f.state.Error
	all.Points += f.state.Points
	all.NoData += f.state.NoData
	all.Sent += f.state.Sent
	all.Received += f.state.Received
	f.state.Points, f.state.NoData, f.state.Sent, f.state.Received = 0, 0, 0, 0
	if !broken {
		f.todo, f.open, all.Open = nil, false, false
		all.Rounds++
	}
	f.engine.signal()
}

// lanes has work done for every meter, several at once, until it can't be ended;
// those for which it wasn't stay.
func (f *fill) lanes(ctx context.Context, n int, work func(m schema.Meter) (ended bool)) {
	var mu sync.Mutex
	var unended []schema.Meter
	take := func() (m schema.Meter, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(f.todo) == 0 || ctx.Err() != nil || retiring(f.runner) {
			return m, false
		}
		m, f.todo = f.todo[0], f.todo[1:]
		return m, true
	}
	var lanes sync.WaitGroup
	for range min(n, max(len(f.todo), 1)) {
		lanes.Go(func() {
			for m, ok := take(); ok; m, ok = take() {
				if !work(m) {
					mu.Lock()
					unended = append(unended, m)
					mu.Unlock()
				}
			}
		})
	}
	lanes.Wait()
	f.todo = append(unended, f.todo...)
}

func retiring(r *runner) bool {
	_, yes := r.lastOwn()
	return yes
}

// meter reads what a meter lacks. It tells whether that ended: a meter that isn't
// heard of has ended for this round.
func (f *fill) meter(ctx context.Context, m schema.Meter, source schema.Source, sheet *sheet) (ended bool) {
	kept := f.policy.KeptOf(m)
	byName := make(map[string]schema.Item, len(kept))
	names := make([]string, len(kept))
	for i, it := range kept {
		names[i], byName[it.Name] = it.Name, it
	}
	now := f.engine.cfg.Now()
	slots := f.policy.Slots(now.AddDate(0, 0, -f.policy.Backfill.Days), f.dueAt(now), schema.MaxBackfillSlots)
	gaps, err := f.engine.cfg.Store.Gaps(Want{Policy: f.name, Meters: map[string][]string{m.ID: names}, Slots: slots, Limit: max(len(slots), 1)})
	if err != nil {
		f.note(func(s *Filling) { s.Error = "gaps: " + err.Error() })
		return true
	}
	gaps = slices.DeleteFunc(gaps, func(g Gap) bool { return g.Tried > fillTries })
	for len(gaps) > 0 {
		n := 1
		for n < len(gaps) && n < f.policy.Backfill.MaxPointsPerRead && slices.Equal(gaps[n].Items, gaps[0].Items) {
			n++
		}
		if f.spent(source) {
			f.note(func(s *Filling) { s.Left += len(gaps) })
			return true
		}
		var items []schema.Item
		for _, name := range gaps[0].Items {
			items = append(items, byName[name])
		}
		request := Request{Source: source, Meter: m, Items: items, Priority: f.policy.Priority + fillPriority}
		open, err := f.read(ctx, request, gaps[:n], sheet)
		if ctx.Err() != nil {
			return false
		}
		gaps = gaps[n:]
		f.note(func(s *Filling) { s.Left += open })
		if err != nil && unheard(err) {
			f.note(func(s *Filling) { s.Left += len(gaps); s.Silent++ })
			return true
		}
	}
	return true
}

// spent tells whether silent meters have had their share of the round.
func (f *fill) spent(source schema.Source) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.quiet >= f.policy.Period.D()/100*time.Duration(f.policy.SilentShare)*time.Duration(max(source.Parallel, 1))
}

func (f *fill) note(change func(s *Filling)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
}

// read asks for some times of one meter, and keeps what it says. open is how many
// of them may still be had.
func (f *fill) read(ctx context.Context, request Request, gaps []Gap, sheet *sheet) (open int, err error) {
	times := make([]time.Time, len(gaps))
	for i, g := range gaps {
		times[i] = g.At
	}
	began := time.Now()
	out, err := f.recallFrom(ctx, f.recall(request, times))
	now := f.engine.cfg.Now()
	var points, noData uint64
	for i, values := range out.Rows {
		row := reading.Row{Meter: request.Meter.ID, At: times[i].UTC(), Arrived: f.arrived(), Source: reading.BackFill, Values: make([]reading.Value, len(request.Items))}
		said, good, final := false, false, true
		for k, it := range request.Items {
			v := values[it.Name]
			if v.Value == nil && unheard(v.Err) {
				final = false
				continue // nothing is known of it: Absent
			}
			if errors.Is(v.Err, ErrNoData) && now.Sub(times[i]) < fillFinal {
				v.Err = ErrNoValue
			}
			row.Values[k] = valueOf(v)
			said, good = true, good || row.Values[k].State == reading.Good
			final = final && (row.Values[k].State == reading.Good || row.Values[k].Reason == NoData)
		}
		switch {
		case good:
			points++
		case said && final:
			noData++
		}
		if !final {
			open++
		}
		if said {
			sheet.add(request.Items, row)
		}
	}
	f.note(func(s *Filling) {
		s.Points, s.NoData, s.Sent, s.Received = s.Points+points, s.NoData+noData, s.Sent+uint64(out.Frames), s.Received+uint64(out.Answers)
		if silent(err) {
			f.quiet += time.Since(began)
		}
	})
	return open, err
}
