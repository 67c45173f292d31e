package modbus

import (
	"cmp"
	"slices"

	"gnomon/schema"
)

// block is one request: a run of registers or bits with the items in it.
type block struct {
	function byte
	address  uint16
	quantity uint16
	items    []schema.Item
}

// The most one request may ask for (Modbus Application Protocol, 6.1 to 6.4).
const (
	maxRegisters = 125
	maxBits      = 2000
)

// cuts are the places, by function and address, that no block may span: a
// request over them was refused.
type cuts map[cut]bool

type cut struct {
	function byte
	address  int // the first address after the cut
}

// group joins items into as few blocks as it can. Items are never split, and
// unused places of up to maxHole are read over.
func group(items []schema.Item, maxHole int, forbidden cuts) []block {
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b schema.Item) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(a.Address, b.Address), cmp.Compare(size(a), size(b)))
	})
	var blocks []block
	for _, it := range sorted {
		end := it.Address + size(it)
		if n := len(blocks); n > 0 {
			b := &blocks[n-1]
			if first, last := int(b.address), int(b.address)+int(b.quantity); int(b.function) == it.Function &&
				it.Address-last <= maxHole && max(end, last)-first <= limit(it.Function) &&
				!forbidden.within(b.function, last, it.Address) {
				b.quantity = uint16(max(end, last) - first)
				b.items = append(b.items, it)
				continue
			}
		}
		blocks = append(blocks, block{byte(it.Function), uint16(it.Address), uint16(size(it)), []schema.Item{it}})
	}
	return blocks
}

// within tells whether a cut lies between the end of a block and the next item.
// An item that overlaps the block belongs to it.
func (c cuts) within(function byte, last, next int) bool {
	for at := last; at <= next; at++ {
		if c[cut{function, at}] {
			return true
		}
	}
	return false
}

func size(it schema.Item) int {
	if it.Function <= 2 {
		return 1
	}
	return schema.Registers(it.Type)
}

func limit(function int) int {
	if function <= 2 {
		return maxBits
	}
	return maxRegisters
}

// parts are what to ask for in place of a block that was refused: two halves,
// and the cut between them is remembered; or, where the items overlap too much
// for that, each item alone. A single item has no parts.
func (b block) parts(forbidden cuts, maxHole int) []block {
	if len(b.items) == 1 {
		return nil
	}
	middle := len(b.items) / 2
	for off := range middle + 1 {
		for _, i := range []int{middle + off, middle - off} {
			if b.splits(i) {
				forbidden[cut{b.function, b.items[i].Address}] = true
				return group(b.items, maxHole, forbidden)
			}
		}
	}
	var alone []block
	for _, it := range b.items {
		alone = append(alone, group([]schema.Item{it}, maxHole, forbidden)...)
	}
	return alone
}

// splits tells whether no item spans the place before item i.
func (b block) splits(i int) bool {
	if i <= 0 || i >= len(b.items) {
		return false
	}
	for _, it := range b.items[:i] {
		if it.Address+size(it) > b.items[i].Address {
			return false
		}
	}
	return true
}
