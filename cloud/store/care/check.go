package care

import (
	"context"
	"errors"
	"fmt"

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
		n.Shadows++
		return nil
	})
	return n, err
}

func check(r store.Record) error {
	if !wire.ValidThing(r.Key.Thing) || r.Key.Shadow != "" && !wire.ValidShadow(r.Key.Shadow) {
		return fmt.Errorf("%w: %q is no shadow's name", shadow.ErrCorrupt, r.Key.Thing+"/"+r.Key.Shadow)
	}
	d, err := shadow.ParseRecord(r.Data)
	if err == nil && (d.Version == 0 || d.DesiredVersion > d.Version) {
		err = fmt.Errorf("%w: desired version %d of version %d", shadow.ErrCorrupt, d.DesiredVersion, d.Version)
	}
	return err
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
