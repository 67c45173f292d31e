package pebble

import (
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
	dataFormat   = 2
)

func recordKey(dst []byte, k store.Key) []byte {
	dst = append(dst, recordPrefix)
	dst = append(dst, k.Thing...)
	dst = append(dst, 0)
	return append(dst, k.Shadow...)
}

// checkFormat writes the format's number into a new store, brings an older one up
// to it, and refuses one from a later version of Gnomon.
func (s *Store) checkFormat() error {
	value, closer, err := s.db.Get([]byte(formatKey))
	if err == pebble.ErrNotFound { //nolint:errorlint // pebble returns the sentinel itself
		return s.db.Set([]byte(formatKey), strconv.AppendInt(nil, dataFormat, 10), pebble.Sync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	n, err := strconv.Atoi(string(value))
	if err != nil || n > dataFormat {
		return fmt.Errorf("store: data format %s is newer than this gnomon reads (%d); run the version that wrote it, or a later one", value, dataFormat)
	}
	if n == dataFormat {
		return nil
	}
	return s.upgrade()
}

// upgrade leaves a store that is wholly of the present format, or as it was.
func (s *Store) upgrade() error {
	batch := s.db.NewBatch()
	defer batch.Close()
	if err := batch.DeleteRange([]byte{thingPrefix}, []byte{thingPrefix + 1}, nil); err != nil {
		return fmt.Errorf("store: upgrade to data format %d: %w", dataFormat, err)
	}
	if err := batch.Set([]byte(formatKey), strconv.AppendInt(nil, dataFormat, 10), nil); err != nil {
		return fmt.Errorf("store: upgrade to data format %d: %w", dataFormat, err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("store: upgrade to data format %d: %w", dataFormat, err)
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
