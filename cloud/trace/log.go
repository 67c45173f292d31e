package trace

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gnomon/cloud/store"
)

// Config is what a Log stands on. Zero fields have the defaults given.
type Config struct {
	Changes int // remembered; default 8192
	Bytes   int // their approximate size; default 8 MiB
	Steps   int // kept for watchers that resume; default 8192
	Clients int // whose connection is remembered; default 100,000
	Now     func() time.Time
	// Tell takes a word for the other replicas, about a thing. It must not block.
	// Nil: there are none.
	Tell func(thing string, word []byte)
	// Listeners tells how many clients get what is published on a topic, and how
	// many of them acknowledge it. Nil: that can't be known.
	Listeners func(topic string) (all, acknowledging int)
	Log       *slog.Logger
}

// Log is the memory of one process. Its methods are safe for concurrent use and
// those of a nil Log do nothing.
type Log struct {
	cfg   Config
	began time.Time

	open        atomic.Int64 // changes that have not ended
	undelivered atomic.Int64 // changes of which nobody has acknowledged anything

	mu       sync.Mutex
	ring     []*change // in the order in which they were heard of
	next     int       // place of the next in ring
	bytes    int
	latest   map[store.Key]*change
	versions map[id]*change
	steps    steps
	presence presence
}

// New returns an empty Log.
func New(cfg Config) *Log {
	if cfg.Changes == 0 {
		cfg.Changes = 8192
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = 8 << 20
	}
	if cfg.Steps == 0 {
		cfg.Steps = 8192
	}
	if cfg.Clients == 0 {
		cfg.Clients = 100_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	now := cfg.Now()
	return &Log{
		cfg: cfg, began: now,
		latest: make(map[store.Key]*change), versions: make(map[id]*change),
		steps: newSteps(now, cfg.Steps), presence: presence{most: cfg.Clients, clients: make(map[string]presenceOf)},
	}
}

// add puts a change among those remembered; mu is held. One that is known is left
// out. One that is older than the latest of its shadow, which two replicas may
// have told of at about the same time, has been superseded by that.
func (l *Log) add(c *change, now time.Time) bool {
	if l.versions[id{c.Key, c.Version}] != nil {
		return false
	}
	if len(l.ring) < l.cfg.Changes {
		l.ring = append(l.ring, nil)
		l.next = len(l.ring) - 1
	} else if l.next++; l.next == len(l.ring) {
		l.next = 0
	}
	l.forget(l.next)
	l.ring[l.next] = c
	l.versions[id{c.Key, c.Version}] = c
	l.count(c, 1)
	was := l.latest[c.Key]
	switch {
	case was == nil:
		l.latest[c.Key] = c
	case was.Version < c.Version:
		l.supersede(was, c.Version, now)
		c.older, was.newer = was, c
		l.latest[c.Key] = c
	default:
		for was.older != nil && was.older.Version > c.Version {
			was = was.older
		}
		if c.newer, c.older = was, was.older; was.older != nil {
			was.older.newer = c
		}
		was.older = c
		l.supersede(c, was.Version, now)
	}
	l.resize(c)
	return true
}

// count keeps the numbers of changes of which something is waited for; mu is held.
func (l *Log) count(c *change, by int64) {
	if c.end == open {
		l.open.Add(by)
	}
	if c.delivered.IsZero() && (c.end == open || c.end == converged) {
		l.undelivered.Add(by)
	}
}

// resize accounts for a change and forgets the oldest while there is too much.
func (l *Log) resize(c *change) {
	n := c.measure()
	l.bytes += n - c.size
	c.size = n
	for i := 1; l.bytes > l.cfg.Bytes && i < len(l.ring); i++ {
		l.forget((l.next + i) % len(l.ring))
	}
}

// forget drops the change at a place of the ring; mu is held.
func (l *Log) forget(at int) {
	c := l.ring[at]
	if c == nil {
		return
	}
	l.ring[at] = nil
	l.count(c, -1)
	l.bytes -= c.size
	delete(l.versions, id{c.Key, c.Version})
	if l.latest[c.Key] == c {
		delete(l.latest, c.Key)
		if c.older != nil {
			l.latest[c.Key] = c.older
		}
	}
	if c.newer != nil {
		c.newer.older = c.older
	}
	if c.older != nil {
		c.older.newer = c.newer
	}
	c.older, c.newer = nil, nil
}

// finish ends a change; mu is held.
func (l *Log) finish(c *change, how end, now time.Time) {
	l.count(c, -1)
	c.end, c.ended = how, now
	l.count(c, 1)
}

// supersede ends a change that a later one replaced before it had converged; mu
// is held.
func (l *Log) supersede(c *change, by uint64, now time.Time) {
	if c.end != open {
		return
	}
	c.by = by
	l.finish(c, superseded, now)
	l.emit(c, StepSuperseded, now)
}
