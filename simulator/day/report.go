package day

import (
	"context"
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
	Killed   int           // how often the agent was
	Cut      time.Duration // of the link
	Link     Link
	Told     int // points that the cloud has
	Broken   int // of those that the node's store has kept, not there as they were
}

// Link is what went over the link to the cloud.
type Link struct {
	Bytes    int // both ways, with what MQTT and TCP add
	Messages int
	Lost     int
	Doubled  int
}

// PerPoint are the bytes that a point took.
func (r *Report) PerPoint() float64 { return float64(r.Link.Bytes) / float64(max(r.Told, 1)) }

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
	Predicted time.Duration // at the pace of the meters
	Lossy     time.Duration // and with what their losses cost
	Median    time.Duration // of cycles in which no meter was missing
	Longest   time.Duration // of all
}

// off is how far a prediction is from what was measured.
func (p Pace) off(said time.Duration) float64 { return float64(said)/float64(max(p.Median, 1)) - 1 }

// Switch is what the change of a policy led to.
type Switch struct {
	Applied time.Time
	First   time.Time // the first slot of the new policy that was read
}

// Judge tells of a day by what the cloud has of it. It has to be called outside the
// bubble.
func (d *Day) Judge(ctx context.Context) (*Report, error) {
	r := &Report{Config: d.cfg, Refusals: d.refused, Killed: d.killed, Cut: d.cut.to.Sub(d.cut.from)}
	for _, name := range []string{looked, altered, beside} {
		a := d.areas[name]
		l := newLedger(a)
		if err := d.cloud.rows(ctx, name, l.take); err != nil {
			return nil, fmt.Errorf("area %s: %w", name, err)
		}
		r.Areas = append(r.Areas, Area{
			Name: name, Points: l.count(d.slots(name)), Pace: paceOf(d.said[name], d.cycles[name]), Cycles: d.cycles[name], Said: a.wire.String(),
		})
		r.Told += len(l.good)
		r.Broken += d.node.promises.broken(name, l)
	}
	up := d.node.uplink
	r.Link = Link{Bytes: up.bytes, Messages: up.messages, Lost: up.lost, Doubled: up.twice}
	if d.changed.IsZero() {
		return r, nil
	}
	r.Switched = &Switch{Applied: d.changed}
	for _, c := range d.cycles[altered] {
		if c.At.After(d.changed) {
			r.Switched.First = c.At
			break
		}
	}
	return r, nil
}

func paceOf(p Pace, cycles []collect.Cycle) Pace {
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
func (d *Day) slots(name string) []time.Time {
	if name != altered || d.changed.IsZero() {
		return every(at(0), at(d.cfg.Slots), period)
	}
	return append(every(at(0), d.changed, period), every(d.changed.Truncate(shorter).Add(shorter), at(d.cfg.Slots), shorter)...)
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
		row("  wrong", "%d; rows twice or of no slot: %d", p.Wrong, p.Strange)
		c := a.Pace
		row("  cycles", "said to take %v (%+.1f %%), %v with losses (%+.1f %%); took %v, at most %v; %d slots lost",
			ms(c.Predicted), 100*c.off(c.Predicted), ms(c.Lossy), 100*c.off(c.Lossy), ms(c.Median), ms(c.Longest), p.Lost)
	}
	row("agent", "killed %d times with the power of its disk; link to the cloud down for %v; of what was kept, lost: %d", r.Killed, r.Cut, r.Broken)
	row("link", "%.2f bytes for each of %d points, with all that MQTT and TCP add; %d messages, %d lost, %d doubled", r.PerPoint(), r.Told, r.Link.Messages, r.Link.Lost, r.Link.Doubled)
	if s := r.Switched; s != nil {
		row("area b changed", "at %s, during a cycle: every %v instead of %v, from %s on", s.Applied.Format(time.TimeOnly), shorter, period, s.First.Format(time.TimeOnly))
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
