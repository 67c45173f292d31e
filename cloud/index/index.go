package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Documents is where documents are read that the index doesn't hold.
type Documents interface {
	// Peek returns a committed document, nil when there never was one. Whoever
	// may not read it gets an error.
	Peek(ctx context.Context, p identity.Principal, key store.Key) (*shadow.Document, error)
	// MayList says whether somebody may ask about all things.
	MayList(p identity.Principal) error
}

// Records is the store as the index reads it when it is built.
type Records interface {
	Scan(ctx context.Context, from store.Key, limit int) ([]store.Record, error)
	Load(ctx context.Context, key store.Key) ([]byte, error)
}

// Config is what an Index stands on. Zero fields have the defaults given.
type Config struct {
	Store      Records
	Now        func() time.Time   // default time.Now
	MaxShadows int                // rows; default 2,000,000
	Refresh    time.Duration      // for a store that other processes write to: the whole of it is read again this often; 0 = never
	Repaired   func()             // nil, or called when what Missed told of is in
	Internal   func(store.Record) // hears of every internal record that is read; nil: nobody does
	Log        *slog.Logger
	Metrics    prometheus.Registerer // nil: not exported
}

// Index is the index. Committed feeds it, Run builds it and keeps it current.
type Index struct {
	cfg     Config
	docs    Documents
	reading chan struct{} // a place in it is leave to read documents

	mu         sync.RWMutex // held for some hundred rows at a time
	rows       rows
	position   uint64 // of the last change that is in
	incomplete bool   // it was full once
	changed    chan struct{}
	readers    int                  // of the store, whose records may be old by the time they come in
	buried     map[store.Key]uint64 // while there are any: what was deleted, lest an older record bring it back

	applying sync.Mutex // held by whoever applies changes, so that they stay in order

	queueMu sync.Mutex
	queue   []change
	spare   []change
	wake    chan struct{}
	missed  chan struct{} // holds one when the store is to be read again

	read  atomic.Int64 // records read while building
	ready atomic.Bool
}

type change struct {
	key      store.Key
	doc      *shadow.Document
	position uint64
}

const (
	maxQueue   = 8192 // changes that wait; at the limit whoever commits applies them
	lockRows   = 256  // rows written, or blocks' worth read, under one lock
	maxReaders = 2    // questions that read documents at a time
)

// New returns an empty index.
func New(cfg Config) *Index {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxShadows == 0 {
		cfg.MaxShadows = 2_000_000
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ix := &Index{cfg: cfg, reading: make(chan struct{}, maxReaders), wake: make(chan struct{}, 1), missed: make(chan struct{}, 1)}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gnomon_index_shadows", Help: "Shadows in the index.",
		}, func() float64 { return float64(ix.Len()) }))
	}
	return ix
}

// SetDocuments says where documents are read, before anything is asked. It isn't
// known to New, because whoever has the documents tells the index of commits.
func (ix *Index) SetDocuments(d Documents) { ix.docs = d }

// Committed tells of a document that is durable. Documents of one shadow come in
// the order of their versions. The key is kept. It doesn't wait for questions, but for a queue
// that is full it does some of the work itself.
func (ix *Index) Committed(key store.Key, doc *shadow.Document, position uint64) {
	ix.queueMu.Lock()
	ix.queue = append(ix.queue, change{key, doc, position})
	n := len(ix.queue)
	ix.queueMu.Unlock()
	if n >= maxQueue {
		ix.drain()
	} else if n == 1 {
		select {
		case ix.wake <- struct{}{}:
		default:
		}
	}
}

// drain applies all changes that wait. When it returns, every change that was
// told of before is in.
func (ix *Index) drain() {
	ix.applying.Lock()
	defer ix.applying.Unlock()
	ix.queueMu.Lock()
	batch := ix.queue
	ix.queue, ix.spare = ix.spare[:0], nil
	ix.queueMu.Unlock()
	ix.apply(batch)
	clear(batch) // lets go of the documents
	ix.queueMu.Lock()
	ix.spare = batch[:0]
	ix.queueMu.Unlock()
}

// apply takes changes in. The caller holds applying.
func (ix *Index) apply(batch []change) {
	all := make([]facts, 0, lockRows)
	var places [lockRows]place
	for len(batch) > 0 {
		part := batch[:min(lockRows, len(batch))]
		batch = batch[len(part):]
		all = all[:0]
		for _, c := range part {
			all = append(all, factsOf(c.key, c.doc))
		}
		ix.mu.Lock()
		ix.rows.guess(all, places[:len(all)])
		for moved, i := ix.rows.moved, 0; i < len(all); i++ {
			if at := places[i]; at.found && ix.rows.moved == moved {
				ix.put(&all[i], at)
			} else {
				ix.put(&all[i], ix.rows.locate(all[i].key))
			}
		}
		ix.position = max(ix.position, part[len(part)-1].position)
		changed := ix.changed
		ix.changed = nil
		ix.mu.Unlock()
		if changed != nil {
			close(changed)
		}
		clear(all)
	}
}

// put takes one document in, unless it knows a newer one.
func (ix *Index) put(f *facts, at place) {
	if at.found {
		r := &ix.rows.blocks[at.b][at.i]
		switch {
		case r.version > f.version:
		case f.deleted:
			if f.key.Shadow == "" {
				r.thing.clear()
			}
			ix.rows.remove(at.b, at.i)
			ix.bury(f)
		default:
			f.fill(r)
		}
		return
	}
	if f.deleted {
		ix.bury(f)
		return
	}
	if ix.buried[f.key] >= f.version {
		return
	}
	if ix.rows.count >= ix.cfg.MaxShadows {
		if !ix.incomplete {
			ix.incomplete = true
			ix.cfg.Log.Error("the index is full: it takes no new shadows, and lists and counts say that they are incomplete", "shadows", ix.rows.count)
		}
		return
	}
	f.fill(ix.rows.insert(at.b, at.i, ix.rows.thingAt(at.b, at.i, f.key.Thing)))
}

// beginReading has deletions kept until the returned function is called.
func (ix *Index) beginReading() (end func()) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.readers++; ix.buried == nil {
		ix.buried = make(map[store.Key]uint64)
	}
	return func() {
		ix.mu.Lock()
		defer ix.mu.Unlock()
		if ix.readers--; ix.readers == 0 {
			ix.buried = nil
		}
	}
}

// bury keeps, while the store is being read, what was deleted.
func (ix *Index) bury(f *facts) {
	if ix.buried != nil {
		ix.buried[f.key] = f.version
	}
}

// Len returns how many shadows are in.
func (ix *Index) Len() int {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.rows.count
}

// ErrBuilding: the store isn't read to its end yet.
var ErrBuilding = errors.New("the index of shadows is being built")

// Ready returns nil once the index is whole, else why it isn't.
func (ix *Index) Ready() error {
	if ix.ready.Load() {
		return nil
	}
	return fmt.Errorf("%w: %d read so far", ErrBuilding, ix.read.Load())
}
