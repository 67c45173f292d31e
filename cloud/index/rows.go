package index

import (
	"hash/maphash"
	"math"
	"slices"
	"sort"

	"gnomon/cloud/store"
)

// blockRows is how many rows a block has at most: inserting moves that many at
// the worst, and a question holds the lock for some of them at a time.
const blockRows = 512

// rows are all rows in order of their keys: blocks of sorted rows, sorted. It is
// an array cut in pieces, so that walking over it is walking over memory.
type rows struct {
	blocks [][]row // none is empty
	count  int
	hints  []hint // by a hash of the key
	seed   maphash.Seed
}

// hint is where a row was last seen: looking for one of 100,000 goes all over the
// memory, and most are where they were.
type hint struct{ block, row uint16 }

const (
	hintsFrom = 4096    // rows; fewer are found as fast without
	maxHints  = 1 << 21 // 8 MiB
)

// locate is find for whoever may change the rows.
func (r *rows) locate(k store.Key) (b, i int, found bool) {
	if r.count < hintsFrom {
		return r.find(k)
	}
	if n := len(r.hints); n < 2*r.count && n < maxHints {
		r.hints, r.seed = make([]hint, max(4*hintsFrom, 2*n)), maphash.MakeSeed()
	}
	h := &r.hints[maphash.Comparable(r.seed, k)%uint64(len(r.hints))]
	b, i = int(h.block), int(h.row)
	if b < len(r.blocks) && i < len(r.blocks[b]) && r.blocks[b][i].compare(k) == 0 {
		return b, i, true
	}
	if b, i, found = r.find(k); found && b <= math.MaxUint16 {
		*h = hint{uint16(b), uint16(i)}
	}
	return b, i, found
}

// find returns where the row of a key is, or belongs.
func (r *rows) find(k store.Key) (b, i int, found bool) {
	b = max(0, sort.Search(len(r.blocks), func(b int) bool { return r.blocks[b][0].compare(k) > 0 })-1)
	if len(r.blocks) == 0 {
		return 0, 0, false
	}
	block := r.blocks[b]
	i = sort.Search(len(block), func(i int) bool { return block[i].compare(k) >= 0 }) // slices would copy every row it looks at
	return b, i, i < len(block) && block[i].compare(k) == 0
}

// thingAt returns the thing that a new row at a place belongs to: that of a
// neighbour, or a new one.
func (r *rows) thingAt(b, i int, name string) *thing {
	if len(r.blocks) == 0 {
		return thingNamed(name)
	}
	block := r.blocks[b]
	if i > 0 && block[i-1].thing.name == name {
		return block[i-1].thing
	}
	if i < len(block) && block[i].thing.name == name {
		return block[i].thing
	}
	if i == len(block) && b+1 < len(r.blocks) && r.blocks[b+1][0].thing.name == name {
		return r.blocks[b+1][0].thing
	}
	return thingNamed(name)
}

// insert makes room at a place and returns the row there, empty but for its thing.
func (r *rows) insert(b, i int, t *thing) *row {
	r.count++
	if len(r.blocks) == 0 {
		r.blocks = [][]row{{{thing: t}}}
		return &r.blocks[0][0]
	}
	if len(r.blocks[b]) == blockRows {
		b, i = r.split(b, i)
	}
	r.blocks[b] = slices.Insert(r.blocks[b], i, row{thing: t})
	return &r.blocks[b][i]
}

// split makes two blocks of a full one, and returns where the place is then. At
// the very end the new block begins empty: reading a store in order fills blocks.
func (r *rows) split(b, i int) (int, int) {
	half := blockRows / 2
	if b == len(r.blocks)-1 && i == blockRows {
		half = blockRows
	}
	right := make([]row, blockRows-half, blockRows)
	copy(right, r.blocks[b][half:])
	clear(r.blocks[b][half:])
	r.blocks[b] = r.blocks[b][:half]
	r.blocks = slices.Insert(r.blocks, b+1, right)
	if i <= half && half < blockRows {
		return b, i
	}
	return b + 1, i - half
}

func (r *rows) remove(b, i int) {
	r.count--
	r.blocks[b] = slices.Delete(r.blocks[b], i, i+1)
	switch {
	case len(r.blocks[b]) == 0:
		r.blocks = slices.Delete(r.blocks, b, b+1)
	case b+1 < len(r.blocks) && len(r.blocks[b])+len(r.blocks[b+1]) <= blockRows/2:
		r.blocks[b] = append(r.blocks[b], r.blocks[b+1]...)
		r.blocks = slices.Delete(r.blocks, b+1, b+2)
	}
}
