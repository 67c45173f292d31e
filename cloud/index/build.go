package index

import (
	"context"
	"time"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// buildChunk is how many records one look at the store takes.
const buildChunk = 512

// Run reads the store and then keeps the index current, until ctx ends. A store
// that can't be read is tried again: without an index the rest still works.
func (ix *Index) Run(ctx context.Context) error {
	pause := 100 * time.Millisecond
	for {
		err := ix.build(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end, which is what stopped it
		}
		ix.cfg.Log.Error("the index can't be built; trying again", "in", pause.String(), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, 30*time.Second)
	}
	var again <-chan time.Time // nil, and so never, when nobody else writes
	if ix.cfg.Refresh > 0 {
		ticker := time.NewTicker(ix.cfg.Refresh)
		defer ticker.Stop()
		again = ticker.C
	}
	for {
		select {
		case <-ix.wake:
			ix.drain()
		case <-again:
			if err := ix.build(ctx); err != nil && ctx.Err() == nil {
				ix.cfg.Log.Warn("the index can't be refreshed; it may miss what other replicas did", "error", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// build reads every record of the store, in order, while changes go on. The
// second time it also learns what others deleted, from the tombstones.
func (ix *Index) build(ctx context.Context) error {
	defer ix.beginReading()()
	ix.read.Store(0)
	started, said := time.Now(), time.Now()
	from := store.Key{}
	for {
		records, err := ix.cfg.Store.Scan(ctx, from, buildChunk)
		if err != nil {
			return err
		}
		batch := make([]change, 0, len(records))
		for _, r := range records {
			d, err := shadow.ParseRecord(r.Data)
			if err != nil {
				ix.cfg.Log.Error("a stored shadow is unreadable", "thing", r.Key.Thing, "shadow", r.Key.Shadow, "error", err)
				continue
			}
			if d.Exists() || ix.ready.Load() {
				batch = append(batch, change{key: r.Key, doc: d})
			}
		}
		ix.applying.Lock()
		ix.apply(batch)
		ix.applying.Unlock()
		ix.drain()
		read := ix.read.Add(int64(len(records)))
		if len(records) < buildChunk {
			ix.finish(started)
			return nil
		}
		if !ix.ready.Load() && time.Since(said) > 2*time.Second {
			ix.cfg.Log.Info("building the index", "shadows", read)
			said = time.Now()
		}
		last := records[len(records)-1].Key
		from = store.Key{Thing: last.Thing, Shadow: last.Shadow + "\x00"}
	}
}

func (ix *Index) finish(started time.Time) {
	if ix.ready.Swap(true) {
		return
	}
	if took := time.Since(started); took > time.Second {
		ix.cfg.Log.Info("the index is built", "shadows", ix.Len(), "took", took.Round(time.Millisecond).String())
	}
}
