package care

import (
	"context"
	"errors"
	"fmt"

	"gnomon/cloud/changeset"
	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Damage is a record that can't be used.
type Damage struct {
	Key  store.Key
	Data []byte
	Err  error
}

// Check reads every record and hands the damaged ones to found.
func Check(ctx context.Context, s store.Store, found func(Damage) error) (Result, error) {
	var n Result
	err := each(ctx, s, func(r store.Record) error {
		if err := check(r); err != nil {
			n.Damaged++
			return found(Damage{r.Key, r.Data, err})
		}
		n.count(r.Key)
		return nil
	})
	return n, err
}

func check(r store.Record) error {
	if err := checkKey(r.Key); err != nil {
		return fmt.Errorf("%w: %w", shadow.ErrCorrupt, err)
	}
	d, err := shadow.ParseRecord(r.Data)
	if err == nil && (d.Version == 0 || d.DesiredVersion > d.Version) {
		err = fmt.Errorf("%w: desired version %d of version %d", shadow.ErrCorrupt, d.DesiredVersion, d.Version)
	}
	if err == nil && r.Key.Internal() {
		_, err = leap(r.Key, d, 0)
	}
	return err
}

// checkKey refuses what names neither a shadow nor a known internal record.
func checkKey(k store.Key) error {
	shadowName := k.Shadow
	if of, ok := history.Of(k); ok {
		shadowName = of.Shadow
	} else if k.Shadow == changeset.Record {
		shadowName = ""
	}
	if !wire.ValidThing(k.Thing) || shadowName != "" && !wire.ValidShadow(shadowName) {
		return fmt.Errorf("%q is no shadow's name", k.Thing+"/"+k.Shadow)
	}
	return nil
}

// leap raises all versions that a record hands out or speaks of.
func leap(k store.Key, d *shadow.Document, by uint64) (*shadow.Document, error) {
	if _, ok := history.Of(k); ok {
		return history.Leap(d, by)
	}
	if k.Internal() {
		return changeset.Leap(d, by)
	}
	leapt := *d
	leapt.Version += by
	leapt.DesiredVersion += by
	return &leapt, nil
}

// Replace puts a tombstone in the place of a damaged record, so that the shadow
// can be made again. Its version is one that no shadow has had: what the damaged
// one had isn't known.
func Replace(ctx context.Context, s store.Store, d Damage, now int64) error {
	version := uint64(now) << 16 // beyond whatever was counted or leapt to
	grave := shadow.Document{Version: version, DesiredVersion: version, Timestamp: now, Deleted: true}
	done := make(chan error, 1)
	record := store.Record{Key: d.Key, Data: grave.AppendRecord(nil), Base: store.SumOf(d.Data)}
	if err := s.Submit(ctx, []store.Record{record}, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), errors.New("whether the record was replaced is not known"))
	}
}
