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
	r := repairs{ended: time.Now()}
	if ix.cfg.Refresh > 0 {
		ticker := time.NewTicker(ix.cfg.Refresh)
		defer ticker.Stop()
		r.regular = ticker.C
	}
	for {
		select {
		case <-ix.wake:
			ix.drain()
		case <-ix.missed:
			r.plan()
		case <-r.due:
			ix.repair(ctx, &r)
		case <-r.regular:
			ix.repair(ctx, &r)
		case <-ctx.Done():
			return nil
		}
	}
}

// Missed says that other processes may have changed the store without our having
// been told. It is read again: at once, unless that was done a moment ago, for
// reading takes a tenth of the time at most however often this is called.
func (ix *Index) Missed() {
	select {
	case ix.missed <- struct{}{}:
	default: // it will be read again anyway
	}
}

// repairs is when the store was read again, and will be.
type repairs struct {
	regular <-chan time.Time // nil, and so never, when nobody else writes
	due     <-chan time.Time // nil: nothing was missed since
	told    bool             // something was missed
	ended   time.Time        // the last reading
	took    time.Duration
}

// rests is how many times as long as a reading took there is none.
const rests = 10

// plan has the store read again.
func (r *repairs) plan() {
	if r.told = true; r.due == nil {
		r.due = time.After(time.Until(r.ended.Add(rests * r.took)))
	}
}

// repair reads the store again. What is missed meanwhile is for the next time.
func (ix *Index) repair(ctx context.Context, r *repairs) {
	told := r.told
	r.due, r.told = nil, false
	began := time.Now()
	err := ix.build(ctx)
	r.ended = time.Now()
	r.took = r.ended.Sub(began)
	switch {
	case err == nil && told:
		ix.cfg.Log.Info("the index has what it missed of other replicas", "took", r.took.Round(time.Millisecond).String())
		if ix.cfg.Repaired != nil {
			ix.cfg.Repaired()
		}
	case err != nil && ctx.Err() == nil:
		ix.cfg.Log.Warn("the index can't be refreshed; it may miss what other replicas did", "error", err)
		r.took = max(r.took, 100*time.Millisecond) // before it is tried again
		r.plan()
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
			if r.Key.Internal() {
				if ix.cfg.Internal != nil {
					ix.cfg.Internal(r)
				}
				continue
			}
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
