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
//	t <thing>              empty; the thing has a classic record
//
// Names hold no NUL, so records are ordered by thing, then shadow.
const (
	formatKey    = "f"
	recordPrefix = 's'
	thingPrefix  = 't'
	dataFormat   = 1
)

func recordKey(dst []byte, k store.Key) []byte {
	dst = append(dst, recordPrefix)
	dst = append(dst, k.Thing...)
	dst = append(dst, 0)
	return append(dst, k.Shadow...)
}

func thingKey(dst []byte, thing string) []byte {
	return append(append(dst, thingPrefix), thing...)
}

// checkFormat writes the format's number into a new store and refuses one from
// a later version of Gnomon.
func (s *Store) checkFormat() error {
	value, closer, err := s.db.Get([]byte(formatKey))
	if err == pebble.ErrNotFound { //nolint:errorlint // pebble returns the sentinel itself
		return s.db.Set([]byte(formatKey), strconv.AppendInt(nil, dataFormat, 10), pebble.Sync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if n, err := strconv.Atoi(string(value)); err != nil || n > dataFormat {
		return fmt.Errorf("store: data format %s is newer than this gnomon reads (%d); run the version that wrote it, or a later one", value, dataFormat)
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

// Things implements store.Store.
func (s *Store) Things(ctx context.Context, from string, limit int) ([]string, error) {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: thingKey(nil, from), UpperBound: []byte{thingPrefix + 1},
	})
	if err != nil {
		return nil, fmt.Errorf("things: %w", err)
	}
	defer it.Close()
	var out []string
	for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
		out = append(out, string(it.Key()[1:]))
	}
	return out, it.Error()
}
