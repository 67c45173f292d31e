package twin

import (
	"context"
	"errors"
	"fmt"
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

	size         int    // approximate bytes
	newer, older *entry // in the order of use
}

// stripe is one share of the cache: a map with a list in order of use. Entries
// with pending changes stay as they are whatever the bounds say; the store's queue
// bounds their number. Documents are kept packed, in the form of their records:
// as trees they would take seven times the room, and every garbage collection would
// go through all of them.
type stripe struct {
	mu       sync.Mutex
	shared   bool   // the store is
	arrived  uint64 // changes
	shadows  map[store.Key]*entry
	order    order
	bytes    int
	maxCount int
	maxBytes int
}

func (st *stripe) init(maxCount, maxBytes int) {
	st.shadows = make(map[store.Key]*entry)
	st.order.init()
	st.maxCount, st.maxBytes = maxCount, maxBytes
}

// entryOverhead is what an entry costs besides its record.
const entryOverhead = 600

// get returns the entry of a key, from the store when it isn't cached. The
// stripe must be locked.
func (st *stripe) get(ctx context.Context, from store.Store, key store.Key) (*entry, error) {
	if e := st.shadows[key]; e != nil {
		if !e.failed.Load() {
			st.order.remove(e)
			st.order.add(e)
			return e, nil
		}
		st.drop(e)
	}
	d, data, err := load(ctx, from, key)
	if err != nil {
		return nil, err
	}
	e := &entry{key: key, head: d}
	if st.shared {
		e.sum = store.SumOf(data)
	}
	e.committed.Store(d)
	st.order.add(e)
	st.shadows[key] = e
	st.resize(e, len(data))
	return e, nil
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
	for old := st.order.oldest(); old != nil && (len(st.shadows) > st.maxCount || st.bytes > st.maxBytes); {
		newer := st.order.after(old)
		if old != e && old.pending.Load() == 0 {
			st.drop(old)
		}
		old = newer
	}
}

func (st *stripe) drop(e *entry) {
	st.order.remove(e)
	delete(st.shadows, e.key)
	st.bytes -= e.size
}

// order is a list of entries by the time of their use, a ring through end. The
// links are in the entries: hundreds of thousands are kept, and a garbage
// collection looks at each piece.
type order struct{ end entry }

func (o *order) init() { o.end.newer, o.end.older = &o.end, &o.end }

// add makes e, which isn't in the list, the one used last.
func (o *order) add(e *entry) {
	e.newer, e.older = &o.end, o.end.older
	e.older.newer, o.end.older = e, e
}

func (o *order) remove(e *entry) {
	e.older.newer, e.newer.older = e.newer, e.older
}

// oldest returns the one used the longest ago, nil when there is none.
func (o *order) oldest() *entry { return o.after(&o.end) }

// after returns the next newer one, nil when e is the newest.
func (o *order) after(e *entry) *entry {
	if e.newer == &o.end {
		return nil
	}
	return e.newer
}
