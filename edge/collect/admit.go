package collect

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"gnomon/schema"
)

// ErrCrowded is said of a policy that its port has no time for beside the others.
var ErrCrowded = errors.New("no room on the port")

// claim is a policy with what it needs of its port while it reads.
type claim struct {
	name   string
	policy *schema.Policy
	need   schema.BusTime
}

// admit refuses a policy that, with the others on its port, needs more time than
// there is even at the pace of the fastest meters: at some time of the day, by their
// windows, and with as many meters at once as each of them bears. The engine must be
// locked.
func (e *Engine) admit(name string, p *schema.Policy) error {
	if !p.IsEnabled() {
		return nil
	}
	all := []claim{{name: name, policy: p}}
	parallel, others := p.Source.Parallel, math.MaxInt // at once: what all bear, and the others by themselves
	for _, other := range slices.Sorted(maps.Keys(e.policies)) {
		o := e.policies[other].policy
		if other == name || !o.IsEnabled() || !samePort(o.Source, p.Source) {
			continue
		}
		all = append(all, claim{name: other, policy: o})
		parallel, others = min(parallel, o.Source.Parallel), min(others, o.Source.Parallel)
	}
	if len(all) == 1 {
		return nil
	}
	for i := range all {
		all[i].need = needOf(all[i].policy, parallel)
		if i == 0 && all[0].need == (schema.BusTime{}) {
			return nil // it takes nothing
		}
	}
	for _, at := range begins(all) {
		reading := slices.DeleteFunc(slices.Clone(all), func(c claim) bool { return !readsAt(c.policy, at) })
		if len(reading) == 0 || reading[0].name != name && parallel == others {
			continue // it takes nothing from the others then
		}
		for _, of := range resources {
			if err := crowded(reading, of, parallel); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasPlaces tells whether policies of a source share places for meters that are read
// at once. SNMP agents have no port in common.
func hasPlaces(s schema.Source) bool { return s.Parallel > 0 && s.Kind.Protocol() != schema.SNMP }

// needOf is what a policy needs with so many places at the most.
func needOf(p *schema.Policy, parallel int) schema.BusTime {
	if hasPlaces(p.Source) && p.Source.Parallel > parallel {
		limited := *p
		limited.Source.Parallel = parallel
		p = &limited
	}
	return p.BusTime(p.Source.Kind.Fastest())
}

// share is the part of the time that it takes of something.
func (c claim) share(of func(schema.BusTime) time.Duration) float64 {
	return float64(of(c.need)) / float64(c.policy.Period.D())
}

// resources are what a port has that there may be too little of: places for meters, of
// which a serial line has one, and a CCO's line.
var resources = []func(schema.BusTime) time.Duration{
	func(t schema.BusTime) time.Duration { return t.Places },
	func(t schema.BusTime) time.Duration { return t.Line },
}

// crowded refuses policies that read at the same time and need more of something than
// there is.
func crowded(reading []claim, of func(schema.BusTime) time.Duration, parallel int) error {
	sum := 0.0
	for _, c := range reading {
		sum += c.share(of)
	}
	if sum <= 1+1e-9 { // sums of shares aren't exact
		return nil
	}
	limited := false
	texts := make([]string, len(reading))
	for i, c := range reading {
		limited = limited || hasPlaces(c.policy.Source) && c.policy.Source.Parallel > parallel
		texts[i] = fmt.Sprintf("%s with %v of every %v (%d %%)", c.name, rounded(of(c.need)), c.policy.Period, percent(c.share(of)))
	}
	list, verb, advice := texts[0], "is", "lengthen a period, or read less"
	if len(texts) > 1 {
		list, verb = list+" and "+strings.Join(texts[1:], ", "), "are"
	}
	if limited {
		advice = fmt.Sprintf("of all policies on it the least source.parallel counts, which is %d: raise that, %s; to lower it for all, lengthen their periods first", parallel, advice)
	}
	source := reading[0].policy.Source
	return fmt.Errorf("%w %s%s: %s %s %d %% of the time, at most 100 %%: %s", ErrCrowded, source.Address, source.Port, list, verb, percent(sum), advice)
}

// rounded leaves three or four digits, and no less than milliseconds.
func rounded(d time.Duration) time.Duration {
	unit := time.Millisecond
	for d >= 10000*unit {
		unit *= 10
	}
	return d.Round(unit)
}

// percent is rounded up, so that what is too much reads as too much.
func percent(share float64) int { return int(share*100 + 0.999) }

const wholeDay = 24 * time.Hour

// steady tells whether a policy has its slots at the same times every day.
func steady(p *schema.Policy) bool { return wholeDay%p.Period.D() == 0 }

// begins are the times of a day at which policies begin to read, or one if none has
// windows: at one of them most read.
func begins(all []claim) []time.Time {
	times := []time.Time{time.Unix(0, 0)}
	for _, c := range all {
		for _, w := range c.policy.Windows {
			start, _, err := w.Bounds()
			if err != nil || !steady(c.policy) {
				continue // the former is refused by schema before it got here
			}
			times = append(times, c.policy.NextSlot(time.Unix(0, -1).Add(wholeDay+start-c.policy.Offset())))
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal)
}

// readsAt tells whether a policy reads at a time: whether the slot under way is one
// that it reads. One whose slots are at other times every day is taken to.
func readsAt(p *schema.Policy, at time.Time) bool {
	return !steady(p) || p.InWindow(p.NextSlot(at).Add(-p.Period.D()))
}

// sourceOf is a policy's source as the policies on its port have it together: they
// share one window of meters that are read at once, and none may open it further
// than another wants it.
func (e *Engine) sourceOf(s schema.Source) schema.Source {
	if !hasPlaces(s) {
		return s
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.policies {
		if o := r.policy.Source; hasPlaces(o) && r.policy.IsEnabled() && samePort(o, s) {
			s.Parallel = min(s.Parallel, o.Parallel)
		}
	}
	return s
}
