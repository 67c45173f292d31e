package day

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gnomon/edge/collect"
)

// Report is what came of a day.
type Report struct {
	Config   Config
	Areas    []Area
	Switched *Switch // nil = no policy was changed
	Refusals []Refusal
}

// Area is what became of one.
type Area struct {
	Name   string
	Points tally
	Pace   Pace
	Cycles []collect.Cycle
	Said   string // on its line, as a transcript
}

// Pace is what cycles were said to take, and took when all meters were there.
type Pace struct {
	Predicted time.Duration
	Median    time.Duration // of cycles in which no meter was missing
	Longest   time.Duration // of all
}

// Off is how far the prediction is from what was measured.
func (p Pace) Off() float64 { return float64(p.Predicted)/float64(max(p.Median, 1)) - 1 }

// Switch is what the change of a policy led to.
type Switch struct {
	Applied time.Time
	First   time.Time // the first slot of the new policy that was read
}

// judge fills in what can be said at the end of the day.
func (w *world) judge(r *Report) {
	for _, name := range []string{looked, altered, beside} {
		a := w.areas[name]
		r.Areas = append(r.Areas, Area{
			Name: name, Points: w.ledgers[name].count(w.slots(name)), Pace: paceOf(a.predicted(), w.cycles[name]),
			Cycles: w.cycles[name], Said: a.wire.String(),
		})
	}
	if w.changed.IsZero() {
		return
	}
	r.Switched = &Switch{Applied: w.changed}
	for _, c := range w.cycles[altered] {
		if c.At.After(w.changed) {
			r.Switched.First = c.At
			break
		}
	}
}

func paceOf(predicted time.Duration, cycles []collect.Cycle) Pace {
	p := Pace{Predicted: predicted}
	var whole []time.Duration
	for _, c := range cycles {
		p.Longest = max(p.Longest, c.Duration)
		if c.Success == c.Meters {
			whole = append(whole, c.Duration)
		}
	}
	if slices.Sort(whole); len(whole) > 0 {
		p.Median = whole[len(whole)/2]
	}
	return p
}

// slots are those that an area was to be read in.
func (w *world) slots(name string) []time.Time {
	if name != altered || w.changed.IsZero() {
		return every(at(0), at(w.cfg.Slots), period)
	}
	return append(every(at(0), w.changed, period), every(w.changed.Truncate(shorter).Add(shorter), at(w.cfg.Slots), shorter)...)
}

// every are the slots from one time to before another.
func every(from, to time.Time, step time.Duration) (all []time.Time) {
	for t := from; t.Before(to); t = t.Add(step) {
		all = append(all, t)
	}
	return all
}

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	c := r.Config
	row("seed", "%d", c.Seed)
	row("areas", "at %d baud, %.3g %% of frames lost; of area a %.3g %% of the meters dead for %v", c.Baud, 100*c.Loss, 100*c.Dead, c.DeadFor)
	for _, a := range r.Areas {
		p := a.Points
		row("area "+a.Name, "%d points: %d meters × %d slots × %d items", p.Wanted, p.Wanted/p.Slots/len(itemNames), p.Slots, len(itemNames))
		row("  completeness", "%.3f %%: %d in their slot, %d filled in%s", 100*p.Completeness(), p.InSlot, p.Filled, reasons(p.Missing))
		row("  wrong, doubled", "%d, %d", p.Wrong, p.Doubled)
		row("  cycles", "said to take %v, took %v (%+.1f %%), at most %v; %d slots lost", ms(a.Pace.Predicted), ms(a.Pace.Median), 100*a.Pace.Off(), ms(a.Pace.Longest), p.Lost)
	}
	if s := r.Switched; s != nil {
		row("area b changed", "at %s: every %v instead of %v, from %s on", s.Applied.Format(time.TimeOnly), shorter, period, s.First.Format(time.TimeOnly))
	}
	for _, f := range r.Refusals {
		row("refused", "%s: %s", f.What, f.Why)
	}
	return t.Flush()
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

func reasons(missing map[string]int) string {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(missing)) {
		parts = append(parts, fmt.Sprintf("%d %s", missing[why], why))
	}
	if parts == nil {
		return ""
	}
	return "; missing: " + strings.Join(parts, ", ")
}
