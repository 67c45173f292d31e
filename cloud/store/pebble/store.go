// Package pebble is the embedded store: one directory, one process. Writes go
// through a commit group of our own (package group): one goroutine makes one batch
// of what arrived during the last sync, syncs once, and reports in order.
//
// It never reports a change set done before the sync returned. After a failed
// commit it refuses everything until it is opened anew, because what is on disk
// is not known then.
package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/store"
	"gnomon/cloud/store/group"
	"gnomon/cloud/store/pebble/logger"
)

// Config says where the store is and what it may use. Zero fields have the
// defaults given.
type Config struct {
	Dir        string
	FS         vfs.FS // default: the disk
	CacheBytes int64  // block cache; default 16 MiB
	MemTable   uint64 // write buffer, twice of which may be held; default 64 MiB, taken as needed
	Queue      int    // change sets waiting; default 4096
	Log        *slog.Logger
}

// Store is a store.Store on pebble. Run commits; until it runs, Submit only queues.
type Store struct {
	db     *pebble.DB
	group  *group.Group[change]
	broken atomic.Pointer[error]
}

// Open opens or creates the store in cfg.Dir.
func Open(cfg Config) (*Store, error) {
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 16 << 20
	}
	if cfg.MemTable == 0 {
		cfg.MemTable = 64 << 20
	}
	if cfg.Queue == 0 {
		cfg.Queue = 4096
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("store %s: %w", cfg.Dir, err)
	}
	cache := pebble.NewCache(cfg.CacheBytes)
	defer cache.Unref()
	options := &pebble.Options{
		FS:                 cfg.FS,
		Cache:              cache,
		MemTableSize:       cfg.MemTable,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             logger.Logger{Log: cfg.Log},
	}
	// Merging what has just been flushed into all there is costs as much as all there
	// is, and almost everything that is read is read from memory: so it waits for more.
	options.L0CompactionThreshold = 12
	options.Experimental.ValueSeparationPolicy = keepApart
	db, err := pebble.Open(cfg.Dir, options)
	if err != nil {
		return nil, explainOpen(cfg, err)
	}
	s := &Store{db: db, group: group.New(group.Config[change]{Queue: cfg.Queue, Bytes: maxGroup, Size: sizeOf, Closed: store.ErrClosed})}
	if err := s.checkFormat(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// keepApart has compactions sort keys and leave records where they are: records
// are what nearly every byte is of, and each is soon replaced.
func keepApart() pebble.ValueSeparationPolicy {
	return pebble.ValueSeparationPolicy{
		Enabled:               true,
		MinimumSize:           256,
		MaxBlobReferenceDepth: 40, // beyond which a compaction copies the records, too; they are read one at a time
		RewriteMinimumAge:     time.Minute,
		TargetGarbageRatio:    0.5, // so that replaced records take as much room as the others, at most
	}
}

// explainOpen says what an operator can do about the usual failure.
func explainOpen(cfg Config, err error) error {
	if cfg.FS == vfs.Default && lockHeld(cfg.Dir) {
		return fmt.Errorf("store %s: another gnomon cloud uses this directory; stop it or choose another with --data: %w", cfg.Dir, err)
	}
	return fmt.Errorf("store %s: %w", cfg.Dir, err)
}

// Load implements store.Store.
func (s *Store) Load(_ context.Context, key store.Key) ([]byte, error) {
	value, closer, err := s.db.Get(recordKey(nil, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("load %s/%s: %w", key.Thing, key.Shadow, err)
	}
	defer closer.Close()
	return append([]byte(nil), value...), nil
}

// Err tells why the store no longer accepts changes; nil when it does.
func (s *Store) Err() error {
	if p := s.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// Close closes the database. Run must have ended, or never begun. A broken store
// is left as it is: pebble holds its locks, and its log says what happened.
func (s *Store) Close() error {
	if s.broken.Load() != nil {
		return nil
	}
	return s.db.Close()
}

// Bytes returns the space the database takes on disk.
func (s *Store) Bytes() uint64 { return s.db.Metrics().DiskSpaceUsage() }
