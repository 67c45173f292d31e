package redis

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
)

// Config says where the store is. Zero fields have the defaults given.
type Config struct {
	URL      string
	Security Security
	Queue    int           // change sets waiting; default 4096
	RetryFor time.Duration // how long a commit is tried again while the server is away; default 2s
	Log      *slog.Logger
}

// Store is a shared store.Store on Redis. Run commits; until it runs, Submit
// only queues.
type Store struct {
	keys     keys
	log      *slog.Logger
	retryFor time.Duration
	batch    int                     // changes that one call of plainScript may take
	client   goredis.UniversalClient // reads, and writes that may be done twice
	commits  goredis.UniversalClient // the committers'
	lanes    [lanes]committer

	run   [8]byte       // tells the tokens of this store from those of others
	last  atomic.Uint64 // token given last
	stop  chan struct{} // closed when Run ends
	gate  sync.RWMutex  // held by Submit while it queues, so that Run can tell when nobody does any more
	heard atomic.Int64  // when the server last answered, in nanoseconds
	away  atomic.Pointer[error]
}

// Open connects to the server and checks that it can be used.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Queue == 0 {
		cfg.Queue = 4096
	}
	if cfg.RetryFor == 0 {
		cfg.RetryFor = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	silence()
	a, err := parseURL(&cfg)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{
		keys: keys{a.prefix}, log: cfg.Log, retryFor: cfg.RetryFor, client: a.make(false), commits: a.make(true),
		stop: make(chan struct{}), batch: batchRecords,
	}
	for i := range s.lanes {
		s.lanes[i] = committer{Store: s, queue: make(chan *change, max(1, cfg.Queue/lanes))}
	}
	if a.cluster {
		s.batch = 1 // a script's keys lie in one slot, and one key is all right while its slot moves
	}
	if _, err := rand.Read(s.run[:]); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", explainStart(err)), s.Close())
	}
	return s, nil
}

// startFor is how long the start waits for a server that is just starting itself,
// or a Cluster that is replacing a master.
const startFor = 5 * time.Second

// check tells whether the server can be used.
func (s *Store) check(ctx context.Context) error {
	for began := time.Now(); ; {
		err := s.checkServers(ctx)
		if err == nil {
			err = s.checkFormat(ctx)
		}
		if !goredis.HasErrorPrefix(err, "CLUSTERDOWN") && !goredis.HasErrorPrefix(err, "LOADING") || time.Since(began) > startFor {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// The value of a record: Sum (8 bytes), token of the write (16), who reserved it
// (8) and until when (16, decimal milliseconds; NULs when nobody did), data. The
// script knows these places, too.
const (
	sumSize     = 8
	tokenSize   = 16
	reserveSize = 24
	headSize    = sumSize + tokenSize + reserveSize
)

func value(sum store.Sum, token, data []byte) []byte {
	v := make([]byte, 0, headSize+len(data))
	v = binary.BigEndian.AppendUint64(v, uint64(sum))
	v = append(v, token...)
	v = append(v, make([]byte, reserveSize)...)
	return append(v, data...)
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, error) {
	v, err := s.client.Get(ctx, s.keys.record(key)).Bytes()
	if errors.Is(err, goredis.Nil) {
		return nil, store.ErrNotFound
	}
	if err == nil && len(v) < headSize {
		err = errors.New("not a record")
	}
	if err != nil {
		return nil, fmt.Errorf("load %s/%s: %w", key.Thing, key.Shadow, err)
	}
	return v[headSize:], nil
}

// Submit implements store.Store.
func (s *Store) Submit(ctx context.Context, records []store.Record, done func(error)) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	select {
	case <-s.stop:
		return store.ErrClosed
	default:
	}
	if len(records) > 0 {
		c := s.prepare(records, done)
		return s.put(ctx, int(c.hash%lanes), c)
	}
	// Nothing to write: it is done when everything before it is, in all lanes.
	var left atomic.Int32
	left.Store(lanes)
	for i := range s.lanes {
		err := s.put(ctx, i, &change{done: func(error) {
			if left.Add(-1) == 0 {
				done(nil)
			}
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) put(ctx context.Context, lane int, c *change) error {
	select {
	case s.lanes[lane].queue <- c:
		return nil
	case <-s.stop:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Err tells why the last exchange with the server failed; nil when it didn't.
// The store goes on by itself when the server is back.
func (s *Store) Err() error {
	if p := s.away.Load(); p != nil {
		return fmt.Errorf("store: redis is away: %w", *p)
	}
	return nil
}

// note keeps what Err tells.
func (s *Store) note(err error) {
	if err == nil {
		if s.away.Swap(nil) != nil {
			s.log.Info("redis is back")
		}
		return
	}
	if s.away.Swap(&err) == nil {
		s.log.Warn("redis is away", "error", err)
	}
}

// Close closes the connections. Run must have ended, or never begun.
func (s *Store) Close() error { return errors.Join(s.client.Close(), s.commits.Close()) }

// Client is the connection to the server, for what else the replicas have to
// tell each other through it.
func (s *Store) Client() goredis.UniversalClient { return s.client }

// Prefix comes before all keys and channels.
func (s *Store) Prefix() string { return s.keys.prefix }
