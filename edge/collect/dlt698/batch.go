package dlt698

import (
	"cmp"
	"slices"
	"strconv"

	"gnomon/edge/collect/dlt698/wire"
	"gnomon/schema"
)

// batch is one request: attributes by themselves, or columns of one record.
type batch struct {
	batchKey
	oads []wire.ObjectAttribute // each once, in order
}

// batchKey says what may be asked for together. The zero one is attributes by
// themselves.
type batchKey struct {
	record wire.ObjectAttribute
	nth    byte
}

// What a frame takes besides attributes, and the room that attributes take in
// the answer. Values have no more than 8 bytes and a tag; of a whole attribute,
// one for each tariff.
const (
	overhead     = 1 + 2 + 1 + 1 + wire.MaxAddress + 1 + 2 + 3 + 10 + 2 + 2 + 1
	elementBytes = 4 + 1 + 9
	wholeBytes   = 4 + 1 + 2 + 5*5
	columnBytes  = 1 // that a column has more than an attribute
	maxBatch     = 127
)

func room(o wire.ObjectAttribute) int {
	if o.Index() == 0 {
		return wholeBytes + columnBytes
	}
	return elementBytes + columnBytes
}

// group joins what is asked for into as few requests as frames of maxFrame
// bytes allow, and a meter that has refused longer ones.
func (m *meter) group(wanted map[batchKey][]wire.ObjectAttribute, maxFrame int) (batches []batch) {
	for k, oads := range wanted {
		slices.Sort(oads)
		oads = slices.Compact(oads)
		limit := maxBatch
		if n, ok := m.most[k]; ok {
			limit = n
		}
		var b batch
		bytes := overhead
		for _, o := range oads {
			if m.alone[slot{k, o}] {
				batches = append(batches, batch{k, []wire.ObjectAttribute{o}})
				continue
			}
			if len(b.oads) > 0 && (bytes+room(o) > maxFrame || len(b.oads) == limit) {
				batches = append(batches, b)
				b, bytes = batch{}, overhead
			}
			b.batchKey = k
			b.oads = append(b.oads, o)
			bytes += room(o)
		}
		if len(b.oads) > 0 {
			batches = append(batches, b)
		}
	}
	slices.SortFunc(batches, func(a, b batch) int {
		return cmp.Or(cmp.Compare(a.record, b.record), cmp.Compare(a.nth, b.nth), cmp.Compare(a.oads[0], b.oads[0]))
	})
	return batches
}

// halves are what to ask for in place of a batch that was too much.
func (b batch) halves() []batch {
	middle := (len(b.oads) + 1) / 2
	return []batch{{b.batchKey, b.oads[:middle]}, {b.batchKey, b.oads[middle:]}}
}

// attribute reads an OAD as schema has checked it.
func attribute(s string) wire.ObjectAttribute {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0 // refused by schema before it got here; a meter refuses it as well
	}
	return wire.ObjectAttribute(n)
}

// where tells what an item is asked with, and as which attribute.
func where(it schema.Item) (batchKey, wire.ObjectAttribute) {
	if it.Record == "" {
		return batchKey{}, attribute(it.OAD)
	}
	return batchKey{attribute(it.Record), byte(it.Nth)}, attribute(it.OAD)
}
