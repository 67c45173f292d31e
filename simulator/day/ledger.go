package day

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"gnomon/schema"
	"gnomon/schema/reading"
	"gnomon/simulator/station"
)

// point is one value of a meter at one time.
type point struct {
	meter string
	at    int64 // seconds since 1970
	item  string
}

// ledger is what is known of one policy's points, and whether it is true.
type ledger struct {
	area *area

	mu      sync.Mutex
	good    map[point]reading.Source
	reasons map[point]string // why there was none, the last time
	doubled int              // told twice as good
	wrong   []string         // what was never so, the first few
	false   int              // of them
}

func newLedger(a *area) *ledger {
	return &ledger{area: a, good: make(map[point]reading.Source), reasons: make(map[point]string)}
}

// mostWrong is how many wrong values are kept to be shown.
const mostWrong = 5

// take notes a row.
func (l *ledger) take(names []string, r reading.Row) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, v := range r.Values {
		p := point{r.Meter, r.At.Unix(), names[i]}
		switch {
		case v.State == reading.Missing:
			l.reasons[p] = v.Reason
			continue
		case v.State != reading.Good:
			continue
		}
		if _, again := l.good[p]; again {
			l.doubled++
		}
		l.good[p] = r.Source
		if why := l.check(names[i], r, v.Number); why != "" {
			if l.false++; len(l.wrong) < mostWrong {
				l.wrong = append(l.wrong, why)
			}
		}
	}
}

// check tells what is wrong with a value; "" = it is what the meter had.
func (l *ledger) check(item string, r reading.Row, n reading.Number) string {
	m := l.area.meters[r.Meter]
	if m == nil {
		return "no such meter: " + r.Meter
	}
	i := slices.IndexFunc(l.area.policy.ItemsOf(schema.Meter{Protocol: protocolOf(m)}), func(it schema.Item) bool { return it.Name == item })
	if i < 0 {
		return "no such item: " + item
	}
	it := l.area.policy.ItemsOf(schema.Meter{Protocol: protocolOf(m)})[i]
	got := float64(n.Mantissa) * math.Pow10(int(n.Exponent))
	from, to := r.At.Add(-m.Drift()), r.At.Add(-m.Drift()) // a freeze is of the meter's own time
	if r.Source == reading.Cycle {
		from, to = r.At, r.Arrived
	}
	for t := from; ; t = t.Add(time.Minute) { // values change by the minute
		if want, ok := worth(m, it, earlier(t, to)); ok && math.Abs(got-want) < 1e-6 {
			return ""
		}
		if !t.Before(to) {
			break
		}
	}
	return fmt.Sprintf("%s of %s at %v, arrived %v: %v is wrong", item, r.Meter, r.At, r.Arrived, got)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func protocolOf(m *station.Meter) schema.Protocol {
	model, _ := schema.ModelNamed(m.Model())
	return model.Protocol
}

// worth is what an item of a meter is at some time.
func worth(m *station.Meter, it schema.Item, t time.Time) (float64, bool) {
	if it.OAD != "" {
		v, ok := m.Truth(it.OAD, t)
		return float64(v) * it.Scale, ok
	}
	v, ok := m.Truth(it.DI, t)
	_, decimals, _ := schema.FormatDigits(it.Format)
	return float64(v) / math.Pow10(decimals) * it.Scale, ok
}

// tally is what a ledger holds of what was wanted.
type tally struct {
	Wanted   int            `json:"wanted"`
	Good     int            `json:"good"`
	InSlot   int            `json:"inSlot"`   // of the good, read in their slot
	Filled   int            `json:"filled"`   // and later
	Missing  map[string]int `json:"missing"`  // by reason
	Doubled  int            `json:"doubled"`  // told more than once
	Wrong    int            `json:"wrong"`    // never so
	Slots    int            `json:"slots"`    // wanted
	Lost     int            `json:"lost"`     // of them without a single point
	Examples []string       `json:"examples"` // of what is wrong
}

// count compares the ledger with every meter's items at some times.
func (l *ledger) count(slots []time.Time) tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := tally{Missing: make(map[string]int), Doubled: l.doubled, Wrong: l.false, Examples: l.wrong, Slots: len(slots)}
	for _, slot := range slots {
		before := t.Good
		for meter := range l.area.meters {
			for _, item := range itemNames {
				t.one(l, point{meter, slot.Unix(), item})
			}
		}
		if t.Good == before {
			t.Lost++
		}
	}
	return t
}

func (t *tally) one(l *ledger, p point) {
	t.Wanted++
	source, ok := l.good[p]
	switch {
	case !ok && l.reasons[p] == "":
		t.Missing["nothing is known"]++
		return
	case !ok:
		t.Missing[l.reasons[p]]++
		return
	case source == reading.BackFill:
		t.Filled++
	default:
		t.InSlot++
	}
	t.Good++
}

// Completeness is the share of what was wanted that is there.
func (t tally) Completeness() float64 { return float64(t.Good) / float64(max(t.Wanted, 1)) }
