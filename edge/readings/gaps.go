package readings

import (
	"maps"
	"slices"

	"gnomon/edge/collect"
)

// Gaps implements collect.Store. Times that readings are kept of no longer have none.
func (s *Store) Gaps(w collect.Want) (gaps []collect.Gap, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := max(s.horizon+1, s.now().Add(-s.terms(w.Policy).Keep).UnixMilli())
	p := s.index.policies[w.Policy]
	if p != nil {
		from = max(from, p.from)
	}
	meters := slices.Sorted(maps.Keys(w.Meters))
	for _, at := range w.Slots {
		ms := at.UnixMilli()
		if ms < from {
			continue
		}
		for _, meter := range meters {
			if len(gaps) >= w.Limit {
				return gaps, nil
			}
			if items, tried := p.lacks(ms, meter, w.Meters[meter]); len(items) > 0 {
				gaps = append(gaps, collect.Gap{Meter: meter, At: at, Items: items, Tried: tried})
			}
		}
	}
	return gaps, nil
}

// lacks are those of a meter's items that aren't there at a time, and may be had.
func (p *policyIndex) lacks(at int64, meter string, items []string) (missing []string, tried int) {
	if p == nil {
		return items, 0
	}
	s := p.slots[at]
	number, known := p.meters[meter]
	switch {
	case s == nil || !known && !s.dropped:
		return items, 0
	case !known:
		return nil, 0
	}
	for _, item := range items {
		bit, known := p.items[item]
		bit += number * p.width
		if there := known && (s.good.has(bit) || s.final.has(bit)); !there && (!s.dropped || known && s.told.has(bit)) {
			missing = append(missing, item)
		}
	}
	if number < len(s.failed) {
		tried = int(s.failed[number])
	}
	return missing, tried
}
