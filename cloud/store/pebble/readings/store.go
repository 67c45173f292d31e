package readings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/readings"
	"gnomon/cloud/store/group"
	"gnomon/cloud/store/pebble/logger"
)

// Config says where the store is and what it may use. Zero fields have the defaults
// given.
type Config struct {
	Dir        string
	FS         vfs.FS // default: the disk
	CacheBytes int64  // block cache; default 16 MiB
	MemTable   uint64 // write buffer, twice of which may be held; default 32 MiB, taken as needed
	Queue      int    // batches waiting; default readings.DefaultBatches
	Log        *slog.Logger
}

// Store is a readings.Store on pebble. Run commits; until it runs, Submit only queues.
type Store struct {
	db     *pebble.DB
	group  *group.Group[change]
	broken atomic.Pointer[error]
}

var _ readings.Store = (*Store)(nil)

// Open opens or creates the store in cfg.Dir.
func Open(cfg Config) (s *Store, err error) {
	defer logger.Caught(&err)
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 16 << 20
	}
	if cfg.MemTable == 0 {
		cfg.MemTable = 32 << 20
	}
	if cfg.Queue == 0 {
		cfg.Queue = readings.DefaultBatches
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("store of readings %s: %w", cfg.Dir, err)
	}
	cache := pebble.NewCache(cfg.CacheBytes)
	defer cache.Unref()
	options := &pebble.Options{
		FS: cfg.FS, Cache: cache, MemTableSize: cfg.MemTable, Merger: merger(most, cfg.Log),
		FormatMajorVersion: pebble.FormatNewest, Logger: logger.Logger{Log: cfg.Log},
	}
	for i := range options.Levels { // most of what is there lies at the bottom, is seldom read, and is much alike
		options.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.GoodCompression }
	}
	db, err := pebble.Open(cfg.Dir, options)
	if err != nil {
		return nil, fmt.Errorf("store of readings %s: %w", cfg.Dir, err)
	}
	size := func(c change) int { return c.size }
	s = &Store{db: db, group: group.New(group.Config[change]{Queue: cfg.Queue, Bytes: maxGroup, Size: size, Closed: readings.ErrClosed})}
	if err := s.checkFormat(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// Expire implements readings.Store: whole pieces go, which end before the time.
func (s *Store) Expire(ctx context.Context, before time.Time) error {
	cut := pieceOf(before.UnixMilli())
	batch := s.db.NewBatch()
	defer batch.Close()
	err := s.eachPolicy(ctx, readings.Policy{}, func(p readings.Policy, oldest uint32) (bool, error) {
		if oldest >= cut {
			return true, nil
		}
		return true, batch.DeleteRange(pieceKey(nil, p, 0), pieceKey(nil, p, cut), nil)
	})
	if err == nil && !batch.Empty() {
		err = batch.Commit(pebble.NoSync) // what comes back after a crash goes the next time
	}
	if err != nil {
		return fmt.Errorf("forget readings before %s: %w", before.UTC().Format(time.RFC3339), err)
	}
	return nil
}

// Err tells why the store no longer accepts batches; nil when it does.
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
