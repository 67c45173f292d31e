package index

import (
	"hash/maphash"
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
	moved  int    // insertions and removals
	hints  []hint // in buckets by a hash of the key
	seed   maphash.Seed
}

// hint is where a row was last seen: its block, its place in it, and some bits of
// the hash of its key. Looking for one of 100,000 rows goes all over the memory, and
// most are where they were. They lie in buckets of a key's hash.
type hint uint32

const (
	hintsFrom  = 4096    // rows; fewer are found as fast without
	maxHints   = 1 << 22 // 16 MiB
	bucketSize = 8
	rowBits    = 9 // of blockRows
	maxBlock   = 1<<16 - 1
)

func newHint(hash uint64, b, i int) hint { return hint(hash>>57)<<25 | hint(b)<<rowBits | hint(i) }

func (h hint) place() place { return place{b: int(h>>rowBits) & maxBlock, i: int(h) & (blockRows - 1)} }

func (h hint) mayBe(hash uint64) bool { return uint64(h>>25) == hash>>57 }

// place is where a row is, or belongs.
type place struct {
	b, i  int
	found bool
}

// locate is find for whoever may change the rows.
func (r *rows) locate(k store.Key) place {
	if r.count < hintsFrom {
		b, i, found := r.find(k)
		return place{b, i, found}
	}
	hash, bucket := r.bucket(k)
	for _, h := range bucket {
		if at := h.place(); h.mayBe(hash) && r.is(at, k) {
			at.found = true
			return at
		}
	}
	b, i, found := r.find(k)
	if found && b <= maxBlock {
		r.remember(hash, bucket, newHint(hash, b, i))
	}
	return place{b, i, found}
}

// remember puts a hint in its bucket: in place of one that looks like it and so is
// most likely of the same row, or of any.
func (r *rows) remember(hash uint64, bucket []hint, new hint) {
	at := int(hash>>48) % bucketSize
	for n, h := range bucket {
		if h.mayBe(hash) {
			at = n
			break
		}
		if h == 0 {
			at = n
		}
	}
	bucket[at] = new
}

// bucket returns the hash of a key, and the hints of all keys with a hash like it.
func (r *rows) bucket(k store.Key) (hash uint64, bucket []hint) {
	if n := len(r.hints); n < 2*r.count && n < maxHints {
		r.hints, r.seed = make([]hint, max(4*hintsFrom, 2*n)), maphash.MakeSeed()
	}
	hash = maphash.Comparable(r.seed, k)
	at := hash & uint64(len(r.hints)/bucketSize-1) * bucketSize // the length is a power of two
	return hash, r.hints[at : at+bucketSize]
}

// is tells whether the row of a key is at a place, where there may be none.
func (r *rows) is(at place, k store.Key) bool {
	return at.b < len(r.blocks) && at.i < len(r.blocks[at.b]) && r.blocks[at.b][at.i].is(k)
}

// guess looks for many rows at once, so that what one look-up waits for from
// memory the others wait for at the same time. Those that it doesn't find may be
// there nevertheless. What it found is right until rows are inserted or removed.
func (r *rows) guess(all []facts, places []place) {
	clear(places)
	if r.count < hintsFrom {
		return
	}
	for n := range all {
		hash, bucket := r.bucket(all[n].key)
		for _, h := range bucket {
			if h.mayBe(hash) {
				places[n] = h.place()
				break
			}
		}
	}
	var things [lockRows]*thing
	for n, at := range places {
		if at.b < len(r.blocks) && at.i < len(r.blocks[at.b]) {
			things[n] = r.blocks[at.b][at.i].thing
		}
	}
	for n := range places {
		places[n].found = things[n] != nil && things[n].name == all[n].key.Thing && r.is(places[n], all[n].key)
	}
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
	r.moved++
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
	r.moved++
	r.blocks[b] = slices.Delete(r.blocks[b], i, i+1)
	switch {
	case len(r.blocks[b]) == 0:
		r.blocks = slices.Delete(r.blocks, b, b+1)
	case b+1 < len(r.blocks) && len(r.blocks[b])+len(r.blocks[b+1]) <= blockRows/2:
		r.blocks[b] = append(r.blocks[b], r.blocks[b+1]...)
		r.blocks = slices.Delete(r.blocks, b+1, b+2)
	}
}
