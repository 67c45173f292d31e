package loop

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"gnomon/edge/artifact"
	"gnomon/edge/collect"
	"gnomon/edge/health/probe"
	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

// Shadows is where desired state comes from and reports go to.
type Shadows interface {
	// Desired returns what is wanted of every shadow; complete tells that what
	// is not listed is not wanted.
	Desired() (all []state.Desired, complete bool)
	Changed() <-chan struct{}
	Report(shadowName string, reported *shadow.Value)
	// Gone forgets a deleted shadow of which nothing is left.
	Gone(shadowName string) error
}

// Workloads runs applications.
type Workloads interface {
	workload.Runner
	// Changes signals that List may give something else.
	Changes() <-chan struct{}
}

// Components makes what applications run from ready.
type Components interface {
	Resolve(ctx context.Context, reference string) (artifact.Component, error)
}

// Policies runs collection policies.
type Policies interface {
	Apply(name string, version uint64, p *schema.Policy) error
	Remove(name string)
	Report(name string) (collect.Report, bool)
	Changed() <-chan struct{}
}

// Probes tells how instances are.
type Probes interface {
	// Watch sets what is probed, from now on and instead of what was before.
	Watch([]probe.Target)
	// Health returns what is known, by instance.
	Health() map[string]reconcile.Health
	Changes() <-chan struct{}
}

// Memory keeps what must survive a restart.
type Memory interface {
	Put(records ...state.Record) error
	Delete(kind state.Kind, names ...string) error
	All(kind state.Kind) (map[string][]byte, error)
}

// Upgrade is who sees to the agent's own version.
type Upgrade interface {
	// Want tells which version the node is to have; nil: the one it has. It is
	// called at the end of every pass.
	Want(*schema.NodeAgent)
	// Report returns the version the node has, in the form of schema.NodeAgent,
	// and what has become of changing it; nil if that was never tried.
	Report() (agent, upgrade *shadow.Value)
	// Changed signals that Report may give something else.
	Changed() <-chan struct{}
}

// Node is what the agent says of itself.
type Node struct {
	Agent     string // version
	Arch, OS  string
	Boot      string // identifies this run of the node's kernel
	BootEpoch uint64 // counts the starts of the agent
	StartedAt time.Time
}

// Config is what a Loop stands on. All but the last seven are required.
type Config struct {
	Node       Node
	Shadows    Shadows
	Workloads  Workloads
	Components Components
	Probes     Probes
	Policies   Policies
	Memory     Memory

	Health   Health                    // default: nobody watches over what is used
	Upgrade  Upgrade                   // default: nobody sees to it
	Devices  func(*schema.NodeDevices) // is told which devices the node speaks for, at every pass; default: it speaks for none
	Disk     func() state.Health       // how the node's own disk is; default: nothing is wrong with it
	Room     func() reconcile.Room     // what the node has for second instances; default: enough
	Parallel int                       // fetches at a time, and starts; default 4
	Now      func() time.Time          // default time.Now
	Log      *slog.Logger              // default: discard
}

// recheck is how soon a pass is repeated without any hint: what was missed by
// all of them costs at most that long.
const recheck = time.Minute

// Loop brings the node to what is desired of it, for as long as Run runs.
type Loop struct {
	cfg      Config
	memory   map[string]reconcile.Memory
	saved    map[string]string      // records on disk, by the name of the shadow, without the steps of plans
	plans    map[string]schema.Plan // what was begun of what is desired, by the name of the shadow
	fetched  map[string]artifact.Component
	busy     map[string]*underway
	done     chan outcome
	slots    map[reconcile.StepKind]chan struct{} // of the kinds that are bounded in number
	asked    chan question
	policies map[string]*policy
	holds    reconcile.Holds   // of the last pass
	node     *schema.Node      // as it was desired last, where that was valid
	agent    *schema.NodeAgent // that was last asked for in a way that can be understood
	wake     time.Time
	orders   chan order
	restarts map[string]string // instances to be replaced, by application

	mu     sync.Mutex
	status Status
}

// New returns a loop that does nothing yet.
func New(cfg Config) *Loop {
	if cfg.Parallel <= 0 {
		cfg.Parallel = 4
	}
	if cfg.Disk == nil {
		cfg.Disk = func() state.Health { return state.Health{} }
	}
	if cfg.Room == nil {
		cfg.Room = func() reconcile.Room { return reconcile.Room{} }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Health == nil {
		cfg.Health = healthy{}
	}
	return &Loop{
		cfg:     cfg,
		node:    defaultNode(),
		memory:  map[string]reconcile.Memory{},
		saved:   map[string]string{},
		plans:   map[string]schema.Plan{},
		fetched: map[string]artifact.Component{},
		busy:    map[string]*underway{},
		done:    make(chan outcome),
		asked:   make(chan question),
		slots: map[reconcile.StepKind]chan struct{}{
			reconcile.Fetch: make(chan struct{}, cfg.Parallel), reconcile.Start: make(chan struct{}, cfg.Parallel),
		},
		policies: map[string]*policy{},
		orders:   make(chan order),
		restarts: map[string]string{},
		status:   Status{Applications: []Application{}, Policies: []Policy{}},
	}
}

// Run reconciles until ctx ends and the steps under way are over. Workloads go on.
func (l *Loop) Run(ctx context.Context) error {
	if err := l.load(); err != nil {
		return err
	}
	defer l.finish()
	var upgraded <-chan struct{} // never, without an Upgrade
	if l.cfg.Upgrade != nil {
		upgraded = l.cfg.Upgrade.Changed()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for full := true; ; {
		if full {
			l.pass(ctx)
		} else {
			l.reportPolicies()
		}
		timer.Reset(l.wake.Sub(l.cfg.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-l.cfg.Shadows.Changed():
			full = true
		case <-l.cfg.Workloads.Changes():
			full = true
		case <-l.cfg.Health.Changed():
			full = true
		case <-l.cfg.Probes.Changes():
			full = true
		case <-timer.C:
			full = true
		case <-upgraded:
			full = true
		case o := <-l.done:
			l.account(o)
			l.accountAll()
			full = true
		case q := <-l.asked:
			q.answer <- l.rehearse(ctx, q.changes)
			full = false
		case o := <-l.orders:
			o.do()
			close(o.done)
			full = true
		case <-l.cfg.Policies.Changed():
			full = false
		}
	}
}

// pass looks at everything, begins the steps that are due, and reports.
func (l *Loop) pass(ctx context.Context) {
	now := l.cfg.Now()
	l.wake = now.Add(recheck)
	desired, complete := l.cfg.Shadows.Desired()
	observed, err := l.cfg.Workloads.List(ctx)
	if err != nil {
		// Without knowing what runs, nothing may be decided about it.
		l.cfg.Log.Error("workloads cannot be listed", "error", err)
		l.wakeAt(now.Add(5 * time.Second))
		return
	}
	apps, gone := reconcile.Prepare(desired, l.memory)
	l.cfg.Probes.Watch(targets(apps, observed))
	l.holds = l.look(desired, complete, apps, observed)
	in := l.input(now, complete, observed)
	in.Apps, in.Gone = apps, gone
	apps, plan := reconcile.Decide(desired, in)
	l.memory = plan.Memory
	if !plan.Wake.IsZero() {
		l.wakeAt(plan.Wake)
	}
	for _, name := range plan.Cancel {
		l.busy[name].cancel()
	}
	byName := make(map[string]*reconcile.App, len(apps))
	for i := range apps {
		byName[apps[i].Name] = &apps[i]
	}
	l.planned(desired, now)
	if slices.ContainsFunc(plan.Steps, func(s reconcile.Step) bool { return s.Kind == reconcile.Stop || s.Kind == reconcile.Withdraw }) {
		l.save() // why it is stopped must be known when its end is found
	}
	for _, s := range plan.Steps {
		l.begin(ctx, s, byName[s.App])
	}
	l.restarted(observed)
	l.forgetComponents(apps)
	l.applyPolicies(desired, complete)
	l.save()
	for _, name := range plan.Gone {
		delete(gone, name)
	}
	l.report(desired, apps, plan.Views, gone)
	for _, name := range plan.Gone {
		l.gone(schema.AppPrefix + name)
	}
}

// input is what is planned from, without what is desired.
func (l *Loop) input(now time.Time, complete bool, observed []workload.Status) reconcile.Input {
	return reconcile.Input{
		Now: now, Boot: l.cfg.Node.Boot, Complete: complete, Observed: observed,
		Memory: l.memory, Fetched: l.ready(), Busy: l.steps(), Holds: l.holds, Health: l.cfg.Probes.Health(), Restart: l.restarts,
		Room: l.cfg.Room(),
	}
}

func (l *Loop) wakeAt(t time.Time) {
	if t.Before(l.wake) {
		l.wake = t
	}
}

// gone lets go of a deleted shadow.
func (l *Loop) gone(shadowName string) {
	if err := l.cfg.Shadows.Gone(shadowName); err != nil {
		l.cfg.Log.Error("deleted shadow cannot be forgotten", "shadow", shadowName, "error", err)
	}
}

// finish waits for the steps under way. A start is waited for, so that its
// outcome is known; what else is broken off the next agent takes up again. What
// hangs isn't waited for.
func (l *Loop) finish() {
	late := time.NewTimer(finishPatience)
	defer late.Stop()
	for len(l.busy) > 0 {
		select {
		case o := <-l.done:
			l.account(o)
			continue
		case <-late.C:
			l.cfg.Log.Error("steps under way are left to themselves", "steps", len(l.busy))
		}
		break
	}
	l.save()
}
