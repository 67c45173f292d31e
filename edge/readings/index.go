package readings

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"gnomon/schema/reading"
)

// index knows of every value that is kept whether it is there: bits by policy,
// time, meter and item. What it knows nothing of is a gap, of the times that are kept.
type index struct {
	policies map[string]*policyIndex
	bytes    int
}

// policyIndex is that of one policy. Meters and items are numbered as they come.
type policyIndex struct {
	meters map[string]int
	items  map[string]int
	width  int // bits of a meter: a power of two, not less than its items
	slots  map[int64]*slotIndex
	from   int64 // nothing is known of earlier times
}

// slotIndex is one time. Sets that are empty are nil.
type slotIndex struct {
	good   set
	told   set     // missing, and the cloud is told
	final  set     // missing, and there is nothing to be had
	failed []uint8 // by meter, how often some of it was asked for in vain

	dropped bool // rows of it were kept: only what is known to be missing is a gap
}

func newIndex() *index { return &index{policies: make(map[string]*policyIndex)} }

func (x *index) policy(name string) *policyIndex {
	p := x.policies[name]
	if p == nil {
		p = &policyIndex{meters: make(map[string]int), items: make(map[string]int), width: 1, slots: make(map[int64]*slotIndex), from: math.MinInt64}
		x.policies[name] = p
	}
	return p
}

// slotOverhead is about what a slot takes besides its bits.
const slotOverhead = 200

// slot returns that of a time.
func (x *index) slot(p *policyIndex, at int64) *slotIndex {
	s := p.slots[at]
	if s == nil {
		s = new(slotIndex)
		p.slots[at] = s
		x.bytes += slotOverhead
	}
	return s
}

// itemsOf numbers items.
func (x *index) itemsOf(p *policyIndex, items []string) []int {
	out := make([]int, len(items))
	for i, name := range items {
		at, known := p.items[name]
		if !known {
			at = len(p.items)
			p.items[name] = at
			x.bytes += slotOverhead
		}
		out[i] = at
	}
	if width := 1 << bits.Len(uint(len(p.items)-1)); width > p.width {
		for _, s := range p.slots {
			for _, of := range []*set{&s.good, &s.told, &s.final} {
				x.bytes -= of.bytes()
				*of = of.widened(p.width, width)
				x.bytes += of.bytes()
			}
		}
		p.width = width
	}
	return out
}

func (x *index) meterOf(p *policyIndex, meter string) int {
	at, known := p.meters[meter]
	if !known {
		at = len(p.meters)
		p.meters[meter] = at
		x.bytes += slotOverhead
	}
	return at
}

// set is bits.
type set []uint64

func (s set) has(i int) bool { return i>>6 < len(s) && s[i>>6]>>(i&63)&1 == 1 }
func (s set) bytes() int     { return 8 * cap(s) }

func (s set) widened(from, to int) set {
	if s == nil {
		return nil
	}
	wide := make(set, len(s)*to/from)
	for i := range len(s) * 64 {
		if s.has(i) {
			at := i/from*to + i%from
			wide[at>>6] |= 1 << (at & 63)
		}
	}
	return wide
}

// add sets a bit of one of a slot's sets.
func (x *index) add(to *set, bit int) {
	if need := bit>>6 + 1; need > len(*to) {
		x.bytes -= to.bytes()
		// Meters come one after another: some room ahead spares copying, a little.
		grown := make(set, max(need, min(2*len(*to), len(*to)+16)))
		copy(grown, *to)
		*to = grown
		x.bytes += to.bytes()
	}
	(*to)[bit>>6] |= 1 << (bit & 63)
}

func (s set) drop(bit int) {
	if s.has(bit) {
		s[bit>>6] &^= 1 << (bit & 63)
	}
}

// noData is the reason of values that there will never be.
const noData = "no-data"

// news leaves of a row what isn't known yet, and takes note of it. fresh tells that
// there is some, again that something was asked for in vain that was known to be
// missing.
func (x *index) news(policy string, items []int, r *reading.Row) (fresh, again bool) {
	p := x.policy(policy)
	s := x.slot(p, r.At.UnixMilli())
	meter := x.meterOf(p, r.Meter)
	missing := false
	for i := range r.Values {
		v := &r.Values[i]
		bit := meter*p.width + items[i]
		switch {
		case v.State == reading.Good && !s.good.has(bit):
			x.add(&s.good, bit)
			fresh = true
		case v.State == reading.Missing && !s.good.has(bit):
			missing = true
			final := v.Reason == noData && !s.final.has(bit)
			if final {
				x.add(&s.final, bit)
			}
			if final || !s.told.has(bit) {
				x.add(&s.told, bit)
				fresh = true
				continue
			}
			again = true
			*v = reading.Value{}
		default:
			*v = reading.Value{}
		}
	}
	if missing {
		x.fail(s, meter)
	}
	return fresh, again
}

// fail counts that something of a meter was asked for in vain.
func (x *index) fail(s *slotIndex, meter int) {
	if meter >= len(s.failed) {
		grown := make([]uint8, meter+16)
		copy(grown, s.failed)
		x.bytes += len(grown) - len(s.failed)
		s.failed = grown
	}
	if s.failed[meter] < math.MaxUint8 {
		s.failed[meter]++
	}
}

// note takes in what a frame says that was read from disk.
func (x *index) note(b *reading.Batch) {
	p := x.policy(b.Policy)
	items := x.itemsOf(p, b.Items)
	for i := range b.Rows {
		r := &b.Rows[i]
		s := x.slot(p, r.At.UnixMilli())
		meter := x.meterOf(p, r.Meter)
		missing := false
		for j := range r.Values {
			bit := meter*p.width + items[j]
			switch v := &r.Values[j]; v.State {
			case reading.Good:
				x.add(&s.good, bit)
			case reading.Missing:
				missing = true
				x.add(&s.told, bit)
				if v.Reason == noData {
					x.add(&s.final, bit)
				}
			}
		}
		if missing {
			x.fail(s, meter)
		}
	}
}

// forget takes back what a frame says that is lost.
func (x *index) forget(b *reading.Batch) {
	p := x.policies[b.Policy]
	if p == nil {
		return
	}
	items := x.itemsOf(p, b.Items)
	for i := range b.Rows {
		s := p.slots[b.Rows[i].At.UnixMilli()]
		meter, known := p.meters[b.Rows[i].Meter]
		if s == nil || !known {
			continue
		}
		for j := range b.Rows[i].Values {
			bit := meter*p.width + items[j]
			switch b.Rows[i].Values[j].State {
			case reading.Good:
				s.good.drop(bit)
			case reading.Missing:
				s.told.drop(bit)
				s.final.drop(bit)
			}
		}
	}
}

// prune forgets times before keep, by policy, and then the oldest until so many
// bytes are left at most.
func (x *index) prune(keep func(policy string) int64, most int) {
	for name, p := range x.policies {
		from := keep(name)
		for at := range p.slots {
			if at < from {
				x.drop(p, at)
			}
		}
		if len(p.slots) == 0 {
			delete(x.policies, name)
			x.bytes -= slotOverhead * (len(p.meters) + len(p.items))
		}
	}
	if x.bytes <= most {
		return
	}
	type entry struct {
		at int64
		of *policyIndex
	}
	var all []entry
	for _, p := range x.policies {
		for at := range p.slots {
			all = append(all, entry{at, p})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	for _, e := range all {
		if x.bytes <= most-most/8 {
			return
		}
		x.drop(e.of, e.at)
		e.of.from = max(e.of.from, e.at+1)
	}
}

func (x *index) drop(p *policyIndex, at int64) {
	s := p.slots[at]
	x.bytes -= slotOverhead + s.good.bytes() + s.told.bytes() + s.final.bytes() + len(s.failed)
	delete(p.slots, at)
}
