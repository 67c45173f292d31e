package twin

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// entry is a shadow in memory. Documents are nil for one that never was, and
// while it is packed.
type entry struct {
	key    store.Key
	record []byte           // packed: its stored form, which takes a fraction of the room; under the stripe's lock
	head   *shadow.Document // newest, committed or not; under the stripe's lock
	sum    store.Sum        // of the head's record, in a shared store; under the stripe's lock

	// The committer updates these without the lock: it must never wait for a
	// stripe, whose holder may be waiting for the committer's queue.
	committed atomic.Pointer[shadow.Document]
	pending   atomic.Int32  // changes submitted and not answered
	told      atomic.Uint64 // newest version that Config.Committed heard of
	failed    atomic.Bool   // a commit failed, or another writer came in between: head is void, and so is the entry

	size int // approximate bytes
	at   *list.Element
}

// stripe is one share of the cache: a map with two lists in order of use. What
// was used lately is there as documents, what was used before that packed.
// Entries with pending changes stay as they are whatever the bounds say; the
// store's queue bounds their number.
type stripe struct {
	mu       sync.Mutex
	shared   bool   // the store is
	arrived  uint64 // changes
	shadows  map[store.Key]*entry
	order    *list.List // documents; front = used last
	packed   *list.List // records; front = used last
	bytes    int        // of both
	hot      int        // bytes of the documents
	maxCount int
	maxBytes int
	maxHot   int
	scratch  []byte // for packing
}

func (st *stripe) init(maxCount, maxBytes int) {
	st.shadows = make(map[store.Key]*entry)
	st.order, st.packed = list.New(), list.New()
	st.maxCount, st.maxBytes, st.maxHot = maxCount, maxBytes, min(maxBytes/2, maxDocuments/stripes)
}

// maxDocuments bounds the bytes of all documents that are kept as such. More of
// them cost more, in garbage collection and in memory that no cache of the
// processor holds, than unpacking one does.
const maxDocuments = 96 << 20

// entryOverhead is what an entry costs besides its document.
const entryOverhead = 300

// treeFactor is how much larger a document is in memory than as a record.
const treeFactor = 7

// get returns the entry of a key, from the store when it isn't cached. The
// stripe must be locked.
func (st *stripe) get(ctx context.Context, from store.Store, key store.Key) (*entry, error) {
	if e := st.shadows[key]; e != nil {
		switch {
		case e.failed.Load():
			st.drop(e)
		case e.record != nil:
			return e, st.unpack(e)
		default:
			st.order.MoveToFront(e.at)
			return e, nil
		}
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
	e.at = st.order.PushFront(e)
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
	size := entryOverhead + treeFactor*recordSize
	st.bytes += size - e.size
	st.hot += size - e.size
	e.size = size
	for at := st.order.Back(); at != nil && st.hot > st.maxHot && !st.shared; {
		old := at.Value.(*entry)
		at = at.Prev()
		if old != e && old.pending.Load() == 0 {
			st.pack(old)
		}
	}
	for _, used := range []*list.List{st.packed, st.order} {
		for at := used.Back(); at != nil && (len(st.shadows) > st.maxCount || st.bytes > st.maxBytes); {
			old := at.Value.(*entry)
			at = at.Prev()
			if old != e && old.pending.Load() == 0 {
				st.drop(old)
			}
		}
	}
}

// pack puts a document's record in its place.
func (st *stripe) pack(e *entry) {
	if e.head == nil || e.failed.Load() {
		st.drop(e)
		return
	}
	st.scratch = e.head.AppendRecord(st.scratch[:0])
	e.record = bytes.Clone(st.scratch)
	e.head = nil
	e.committed.Store(nil)
	st.order.Remove(e.at)
	e.at = st.packed.PushFront(e)
	st.hot -= e.size
	st.bytes -= e.size
	e.size = entryOverhead + len(e.record)
	st.bytes += e.size
}

// unpack makes the document again.
func (st *stripe) unpack(e *entry) error {
	d, err := shadow.ParseRecord(e.record)
	if err != nil {
		st.drop(e)
		return fmt.Errorf("shadow %q of thing %q: %w", e.key.Shadow, e.key.Thing, err)
	}
	st.packed.Remove(e.at)
	st.bytes -= e.size
	n := len(e.record)
	e.record, e.size, e.head = nil, 0, d
	e.committed.Store(d)
	e.at = st.order.PushFront(e)
	st.resize(e, n)
	return nil
}

func (st *stripe) drop(e *entry) {
	if e.record != nil {
		st.packed.Remove(e.at)
	} else {
		st.order.Remove(e.at)
		st.hot -= e.size
	}
	delete(st.shadows, e.key)
	st.bytes -= e.size
}
