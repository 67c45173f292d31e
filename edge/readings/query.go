package readings

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"gnomon/schema/reading"
)

// Bounds of one answer, which ends with the row before the one that would be beyond
// either. It has one row at least, if there is any.
const (
	MaxFound       = 10_000  // rows
	MaxFoundValues = 100_000 // of all of them
)

// Query asks for rows that are kept. What is zero isn't asked for.
type Query struct {
	Policy, Meter string
	Items         []string
	From          time.Time // inclusive
	To            time.Time // exclusive
	After         *Place    // nil: from the first on
	Limit         int       // rows; default MaxFound
}

// Place is where a row is among others: they are in order of time, policy and meter.
type Place struct {
	At            time.Time
	Policy, Meter string
}

func (p Place) compare(o Place) int {
	return cmp.Or(p.At.Compare(o.At), cmp.Compare(p.Policy, o.Policy), cmp.Compare(p.Meter, o.Meter))
}

// Found is a row that is kept, all that came of it taken together.
type Found struct {
	Policy  string         `json:"policy"`
	Meter   string         `json:"meter"`
	At      time.Time      `json:"at"`
	Arrived time.Time      `json:"arrived"`
	Source  reading.Source `json:"source"`
	Values  []FoundValue   `json:"-"` // by item; those that are absent aren't there
}

// FoundValue is the value of one item.
type FoundValue struct {
	Item string
	reading.Value
}

// Value is that of an item; absent if there is none.
func (f *Found) Value(item string) reading.Value {
	if at, there := f.place(item); there {
		return f.Values[at].Value
	}
	return reading.Value{}
}

func (f *Found) place(item string) (at int, there bool) {
	return slices.BinarySearchFunc(f.Values, item, func(v FoundValue, item string) int { return cmp.Compare(v.Item, item) })
}

// Place is that of the row.
func (f *Found) Place() Place { return Place{f.At, f.Policy, f.Meter} }

func (f *Found) compare(o *Found) int { return f.Place().compare(o.Place()) }

type foundKey struct {
	policy, meter string
	at            int64
}

// Find returns rows by time, policy and meter. more tells that there are others
// after them.
func (s *Store) Find(ctx context.Context, q Query) (all []Found, more bool, err error) {
	if q.Limit <= 0 || q.Limit > MaxFound {
		q.Limit = MaxFound
	}
	if q.After != nil && q.From.Before(q.After.At) {
		q.From = q.After.At // earlier segments need not be read
	}
	f := finder{Query: q, most: MaxFoundValues, rows: make(map[foundKey]*Found)}
	for _, number := range s.numbers() {
		if err := ctx.Err(); err != nil {
			return nil, false, fmt.Errorf("find readings: %w", err)
		}
		text, err := s.contentFor(number, q)
		if err != nil {
			return nil, false, err
		}
		frames, _, _ := framesOf(text)
		for _, fr := range frames {
			f.look(fr)
		}
	}
	f.cut()
	all = make([]Found, 0, len(f.rows))
	for _, r := range f.rows {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Found) int { return a.compare(&b) })
	return all, f.more, nil
}

// numbers are those of all segments.
func (s *Store) numbers() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]uint64, 0, len(s.segments))
	for _, seg := range s.segments {
		all = append(all, seg.number)
	}
	return all
}

// contentFor is all of a segment, if there may be something in it. The store isn't
// locked meanwhile for longer than it takes to read one.
func (s *Store) contentFor(number uint64, q Query) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.find(number)
	if seg == nil {
		return nil, nil
	}
	for policy, at := range seg.spans {
		if (q.Policy == "" || q.Policy == policy) && (q.From.IsZero() || at.to >= q.From.UnixMilli()) && (q.To.IsZero() || at.from < q.To.UnixMilli()) {
			text, err := s.content(seg)
			return slices.Clip(text), err
		}
	}
	return nil, nil
}

// finder gathers rows. After cut, rows after last are of no interest.
type finder struct {
	Query
	most   int // values
	rows   map[foundKey]*Found
	values int // of all of them
	last   *Found
	more   bool
}

// look takes what is wanted out of a frame. It holds half as much again as an answer
// may have, and one frame.
func (f *finder) look(fr frame) {
	if fr.kind != kindRows {
		return
	}
	_, _, text, ok := fr.rowsOf()
	if !ok {
		return
	}
	b, err := reading.Decode(text)
	if err != nil || f.Policy != "" && b.Policy != f.Policy {
		return
	}
	var items []int // by name
	for i, item := range b.Items {
		if len(f.Items) == 0 || slices.Contains(f.Items, item) {
			items = append(items, i)
		}
	}
	slices.SortFunc(items, func(i, j int) int { return cmp.Compare(b.Items[i], b.Items[j]) })
	for i := range b.Rows {
		if f.wants(b.Policy, &b.Rows[i]) {
			f.add(b, &b.Rows[i], items)
		}
	}
	if len(f.rows) > f.Limit*3/2 || f.values > f.most*3/2 {
		f.cut()
	}
}

func (f *finder) wants(policy string, r *reading.Row) bool {
	return (f.Meter == "" || r.Meter == f.Meter) && (f.From.IsZero() || !r.At.Before(f.From)) && (f.To.IsZero() || r.At.Before(f.To)) &&
		(f.After == nil || f.After.compare(Place{r.At, policy, r.Meter}) < 0)
}

func (f *finder) add(b *reading.Batch, r *reading.Row, items []int) {
	there := 0
	for _, i := range items {
		if r.Values[i].State != reading.Absent {
			there++
		}
	}
	if there == 0 {
		return
	}
	one := Found{Policy: b.Policy, Meter: r.Meter, At: r.At, Arrived: r.Arrived, Source: r.Source}
	if f.last != nil && one.compare(f.last) > 0 {
		f.more = true
		return
	}
	key := foundKey{b.Policy, r.Meter, r.At.UnixMilli()}
	row := f.rows[key]
	if row == nil {
		one.Values = make([]FoundValue, 0, there)
		row = &one
		f.rows[key] = row
	}
	row.Arrived, row.Source = r.Arrived, r.Source
	for _, i := range items {
		if r.Values[i].State != reading.Absent {
			f.lay(row, FoundValue{b.Items[i], r.Values[i]})
		}
	}
}

// lay puts a value into a row, over one that is missing.
func (f *finder) lay(row *Found, v FoundValue) {
	at, there := row.place(v.Item)
	switch {
	case !there:
		row.Values = slices.Insert(row.Values, at, v)
		f.values++
	case row.Values[at].State != reading.Good:
		row.Values[at] = v
	}
}

// cut leaves the first rows, as many as an answer may have.
func (f *finder) cut() {
	if len(f.rows) <= f.Limit && f.values <= f.most {
		return
	}
	all := slices.SortedFunc(maps.Values(f.rows), (*Found).compare)
	rows, values := 0, 0
	for _, r := range all {
		if rows == f.Limit || rows > 0 && values+len(r.Values) > f.most {
			break
		}
		rows++
		values += len(r.Values)
	}
	if rows == len(all) { // one alone
		return
	}
	f.more, f.last, f.values = true, all[rows-1], values
	for _, r := range all[rows:] {
		delete(f.rows, foundKey{r.Policy, r.Meter, r.At.UnixMilli()})
	}
}

// Latest returns the latest good value of each of a meter's items, and the latest
// reason of those that have none. Without items it is all there are.
func (s *Store) Latest(ctx context.Context, policy, meter string, items []string) (map[string]reading.ReadValue, error) {
	out := make(map[string]reading.ReadValue)
	for _, at := range s.latestTimes(policy, meter, items) {
		t := time.UnixMilli(at).UTC()
		found, _, err := s.Find(ctx, Query{Policy: policy, Meter: meter, Items: items, From: t, To: t.Add(time.Millisecond)})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			for _, v := range f.Values {
				if had, there := out[v.Item]; there && (had.Value != nil || v.State != reading.Good) {
					continue
				}
				value := reading.ReadValue{Reason: v.Reason, At: f.At, Arrived: f.Arrived, Source: f.Source}
				if v.State == reading.Good {
					value.Value = &v.Number
				}
				out[v.Item] = value
			}
		}
	}
	return out, nil
}

// latestTimes are the times, latest first, at which some item of a meter has its
// latest value, or its latest reason.
func (s *Store) latestTimes(policy, meter string, items []string) (times []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.index.policies[policy]
	if p == nil {
		return nil
	}
	number, known := p.meters[meter]
	if !known {
		return nil
	}
	if len(items) == 0 {
		items = slices.Collect(maps.Keys(p.items))
	}
	said, good := make(map[string]bool), make(map[string]bool)
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(p.slots))) {
		slot, wanted := p.slots[at], false
		for _, item := range items {
			bit, known := p.items[item]
			bit += number * p.width
			switch {
			case !known || good[item]:
			case slot.good.has(bit):
				good[item], said[item], wanted = true, true, true
			case slot.told.has(bit) && !said[item]:
				said[item], wanted = true, true
			}
		}
		if wanted {
			times = append(times, at)
		}
		if len(good) == len(items) {
			break
		}
	}
	return times
}
