package usage

import (
	"time"

	"gnomon/edge/workload/cgroup"
)

// Group is where the kernel counts what the processes of an application use.
type Group interface {
	Usage() cgroup.Usage
	IO() (read, written int64)
}

// Target is one application that runs.
type Target struct {
	Name     string
	Instance string // another one starts counting anew
	PID      int
	Group    Group
}

// Config of a Sampler.
type Config struct {
	Paths []string // directories whose file systems are looked at
	Proc  string   // default /proc
	Sys   string   // default /sys
}

// Sampler takes samples. It is for one goroutine.
type Sampler struct {
	cfg  Config
	host counters
	apps map[string]counters
}

// counters are what only ever grows, at one moment.
type counters struct {
	at       time.Time
	instance string
	busy     float64 // seconds of processor time; of the host: ticks
	all      float64 // ticks of all processors, busy or not
	read     int64
	written  int64
	in, out  int64
}

// New returns a sampler that has seen nothing yet.
func New(cfg Config) *Sampler {
	if cfg.Proc == "" {
		cfg.Proc = "/proc"
	}
	if cfg.Sys == "" {
		cfg.Sys = "/sys"
	}
	return &Sampler{cfg: cfg, apps: map[string]counters{}}
}

// shortest is how far apart two samples must be for rates to mean something.
const shortest = 200 * time.Millisecond

// Sample measures the node and those applications. What else was there before is
// forgotten.
func (s *Sampler) Sample(now time.Time, targets []Target) Snapshot {
	snap := Snapshot{At: now, Node: s.node(now), Applications: make(map[string]Application, len(targets))}
	seen := make(map[string]counters, len(targets))
	own := netns(s.cfg.Proc, "self")
	for _, t := range targets {
		app, c := s.application(now, t, own)
		snap.Applications[t.Name] = app
		seen[t.Name] = c
	}
	s.apps = seen
	return snap
}

func (s *Sampler) application(now time.Time, t Target, own string) (Application, counters) {
	u := t.Group.Usage()
	a := Application{Running: true, Memory: u.Memory, Pids: u.Pids}
	c := counters{at: now, instance: t.Instance, busy: u.CPU.Seconds()}
	c.read, c.written = t.Group.IO()
	if ns := netns(s.cfg.Proc, pidText(t.PID)); ns != "" && ns != own {
		a.Network = true
		c.in, c.out = s.network(pidText(t.PID), false)
	}
	before := s.apps[t.Name]
	if a.Settled = before.instance == t.Instance && before.precedes(c); !a.Settled {
		if before.instance == t.Instance && !before.at.IsZero() && now.Sub(before.at) < shortest {
			c = before // too soon: the next one counts from there
		}
		return a, c
	}
	a.CPU = (c.busy - before.busy) / c.at.Sub(before.at).Seconds()
	a.Rates = before.rates(c)
	return a, c
}

// precedes tells whether rates between two readings mean something: a clock of
// processors that went back was begun anew.
func (c counters) precedes(later counters) bool {
	return !c.at.IsZero() && later.at.Sub(c.at) >= shortest && later.busy >= c.busy && later.all >= c.all
}

func (c counters) rates(later counters) Rates {
	seconds := later.at.Sub(c.at).Seconds()
	// Where accounts of processes are added up, they go back when one ends that
	// nobody has waited for; so they do when a network device goes.
	per := func(from, to int64) float64 { return float64(max(0, to-from)) / seconds }
	return Rates{Read: per(c.read, later.read), Written: per(c.written, later.written), In: per(c.in, later.in), Out: per(c.out, later.out)}
}
