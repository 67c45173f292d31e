package index

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// lookAgain is how often Wait looks for what another replica is to write.
const lookAgain = 50 * time.Millisecond

// Wait waits until the index has at least this version of a shadow, which
// somebody may have been told of by another replica.
func (ix *Index) Wait(ctx context.Context, key store.Key, version uint64) error {
	for {
		ix.drain()
		has, changed := ix.hasVersion(key, version)
		if has {
			return nil
		}
		var again <-chan time.Time
		if ix.cfg.Refresh > 0 {
			if err := ix.Look(ctx, key); err != nil {
				return err
			}
			if has, _ := ix.hasVersion(key, version); has {
				return nil
			}
			again = time.After(lookAgain)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hasVersion tells whether a version is in, or else what to wait for. One that
// was deleted since isn't, unless the store is still being read.
func (ix *Index) hasVersion(key store.Key, version uint64) (bool, <-chan struct{}) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	b, i, found := ix.rows.find(key)
	if found && ix.rows.blocks[b][i].version >= version {
		return true, nil
	}
	if ix.changed == nil {
		ix.changed = make(chan struct{})
	}
	return false, ix.changed
}

// Look reads a shadow from the store because another process has changed it.
func (ix *Index) Look(ctx context.Context, key store.Key) error {
	defer ix.beginReading()()
	data, err := ix.cfg.Store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := shadow.ParseRecord(data)
	if err != nil {
		return fmt.Errorf("shadow %q of thing %q: %w", key.Shadow, key.Thing, err)
	}
	ix.applying.Lock()
	defer ix.applying.Unlock()
	ix.apply([]change{{key: key, doc: d}})
	return nil
}
