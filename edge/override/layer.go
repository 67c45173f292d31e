package override

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// Shadows is where desired state comes from and reports go to.
type Shadows interface {
	Desired() (all []state.Desired, complete bool)
	Changed() <-chan struct{}
	Report(shadowName string, reported *shadow.Value)
	Gone(shadowName string) error
}

// Holder tells the cloud of shadows that it didn't ask for.
type Holder interface {
	// Keep makes shadows known, so that what they report reaches the cloud.
	Keep(names ...string)
	// Withdraw takes one back: the cloud shall forget it unless it asks for it now.
	Withdraw(name string) error
}

// Memory keeps what must survive a restart.
type Memory interface {
	Put(records ...state.Record) error
	Delete(kind state.Kind, names ...string) error
	All(kind state.Kind) (map[string][]byte, error)
}

// Limits of overrides.
const (
	DefaultLease = 2 * time.Hour
	DefaultLimit = 24 * time.Hour
	MinLease     = time.Second
	MaxOverrides = 64       // of one node
	maxValue     = 64 << 10 // bytes of what one says
)

// How often leases are counted, and how often what was counted is written: after
// a power cut a lease may last that much longer.
const (
	countEvery = time.Minute
	writeEvery = 5 * time.Minute
)

// Config of a Layer. Below, Holder, Memory and Clock are required.
type Config struct {
	Below  Shadows
	Holder Holder
	Memory Memory
	Clock  func() Moment
	Limit  time.Duration // the longest lease; 0: nobody on the node may override anything
	Log    *slog.Logger  // default: discard
}

// Layer is the overrides of one node over its shadows. Its methods may be called
// concurrently.
type Layer struct {
	cfg     Config
	changed chan struct{}
	kick    chan struct{}

	disk    sync.Mutex // one change at a time, on disk and then here; taken before mu
	written time.Time

	mu      sync.Mutex
	entries map[string]*entry // by application; an entry is replaced, never changed
}

// New reads the overrides from disk and drops what is over. It starts nothing.
func New(cfg Config) (*Layer, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Layer{cfg: cfg, changed: make(chan struct{}, 1), kick: make(chan struct{}, 1), entries: map[string]*entry{}}
	all, err := cfg.Memory.All(state.KindOverride)
	if err != nil {
		return nil, err
	}
	for shadowName, data := range all {
		kind, app := schema.KindOf(shadowName)
		e, err := parseRecord(data)
		if err != nil || kind != schema.KindApplication {
			cfg.Log.Error("an override on disk is unreadable and counts for nothing", "shadow", shadowName, "error", err)
			continue
		}
		l.entries[app] = e
		if e.kind == schema.OverrideInstalled {
			cfg.Holder.Keep(shadowName)
		}
	}
	l.count(cfg.Clock())
	return l, nil
}

// Run ends overrides in time until ctx ends.
func (l *Layer) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.disk.Lock()
			defer l.disk.Unlock()
			l.write(l.cfg.Clock())
			return nil
		case <-l.cfg.Below.Changed():
			l.settle()
			signal(l.changed)
		case <-l.kick:
		case <-timer.C:
			if l.count(l.cfg.Clock()) {
				signal(l.changed)
			}
			l.settle()
		}
		timer.Reset(l.next())
	}
}

// next is how long nothing ends by itself.
func (l *Layer) next() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := countEvery
	if len(l.entries) == 0 {
		return 24 * time.Hour
	}
	now := l.cfg.Clock()
	for _, e := range l.entries {
		if !e.ending {
			next = min(next, e.lease.at(now).left(now))
		}
	}
	return max(next, 10*time.Millisecond)
}

// count counts the leases and ends those that are over; ended tells whether any is.
func (l *Layer) count(now Moment) (ended bool) {
	l.disk.Lock()
	defer l.disk.Unlock()
	for app, e := range l.all() {
		counted := *e
		counted.lease = e.lease.at(now)
		if counted.lease.left(now) > 0 || e.ending {
			l.set(app, &counted)
			continue
		}
		if err := l.end(app, &counted); err != nil {
			// It is over whatever the disk says; the next start finds that, too.
			l.cfg.Log.Error("the end of an override cannot be written", "app", app, "error", err)
			l.set(app, counted.ended())
		}
		ended = true
		l.cfg.Log.Info("override ended: its lease is over", "app", app, "by", e.by, "reason", e.reason)
	}
	if now.Wall.Sub(l.written).Abs() >= writeEvery {
		l.write(now)
	}
	return ended
}

// write puts what was counted on disk.
func (l *Layer) write(now Moment) {
	for app, e := range l.all() {
		if err := l.put(app, e); err != nil {
			l.cfg.Log.Error("an override cannot be written", "app", app, "error", err)
			return
		}
	}
	l.written = now.Wall
}

// settle drops the overrides of which nothing is left by what is desired now.
func (l *Layer) settle() {
	l.disk.Lock()
	defer l.disk.Unlock()
	desired, complete := l.cfg.Below.Desired()
	for app, e := range l.all() {
		d, there := find(desired, schema.AppPrefix+app)
		_, v := e.lay(d, there, complete)
		if v != moot && v != departed {
			continue
		}
		var err error
		if e.kind == schema.OverrideInstalled { // it is the cloud's now
			err = l.cfg.Holder.Withdraw(schema.AppPrefix + app)
		}
		if err == nil {
			err = l.drop(app)
		}
		if err != nil {
			l.cfg.Log.Error("an override that is moot cannot be deleted", "app", app, "error", err)
			continue
		}
		l.cfg.Log.Info("override ended: the cloud has deleted the application, or asks for the same", "app", app, "by", e.by, "reason", e.reason)
	}
}

// end ends an override: what was installed goes first.
func (l *Layer) end(app string, e *entry) error {
	if e.kind != schema.OverrideInstalled {
		return l.drop(app)
	}
	return l.put(app, e.ended())
}

// ended is what is left of an entry that is over: nothing, or what was installed
// and has to go.
func (e *entry) ended() *entry {
	if e.kind != schema.OverrideInstalled {
		return nil
	}
	leaving := *e
	leaving.ending = true
	return &leaving
}

// put writes an entry and then makes it the one in force.
func (l *Layer) put(app string, e *entry) error {
	r, err := e.record(app)
	if err == nil {
		err = l.cfg.Memory.Put(r)
	}
	if err == nil {
		l.set(app, e)
	}
	return err
}

func (l *Layer) drop(app string) error {
	if err := l.cfg.Memory.Delete(state.KindOverride, schema.AppPrefix+app); err != nil {
		return err
	}
	l.set(app, nil)
	return nil
}

func (l *Layer) set(app string, e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e == nil {
		delete(l.entries, app)
		return
	}
	l.entries[app] = e
}

// all is a copy of the entries.
func (l *Layer) all() map[string]*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.entries)
}

func (l *Layer) of(shadowName string) (app string, e *entry) {
	kind, app := schema.KindOf(shadowName)
	if kind != schema.KindApplication {
		return app, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return app, l.entries[app]
}

// signal raises a level.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func find(all []state.Desired, shadowName string) (state.Desired, bool) {
	i := slices.IndexFunc(all, func(d state.Desired) bool { return d.Name == shadowName })
	if i < 0 {
		return state.Desired{Name: shadowName}, false
	}
	return all[i], true
}
