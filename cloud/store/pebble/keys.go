package pebble

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/store"
)

// The keys of the database:
//
//	f                      the data format's number
//	s <thing> NUL <shadow> a record
//
// Names hold no NUL, so records are ordered by thing, then shadow. Format 1 also
// had t <thing> for every thing with a classic record, written with each of its
// changes.
const (
	formatKey    = "f"
	recordPrefix = 's'
	thingPrefix  = 't' // of format 1
)

func recordKey(dst []byte, k store.Key) []byte {
	dst = append(dst, recordPrefix)
	dst = append(dst, k.Thing...)
	dst = append(dst, 0)
	return append(dst, k.Shadow...)
}

// checkFormat writes the format's number into a new store, brings an older one up
// to it, since what is written from now on the older version would take for
// something else, and refuses one from a later version of Gnomon.
func (s *Store) checkFormat() error {
	value, closer, err := s.db.Get([]byte(formatKey))
	if err == pebble.ErrNotFound { //nolint:errorlint // pebble returns the sentinel itself
		return s.db.Set([]byte(formatKey), presentFormat(), pebble.Sync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if err := store.CheckFormat(string(value)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if bytes.Equal(value, presentFormat()) {
		return nil
	}
	return s.upgrade()
}

func presentFormat() []byte { return strconv.AppendInt(nil, store.Format, 10) }

// upgrade leaves a store that is wholly of the present format, or as it was.
func (s *Store) upgrade() error {
	batch := s.db.NewBatch()
	defer batch.Close()
	err := batch.DeleteRange([]byte{thingPrefix}, []byte{thingPrefix + 1}, nil)
	if err == nil {
		err = batch.Set([]byte(formatKey), presentFormat(), nil)
	}
	if err == nil {
		err = batch.Commit(pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("store: upgrade to data format %d: %w", store.Format, err)
	}
	return nil
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, from store.Key, limit int) ([]store.Record, error) {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: recordKey(nil, from), UpperBound: []byte{recordPrefix + 1},
	})
	if err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	defer it.Close()
	var out []store.Record
	for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
		out = append(out, store.Record{Key: parseRecordKey(it.Key()), Data: append([]byte(nil), it.Value()...)})
	}
	return out, it.Error()
}

func parseRecordKey(b []byte) store.Key {
	for i, c := range b {
		if c == 0 {
			return store.Key{Thing: string(b[1:i]), Shadow: string(b[i+1:])}
		}
	}
	return store.Key{Thing: string(b[1:])}
}

// Things implements store.Store: from each thing it skips to the next.
func (s *Store) Things(ctx context.Context, from string, limit int) ([]string, error) {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: recordKey(nil, store.Key{Thing: from}), UpperBound: []byte{recordPrefix + 1},
	})
	if err != nil {
		return nil, fmt.Errorf("things: %w", err)
	}
	defer it.Close()
	var out []string
	var next []byte
	for ok := it.First(); ok && len(out) < limit; ok = it.SeekGE(next) {
		k := parseRecordKey(it.Key())
		if k.Shadow == "" { // the first of its thing's
			out = append(out, k.Thing)
		}
		next = append(append(append(next[:0], recordPrefix), k.Thing...), 1)
	}
	return out, it.Error()
}
