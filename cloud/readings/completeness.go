package readings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"gnomon/cloud/identity"
	"gnomon/schema"
	"gnomon/schema/reading"
)

// ErrDay: a question about a day that can't be answered.
var ErrDay = errors.New("day")

// What a cell of a matrix says of a meter's values in one column.
const (
	CellNone    = ' ' // nothing was to be read, or its time has not come
	CellFull    = '#' // all are there
	CellLate    = 'b' // all are there, some by back-fill
	CellPart    = '+' // some are there
	CellMissing = 'x' // none is there, and the node said why
	CellSilent  = '.' // none is there, and nothing was said
	NotTold     = "not-told"
	narrowest   = time.Minute
)

// Completeness is what there is of what should have been read of one policy on one
// day by the clock of its zone, by the time that values are of, not that of arrival.
type Completeness struct {
	Node    string    `json:"node"`
	Policy  string    `json:"policy"`
	Day     string    `json:"day"`
	Zone    string    `json:"zone" doc:"offset from UTC of the day, that of the policy"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Column  string    `json:"column" doc:"time that a cell stands for, such as 15m0s"`
	Columns int       `json:"columns"`
	Next    *NextSlot `json:"next,omitempty" doc:"the first slot of the day that doesn't count yet"`
	Vague   bool      `json:"vague,omitempty" doc:"the history of the policy doesn't go back to this day: the oldest version that is known stands for those before it"`
	KPIs    KPIs      `json:"kpis"`
	Meters  []Meter   `json:"meters" doc:"the worst first"`
}

// NextSlot is a slot that doesn't count yet.
type NextSlot struct {
	At     time.Time `json:"at"`
	Counts time.Time `json:"counts" doc:"when it will: its cycle is over, or an hour has passed, and the node has had report.maxDelay to tell"`
}

// Meter is what there is of one meter.
type Meter struct {
	Meter    string         `json:"meter"`
	Expected int64          `json:"expected" doc:"values"`
	Stored   int64          `json:"stored"`
	Backfill int64          `json:"backfill,omitempty" doc:"of those stored, by back-fill"`
	Cells    string         `json:"cells" doc:"a character for each column: # all, b all with back-fill, + some, x none with a reason, . none without, and a space where nothing was to be read yet"`
	Missing  map[string]int `json:"missing,omitempty" doc:"values by reason; not-told: nothing was said of them"`

	columns []column
	items   map[int]int // how many, by place of the span
}

type column struct{ expected, stored, backfill, missing int32 }

// Completeness works out the matrix of a policy on a day, written 2006-01-02; "" is
// today, by the clock of the policy's zone.
func (s *Service) Completeness(ctx context.Context, p identity.Principal, of Policy, day string) (*Completeness, error) {
	c, _, err := s.completeness(ctx, p, of, day, true)
	return c, err
}

func (s *Service) completeness(ctx context.Context, p identity.Principal, of Policy, day string, matrix bool) (*Completeness, *tally, error) {
	if s.cfg.Store == nil {
		return nil, nil, ErrNoStore
	}
	if day == "" {
		now := s.cfg.Now()
		spans, _, err := s.inForce(ctx, p, of, now.Add(-time.Nanosecond), now)
		if err != nil {
			return nil, nil, err
		}
		for _, sp := range spans {
			now = now.Add(sp.policy.Offset())
		}
		day = now.UTC().Format(dayForm)
	}
	date, err := time.Parse(dayForm, day)
	if err != nil {
		return nil, nil, fmt.Errorf("%w %q: must be written as 2006-01-02", ErrDay, day)
	}
	d, spans, vague, err := s.dayOf(ctx, p, of, date)
	if err != nil {
		return nil, nil, err
	}
	c := &Completeness{Node: of.Node, Policy: of.Name, Day: day, Zone: d.Zone, From: d.From.UTC(), To: d.To.UTC(), Vague: vague, Meters: []Meter{}}
	w := &sheet{Completeness: c, spans: spans, now: s.cfg.Now(), byID: map[string]*Meter{}, tally: newTally(), matrix: matrix}
	w.rule()
	if err := w.fill(ctx, s.cfg.Store, of); err != nil {
		return nil, nil, err
	}
	w.finish()
	return c, w.tally, nil
}

// sheet is a matrix that is being filled.
type sheet struct {
	*Completeness
	spans  []span
	now    time.Time
	width  time.Duration // of a column
	byID   map[string]*Meter
	tally  *tally
	matrix bool // else only the tally is wanted
}

// rule draws the empty matrix: what is expected of each meter.
func (w *sheet) rule() {
	w.width = 24 * time.Hour
	for i := range w.spans {
		w.width = min(w.width, max(narrowest, w.spans[i].policy.Period.D()))
	}
	w.Columns = int((24*time.Hour + w.width - 1) / w.width)
	w.Column = w.width.String()
	for i := range w.spans {
		sp := &w.spans[i]
		slots := make([]int32, w.Columns)
		total := int64(0)
		sp.slots(w.now, func(slot time.Time) {
			slots[w.columnOf(slot)]++
			total++
		})
		if w.Next == nil { // spans are in the order of time
			w.Next = sp.next(w.now)
		}
		for _, m := range sp.policy.Meters {
			items := len(sp.policy.ItemsOf(m))
			row := w.meter(m.ID)
			row.items[i] = items
			row.Expected += total * int64(items)
			w.tally.cycles += total
			for k, n := range slots {
				row.columns[k].expected += n * int32(items)
			}
		}
	}
}

func (w *sheet) meter(id string) *Meter {
	m := w.byID[id]
	if m == nil {
		m = &Meter{Meter: id, columns: make([]column, w.Columns), items: map[int]int{}}
		w.byID[id] = m
	}
	return m
}

func (w *sheet) columnOf(at time.Time) int { return int(at.Sub(w.From) / w.width) }

// fill goes over what is stored.
func (w *sheet) fill(ctx context.Context, from Store, of Policy) error {
	if len(w.spans) == 0 {
		return nil
	}
	names := make([]map[string]map[string]bool, len(w.spans)) // items by meter, in each span
	for i, sp := range w.spans {
		names[i] = expectedItems(sp.policy)
	}
	return from.Scan(ctx, Scan{Policy: of, From: w.From, To: w.To}, func(r *Row) bool {
		at := time.UnixMilli(r.At)
		for i := range w.spans {
			if items := names[i][r.Meter]; items != nil && w.spans[i].isSlot(at, w.now) {
				w.count(i, r, items)
				break
			}
		}
		return true
	})
}

// expectedItems are the names of the items of each meter; meters with the same
// items share them.
func expectedItems(p *schema.Policy) map[string]map[string]bool {
	type like struct {
		model    string
		protocol schema.Protocol
	}
	of, shared := make(map[string]map[string]bool, len(p.Meters)), map[like]map[string]bool{}
	for _, m := range p.Meters {
		k := like{m.Model, m.Protocol}
		if shared[k] == nil {
			shared[k] = map[string]bool{}
			for _, it := range p.ItemsOf(m) {
				shared[k][it.Name] = true
			}
		}
		of[m.ID] = shared[k]
	}
	return of
}

// count takes one row in.
func (w *sheet) count(in int, r *Row, items map[string]bool) {
	m := w.byID[r.Meter]
	k := &m.columns[w.columnOf(time.UnixMilli(r.At))]
	inTime, last := 0, r.At+w.spans[in].policy.Period.D().Milliseconds()
	for i := range r.Values {
		v := &r.Values[i]
		if v.State == reading.Absent || !items[r.Items[i]] {
			continue
		}
		if v.State == reading.Missing {
			k.missing++
			w.missing(m, v.Reason, 1)
			continue
		}
		k.stored++
		m.Stored++
		w.tally.age(v.Stored - r.At)
		switch v.Source {
		case reading.BackFill:
			k.backfill++
			m.Backfill++
		case reading.Cycle, reading.Pushed:
			w.tally.firstPass++
		}
		if v.Arrived <= last {
			inTime++
		}
	}
	if inTime == m.items[in] {
		w.tally.complete++
	}
}

func (w *sheet) missing(m *Meter, reason string, n int) {
	w.tally.missing[reason] += int64(n)
	if !w.matrix {
		return
	}
	if m.Missing == nil {
		m.Missing = map[string]int{}
	}
	m.Missing[reason] += n
}

// finish sums up, and draws the cells.
func (w *sheet) finish() {
	cells := make([]byte, w.Columns)
	for _, m := range w.byID {
		w.tally.meters++
		w.tally.expected += m.Expected
		w.tally.stored += m.Stored
		w.tally.backfilled += m.Backfill
		silent := m.Expected - m.Stored
		for i, k := range m.columns {
			cells[i] = k.cell()
			silent -= int64(k.missing)
		}
		if silent > 0 {
			w.missing(m, NotTold, int(silent))
		}
		if w.matrix {
			m.Cells, m.columns, m.items = string(cells), nil, nil
			w.Meters = append(w.Meters, *m)
		}
	}
	w.KPIs = w.tally.kpis()
	slices.SortFunc(w.Meters, func(a, b Meter) int {
		return cmp.Or(cmp.Compare(share(a.Stored, a.Expected), share(b.Stored, b.Expected)), cmp.Compare(a.Meter, b.Meter))
	})
}

func (k *column) cell() byte {
	switch {
	case k.expected == 0:
		return CellNone
	case k.stored >= k.expected && k.backfill > 0:
		return CellLate
	case k.stored >= k.expected:
		return CellFull
	case k.stored > 0:
		return CellPart
	case k.missing > 0:
		return CellMissing
	}
	return CellSilent
}

// share is what part of all there is; of nothing it is all.
func share(part, all int64) float64 {
	if all == 0 {
		return 1
	}
	return math.Min(1, float64(part)/float64(all))
}
