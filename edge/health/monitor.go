package health

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"gnomon/edge/health/alarm"
	"gnomon/edge/health/usage"
	"gnomon/edge/readiness"
	"gnomon/edge/reconcile"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// Workloads tells where applications are on the node.
type Workloads interface {
	Group(name string) (usage.Group, error) // of the instance that runs
	Footprint(name string) (data, layers, logs []string)
}

// Memory keeps what must survive a restart.
type Memory interface {
	Put(records ...state.Record) error
	All(kind state.Kind) (map[string][]byte, error)
}

// Config is what a Monitor stands on.
type Config struct {
	Workloads Workloads
	Memory    Memory
	// Reported returns what a shadow reported last, so that a restart doesn't take
	// back what is measured again soon. Default: nothing is known.
	Reported func(shadowName string) *shadow.Value

	// Ready says whether the node could go on without its cloud. Default: nobody
	// says so.
	Ready func(w loop.Wanted, node usage.Node) readiness.Report
	Paths []string         // directories whose file systems are watched; the first is the node's data
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // default: discard
}

// Monitor implements loop.Health.
type Monitor struct {
	cfg     Config
	sampler *usage.Sampler
	changed chan struct{}
	look    chan struct{} // there is something new to look at
	walk    chan struct{} // there is something new on disk to look at

	mu       sync.Mutex
	wanted   *loop.Wanted // nil before the loop has told
	snapshot usage.Snapshot
	disks    map[string]*usage.Footprint // by application
	alarms   *alarm.Set
	unsaved  bool // alarms on disk are older
	ready    readiness.Report
	node     usage.Report
	apps     map[string]*usage.Report
	groups   map[string]group // of instances that run, by application
}

type group struct {
	instance string
	usage.Group
}

var _ loop.Health = (*Monitor)(nil)

// alarmRecord is the name of the one record of alarms.
const alarmRecord = "alarms"

// New reads what an earlier agent left. It starts nothing.
func New(cfg Config) (*Monitor, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Reported == nil {
		cfg.Reported = func(string) *shadow.Value { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{
		cfg: cfg, sampler: usage.New(usage.Config{Paths: cfg.Paths}),
		changed: make(chan struct{}, 1), look: make(chan struct{}, 1), walk: make(chan struct{}, 1),
		disks: map[string]*usage.Footprint{}, alarms: new(alarm.Set),
		apps: map[string]*usage.Report{}, groups: map[string]group{},
	}
	all, err := cfg.Memory.All(state.KindAlarm)
	if err != nil {
		return nil, err
	}
	if text, ok := all[alarmRecord]; ok {
		if err := json.Unmarshal(text, m.alarms); err != nil {
			m.alarms = new(alarm.Set)
			cfg.Log.Warn("the alarms that were raised are unreadable", "error", err)
		}
	}
	return m, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed implements loop.Health.
func (m *Monitor) Changed() <-chan struct{} { return m.changed }

// Wanted implements loop.Health.
func (m *Monitor) Wanted(w loop.Wanted) reconcile.Holds {
	m.mu.Lock()
	defer m.mu.Unlock()
	news, larger := m.differs(&w)
	m.wanted = &w
	if news {
		signal(m.look)
	}
	if larger {
		signal(m.walk)
	}
	return m.holds()
}

// differs tells whether there is something to look at soon: other applications,
// instances or rules; and whether there may be something else on disk.
func (m *Monitor) differs(w *loop.Wanted) (news, larger bool) {
	if m.wanted == nil {
		return true, true
	}
	versions := make(map[string]uint64, len(m.wanted.Apps))
	for i := range m.wanted.Apps {
		versions[m.wanted.Apps[i].Name] = m.wanted.Apps[i].Version
	}
	for i := range w.Apps {
		a := &w.Apps[i]
		version, known := versions[a.Name]
		news = news || version != a.Version
		larger = larger || !known || version != a.Version && a.Want != nil && a.Want.Run.Resources.Disk > 0
	}
	news = news || len(versions) != len(w.Apps) || len(m.wanted.Observed) != len(w.Observed)
	for i := 0; !news && i < len(w.Observed); i++ {
		was, is := m.wanted.Observed[i], w.Observed[i]
		news = was.Instance != is.Instance || was.State != is.State
	}
	return news || !equal(m.wanted.Node, w.Node), larger || m.wanted.Node.Sampling.Disk != w.Node.Sampling.Disk
}

// equal compares what is desired of the node. Both are parsed from JSON.
func equal(a, b *schema.Node) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// soon is how long something new waits to be looked at, so that what changes
// together is looked at together.
const soon = time.Second

// Run measures and watches until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.sample(ctx) })
	g.Go(func() error { return m.walkAll(ctx) })
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// sample takes samples at the interval that is asked for, and looks soon at what
// is new.
func (m *Monitor) sample(ctx context.Context) error {
	return m.recur(ctx, m.look, func() (time.Duration, error) {
		if settled := m.Look(); settled {
			return m.interval(), nil
		}
		return soon, nil // rates take a second sample
	})
}

// recur calls do at once and again after the time that it returns, or soon when
// asked to, until ctx ends or do fails.
func (m *Monitor) recur(ctx context.Context, asked <-chan struct{}, do func() (time.Duration, error)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := m.cfg.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-asked:
			if at := m.cfg.Now().Add(soon); at.Before(next) {
				next = at
			}
		case <-timer.C:
			pause, err := do()
			if err != nil {
				return err
			}
			next = m.cfg.Now().Add(pause)
		}
		timer.Reset(next.Sub(m.cfg.Now()))
	}
}

// Hurry has a sample taken soon, for somebody who is watching. It costs no more
// than one a second.
func (m *Monitor) Hurry() { signal(m.look) }

func (m *Monitor) interval() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wanted == nil {
		return soon
	}
	return m.wanted.Node.Sampling.Interval.D()
}

// Look takes a sample, judges it and tells whether all rates are known.
func (m *Monitor) Look() (settled bool) {
	m.mu.Lock()
	targets, wanted := m.targets(), m.wanted
	m.mu.Unlock()
	snap := m.sampler.Sample(m.cfg.Now(), targets) // not under the lock: nobody waits for the kernel
	var ready readiness.Report
	if wanted != nil && m.cfg.Ready != nil {
		ready = m.cfg.Ready(*wanted, snap.Node)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot = snap
	if !reflect.DeepEqual(ready, m.ready) {
		m.ready = ready
		signal(m.changed)
	}
	settled = snap.Node.Settled
	for _, a := range snap.Applications {
		settled = settled && a.Settled
	}
	m.judge()
	return settled
}

// Usage returns what was measured last, with what applications have on disk.
func (m *Monitor) Usage() usage.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.snapshot
	out.Applications = make(map[string]usage.Application, len(m.snapshot.Applications))
	for name := range m.snapshot.Applications {
		out.Applications[name] = m.measured(name)
	}
	for name := range m.disks {
		out.Applications[name] = m.measured(name)
	}
	return out
}

// Wants returns what is wanted of the node, as the loop has told it last. With
// known false it hasn't yet.
func (m *Monitor) Wants() (w loop.Wanted, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wanted == nil {
		return loop.Wanted{}, false
	}
	return *m.wanted, true
}

// Readiness returns how ready the node is for being alone.
func (m *Monitor) Readiness() readiness.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready
}

// Alarms returns what is raised.
func (m *Monitor) Alarms() []alarm.Raised {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.alarms.Raised()
}
