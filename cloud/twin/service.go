package twin

import (
	"errors"
	"hash/maphash"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/shadow"
)

// Publisher carries messages to whoever subscribed. Publish must not block for
// a slow subscriber; what is lost that way is made good by the next sync.
type Publisher interface {
	Publish(topic string, payload []byte)
	// Subscribed tells whether anybody would get a message on topic. Saying yes
	// in doubt only costs the encoding.
	Subscribed(topic string) bool
}

// Config is what a Service stands on. Zero fields have the defaults given.
type Config struct {
	Store      store.Store
	Shared     bool     // other processes write to Store, too
	Replicas   Replicas // the other processes; nil: there are none
	Publisher  Publisher
	ReachesAll bool             // Publisher reaches the clients of all replicas: what another one committed, that one has published
	Now        func() time.Time // default time.Now
	Limits     shadow.Limits    // default shadow.DefaultLimits
	CacheCount int              // documents kept parsed; default 100,000
	CacheBytes int              // their approximate size; default 128 MiB
	Traces     *trace.Log       // hears what becomes of changes of desired; nil: nobody does
	Events     int              // events kept for watchers that resume; default 8192
	Log        *slog.Logger
	Metrics    prometheus.Registerer // nil: not exported

	History   int                                      // versions of desired kept of each shadow; 0: none
	Condition func(selector string) (Condition, error) // reads selectors for preconditions; nil: there are none
	After     func(time.Duration) <-chan time.Time     // wakes Run; default time.After

	// Committed, when given, hears of every document that is committed before
	// whoever asked for the change does, in version order for each shadow.
	// Position counts the events. It must not block and not call the service.
	Committed func(key store.Key, doc *shadow.Document, position uint64)
}

// Service is the shadow service. Changes run on their callers' goroutines and
// finish on the store's. Those lost to another writer have one for each shadow,
// which ends when they are placed again. Run is for what happens at a time, and
// nothing else needs it.
type Service struct {
	cfg     Config
	seed    maphash.Seed
	stripes [stripes]stripe
	events  *eventLog
	metrics *metrics
	backlog backlog
	lives   lives
}

// stripes is how many locks the things are spread over.
const stripes = 256

// New returns a service on cfg.Store.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Publisher == nil {
		return nil, errors.New("twin: a store and a publisher are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CacheCount == 0 {
		cfg.CacheCount = 100_000
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 128 << 20
	}
	if cfg.Events == 0 {
		cfg.Events = 8192
	}
	if cfg.Limits.StateBytes <= 0 {
		cfg.Limits.StateBytes = shadow.DefaultLimits.StateBytes
	}
	if cfg.After == nil {
		cfg.After = time.After
	}
	if cfg.Condition == nil {
		cfg.Condition = noConditions
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, seed: maphash.MakeSeed()}
	s.events = newEventLog(strconv.FormatInt(cfg.Now().UnixNano(), 36), cfg.Events)
	s.events.committed = cfg.Committed
	s.lives.init()
	s.metrics = newMetrics(cfg.Metrics, s)
	for i := range s.stripes {
		s.stripes[i].shared = cfg.Shared
		s.stripes[i].init(max(1, cfg.CacheCount/stripes), max(1, cfg.CacheBytes/stripes))
	}
	return s, nil
}

func (s *Service) stripeOf(thing string) *stripe {
	return &s.stripes[maphash.String(s.seed, thing)%stripes]
}

// now returns the second that documents are stamped with.
func (s *Service) now() int64 { return s.cfg.Now().Unix() }
