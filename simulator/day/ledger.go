package day

import (
	"fmt"
	"math"
	"time"

	"gnomon/cloud/readings"
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
	area  *area
	items map[schema.Protocol]map[string]schema.Item

	good    map[point]reading.Source
	reasons map[point]string // why there was none, the last time
	rows    int
	strange int      // rows of times that aren't slots
	wrong   []string // what was never so, the first few
	false   int      // of them
}

func newLedger(a *area) *ledger {
	l := &ledger{area: a, items: make(map[schema.Protocol]map[string]schema.Item), good: make(map[point]reading.Source), reasons: make(map[point]string)}
	for _, p := range []schema.Protocol{schema.DLT645, schema.DLT698} {
		l.items[p] = make(map[string]schema.Item)
		for _, it := range a.policy.ItemsOf(schema.Meter{Protocol: p}) {
			l.items[p][it.Name] = it
		}
	}
	return l
}

// mostWrong is how many wrong values are kept to be shown.
const mostWrong = 5

// take notes a row of the cloud.
func (l *ledger) take(r *readings.Row) {
	for i, v := range r.Values {
		p := point{r.Meter, r.At / 1000, r.Items[i]}
		switch v.State {
		case reading.Missing:
			l.reasons[p] = v.Reason
		case reading.Good:
			l.good[p] = v.Source
			if why := l.check(r.Items[i], r, v); why != "" {
				if l.false++; len(l.wrong) < mostWrong {
					l.wrong = append(l.wrong, why)
				}
			}
		}
	}
	if r.At%shorter.Milliseconds() != 0 {
		l.strange++
	}
	l.rows++
}

// check tells what is wrong with a value; "" = it is what the meter had then, by
// its own clock.
func (l *ledger) check(item string, r *readings.Row, v readings.Value) string {
	m := l.area.meters[r.Meter]
	if m == nil {
		return "no such meter: " + r.Meter
	}
	it, ok := l.items[protocolOf(m)][item]
	if !ok {
		return "no such item: " + item
	}
	at := time.UnixMilli(r.At).UTC()
	want, ok := worth(m, it, at.Add(-m.Drift()))
	if got := v.Number.Float64(); !ok || math.Abs(got-want) > 1e-6 {
		return fmt.Sprintf("%s of %s at %v is %v and was %v", item, r.Meter, at, got, want)
	}
	return ""
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
	Strange  int            `json:"strange"`  // rows of times that aren't slots
	Wrong    int            `json:"wrong"`    // never so
	Slots    int            `json:"slots"`    // wanted
	Lost     int            `json:"lost"`     // of them without a single point
	Examples []string       `json:"examples"` // of what is wrong
}

// count compares the ledger with every meter's items at some times.
func (l *ledger) count(slots []time.Time) tally {
	t := tally{Missing: make(map[string]int), Strange: l.strange, Wrong: l.false, Examples: l.wrong, Slots: len(slots)}
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
