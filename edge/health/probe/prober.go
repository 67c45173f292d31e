package probe

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"gnomon/edge/reconcile"
	"gnomon/schema"
)

// Config of a Prober. The zero Config is complete.
type Config struct {
	Parallel int          // probes at a time; default 8
	Dial     Dial         // default: as the node itself would
	Exec     Exec         // nil: no program can be run, and probes that are one fail
	Log      *slog.Logger // default: discard
}

// Dial reaches a target's port.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Exec runs a program beside an instance until it has ended, at the latest when
// ctx does. said is the beginning of what it printed. The error is why it could
// not be run.
type Exec func(ctx context.Context, app, instance string, command []string) (said string, status int, err error)

// Prober probes instances for as long as Run runs. It is safe for concurrent use.
type Prober struct {
	cfg     Config
	changes chan struct{}
	wake    chan struct{}

	mu      sync.Mutex
	watched map[string]*watched // by instance
}

// watched is one instance that is probed.
type watched struct {
	target    Target
	health    reconcile.Health
	successes int       // in a row
	failures  int       // in a row that count
	lenient   time.Time // until then, failures don't
	due       time.Time
	busy      bool
}

// eager is how often an instance is asked until it has come up, at the least.
const eager = time.Second

// New returns a prober that does nothing yet.
func New(cfg Config) *Prober {
	if cfg.Parallel <= 0 {
		cfg.Parallel = 8
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Prober{cfg: cfg, changes: make(chan struct{}, 1), wake: make(chan struct{}, 1), watched: map[string]*watched{}}
}

// Changes signals that the state of an instance may have changed since Health
// was last called. It is a level, not a count.
func (p *Prober) Changes() <-chan struct{} { return p.changes }

// Watch sets what is probed, from now on and instead of what was before.
func (p *Prober) Watch(targets []Target) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make(map[string]*watched, len(targets))
	for _, t := range targets {
		w := p.watched[t.Instance]
		if w == nil || !w.target.same(t) {
			age := max(0, now.Sub(t.StartedAt)) // the clock may have been set
			w = &watched{
				health:  reconcile.Health{State: schema.HealthStarting, Since: now},
				lenient: now.Add(t.Probe.StartPeriod.D() - min(age, t.Probe.StartPeriod.D())), due: now,
			}
		}
		if latest := now.Add(w.pause(t.Probe, now)); w.due.After(latest) { // asked more often now
			w.due = latest
		}
		w.target = t
		next[t.Instance] = w
	}
	p.watched = next
	signal(p.wake)
}

// Health returns what is known, by instance.
func (p *Prober) Health() map[string]reconcile.Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]reconcile.Health, len(p.watched))
	for instance, w := range p.watched {
		all[instance] = w.health
	}
	return all
}

// Run probes until ctx ends and the probes under way are over.
func (p *Prober) Run(ctx context.Context) error {
	slots := make(chan struct{}, p.cfg.Parallel)
	var probes sync.WaitGroup
	defer probes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, late := p.begin(slots, func(w *watched, t Target) {
			probes.Go(func() {
				err := t.try(ctx, p.cfg)
				<-slots
				if ctx.Err() == nil {
					p.settle(w, t, err)
				}
				signal(p.wake)
			})
		})
		if late {
			timer.Stop() // whoever ends makes room, and says so
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// recheck is how long Run sleeps when nothing is due.
const recheck = time.Hour

// begin starts the probes that are due, the one first that has waited longest.
// next is when the next one is; late tells that there was no room for one.
func (p *Prober) begin(slots chan struct{}, start func(*watched, Target)) (next time.Time, late bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var first *watched
		for _, w := range p.watched {
			if !w.busy && (first == nil || w.due.Before(first.due)) {
				first = w
			}
		}
		switch {
		case first == nil:
			return now.Add(recheck), false
		case first.due.After(now):
			return first.due, false
		}
		select {
		case slots <- struct{}{}:
		default:
			return now, true
		}
		first.busy, first.due = true, now.Add(first.pause(first.target.Probe, now))
		start(first, first.target)
	}
}

// pause is how long after a probe the next one follows.
func (w *watched) pause(h schema.Health, now time.Time) time.Duration {
	if w.health.State == schema.HealthStarting && now.Before(w.lenient) {
		return min(eager, h.Interval.D())
	}
	return h.Interval.D()
}

// settle notes how a probe ended.
func (p *Prober) settle(w *watched, t Target, err error) {
	now := time.Now()
	p.mu.Lock()
	w.busy = false
	if !w.target.same(t) || p.watched[t.Instance] != w {
		p.mu.Unlock()
		return
	}
	before := w.health.State
	w.judge(err, now)
	after := w.health
	p.mu.Unlock()
	if after.State != before {
		p.cfg.Log.Info("health", "app", t.App, "instance", t.Instance, "state", string(after.State), "message", after.Message)
		signal(p.changes)
	}
}

// judge draws the conclusion from one probe.
func (w *watched) judge(err error, now time.Time) {
	h, probe := &w.health, w.target.Probe
	h.At = now
	if err != nil {
		h.Failures++
		w.successes = 0
		if h.State != schema.HealthUnhealthy { // then it is of the failure that made it so
			h.Message = clip(err.Error())
		}
		if h.State == schema.HealthStarting && now.Before(w.lenient) {
			return
		}
		if w.failures++; w.failures >= probe.Failures && h.State != schema.HealthUnhealthy {
			h.State, h.Since = schema.HealthUnhealthy, now
		}
		return
	}
	h.Failures, w.failures = 0, 0
	if w.successes++; w.successes >= probe.Successes && h.State != schema.HealthHealthy {
		h.State, h.Since = schema.HealthHealthy, now
	}
	if h.State == schema.HealthHealthy {
		h.Message = ""
	}
}

// clip bounds a message.
func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
