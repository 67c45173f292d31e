package twin

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// entry is a shadow in memory. Documents are nil for one that never was.
type entry struct {
	key  store.Key
	head *shadow.Document // newest, committed or not; under the stripe's lock
	sum  store.Sum        // of the head's record, in a shared store; under the stripe's lock

	// The committer updates these without the lock: it must never wait for a
	// stripe, whose holder may be waiting for the committer's queue.
	committed atomic.Pointer[shadow.Document]
	pending   atomic.Int32  // changes submitted and not answered
	told      atomic.Uint64 // newest version that Config.Committed heard of
	failed    atomic.Bool   // a commit failed, or another writer came in between: head is void, and so is the entry

	hash uint64
	next *entry // with the same hash
	size int    // approximate bytes
	at   int    // in the stripe's ring
	used bool   // since the hand came by
}

// stripe is one share of the cache: a map by a hash of the key, and a ring that a hand goes round when
// there is too much: who was used since it last came by stays. Entries with
// pending changes stay as they are whatever the bounds say; the store's queue
// bounds their number. Documents are kept packed, in the form of their records:
// as trees they would take seven times the room, and every garbage collection would
// go through all of them.
type stripe struct {
	mu       sync.Mutex
	shared   bool   // the store is
	arrived  uint64 // changes
	seed     maphash.Seed
	entries  map[uint64]*entry
	ring     []*entry
	hand     int
	bytes    int
	maxCount int
	maxBytes int
}

func (st *stripe) init(maxCount, maxBytes int) {
	st.seed, st.entries = maphash.MakeSeed(), make(map[uint64]*entry)
	st.maxCount, st.maxBytes = maxCount, maxBytes
}

// entryOverhead is what an entry costs besides its record.
const entryOverhead = 600

// get returns the entry of a key, from the store when it isn't cached. A void one of
// a shared store stays while changes are under way on it: those that come after
// them must not overtake them on a new one. The stripe must be locked.
func (st *stripe) get(ctx context.Context, from store.Store, key store.Key) (*entry, error) {
	hash := maphash.Comparable(st.seed, key)
	if e := st.find(hash, key); e != nil {
		if !e.failed.Load() || st.shared && e.pending.Load() > 0 {
			e.used = true // to note more than that would be to write to other entries, too
			return e, nil
		}
		st.drop(e)
	}
	d, data, err := load(ctx, from, key)
	if err != nil {
		return nil, err
	}
	// The key may be part of something larger; from here on it is that of the entry.
	key = store.Key{Thing: strings.Clone(key.Thing), Shadow: strings.Clone(key.Shadow)}
	e := &entry{key: key, hash: hash, next: st.entries[hash], head: d, at: len(st.ring)}
	if st.shared {
		e.sum = store.SumOf(data)
	}
	e.committed.Store(d)
	st.ring = append(st.ring, e)
	st.entries[hash] = e
	st.resize(e, len(data))
	return e, nil
}

// cached returns the entry of a key, nil when there is none. The stripe must be locked.
func (st *stripe) cached(key store.Key) *entry {
	return st.find(maphash.Comparable(st.seed, key), key)
}

func (st *stripe) find(hash uint64, key store.Key) *entry {
	e := st.entries[hash]
	for e != nil && e.key != key {
		e = e.next
	}
	return e
}

// load reads a document and its record; both nil when there never was one.
func load(ctx context.Context, from store.Store, key store.Key) (*shadow.Document, []byte, error) {
	data, err := from.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	d, err := shadow.ParseRecord(data)
	if err != nil {
		return nil, nil, fmt.Errorf("shadow %q of thing %q: %w", key.Shadow, key.Thing, err)
	}
	return d, data, nil
}

// resize accounts for a document of a record's size and makes room for it.
func (st *stripe) resize(e *entry, recordSize int) {
	size := entryOverhead + recordSize
	st.bytes += size - e.size
	e.size = size
	for seen := 0; seen < 2*len(st.ring) && (len(st.ring) > st.maxCount || st.bytes > st.maxBytes); seen++ {
		if st.hand >= len(st.ring) {
			st.hand = 0
		}
		switch old := st.ring[st.hand]; {
		case old.used || old == e || old.pending.Load() > 0:
			old.used = false
			st.hand++
		default:
			st.drop(old) // the newest takes its place in the ring, where the hand has been
			st.hand++
		}
	}
}

func (st *stripe) drop(e *entry) {
	last := len(st.ring) - 1
	moved := st.ring[last]
	st.ring[e.at], moved.at = moved, e.at
	st.ring[last] = nil
	st.ring = st.ring[:last]
	if first := st.entries[e.hash]; first != e {
		for first.next != e {
			first = first.next
		}
		first.next = e.next
	} else if e.next != nil {
		st.entries[e.hash] = e.next
	} else {
		delete(st.entries, e.hash)
	}
	st.bytes -= e.size
}
