package readings

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/history"
	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Publisher is how nodes are told something.
type Publisher interface {
	// Publish sends to whoever listens. It doesn't block.
	Publish(topic string, payload []byte)
}

// Past is where it is known what was desired of a policy, and when.
type Past interface {
	History(ctx context.Context, p identity.Principal, key store.Key) (*history.Log, *shadow.Document, error)
}

// Follower hears of batches that are durable. It must not block, nor change them.
type Follower interface {
	Stored(t Told)
}

// Config is what a Service stands on. Zero fields have the defaults given.
type Config struct {
	Sink      Sink  // where readings go
	Store     Store // where they can be looked up, mostly the same; nil: nowhere
	Publisher Publisher
	Past      Past
	Followers []Follower
	Listening func(topic string) bool // whether a node is there to be asked; nil: that can't be known

	Days      int           // readings are kept for; default DefaultDays
	HeldBytes int           // of batches on their way to disk, decoded and laid out; default 128 MiB, a quarter of which one node may have
	PerNode   int           // batches of one node on their way to disk; default 8
	Batches   int           // of all nodes; default DefaultBatches
	Future    time.Duration // how far ahead of the cloud's clock a reading may be; default 24h
	Reads     int           // live reads under way; default 256

	Now     func() time.Time // default time.Now
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: not exported
}

// DefaultBatches is how many batches may be on their way to disk. A sink has room for
// all of them, so that whoever brings one doesn't wait there: what comes beyond is told
// to come again.
const DefaultBatches = 512

// Bounds of Config.Days.
const (
	DefaultDays = 90
	MaxDays     = 3660
)

func (c Config) withDefaults() Config {
	if c.Days == 0 {
		c.Days = DefaultDays
	}
	if c.HeldBytes == 0 {
		c.HeldBytes = 128 << 20
	}
	if c.PerNode == 0 {
		c.PerNode = 8
	}
	if c.Batches == 0 {
		c.Batches = DefaultBatches
	}
	if c.Future == 0 {
		c.Future = 24 * time.Hour
	}
	if c.Reads == 0 {
		c.Reads = 256
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Service takes readings and answers questions about them.
type Service struct {
	cfg     Config
	metrics *metrics
	decode  chan struct{} // a place in it is leave to decode

	mu    sync.Mutex
	held  int             // bytes on their way to disk
	under int             // batches
	nodes map[string]load // by node, those that have any

	reads reads
}

// load is what a node has on its way to disk.
type load struct{ batches, bytes int }

// New returns a Service. Run removes what is too old; the rest works without.
func New(cfg Config) (*Service, error) {
	cfg = cfg.withDefaults()
	if cfg.Sink == nil || cfg.Publisher == nil {
		return nil, errors.New("readings: no sink, or no publisher")
	}
	s := &Service{cfg: cfg, decode: make(chan struct{}, decoders), nodes: make(map[string]load)}
	s.reads.waiting = make(map[string]asked)
	s.metrics = newMetrics(cfg.Metrics, s)
	return s, nil
}

// decoders bounds how many batches are decoded at once, each of which may take some
// MiB.
const decoders = 8

// expiry is how often what is too old is looked for.
const expiry = time.Hour

// Run forgets what is too old until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if s.cfg.Store == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(expiry)
	defer tick.Stop()
	for {
		if err := s.cfg.Store.Expire(ctx, s.oldest()); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("old readings are not forgotten", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// oldest is the time before which nothing is kept.
func (s *Service) oldest() time.Time { return s.cfg.Now().AddDate(0, 0, -s.cfg.Days) }
