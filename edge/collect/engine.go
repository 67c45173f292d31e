package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"sync"
	"time"

	"gnomon/schema"
)

// ErrUnknown is what is said of a policy or a meter that there isn't.
var ErrUnknown = errors.New("no such policy or meter")

// Config is what an Engine stands on.
type Config struct {
	Drivers map[schema.SourceKind]Driver
	Store   Store            // where readings go; nil = only the latest are kept, in memory
	Now     func() time.Time // default time.Now
	Log     *slog.Logger
}

// Engine runs policies. Apply and Remove may be called at any time; nothing is
// polled until Run.
type Engine struct {
	cfg     Config
	changed chan struct{}

	mu       sync.Mutex
	policies map[string]*runner
	borrowed map[port]int    // by those who ask for one meter
	ctx      context.Context // of Run; nil before. Kept because runners start with Apply, not with Run.
	ended    bool            // Run has ended or is about to: nothing starts any more
	runners  sync.WaitGroup  // grows only until ended

	written written
}

// New returns an engine without policies.
func New(cfg Config) *Engine {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{cfg: cfg, changed: make(chan struct{}, 1), policies: make(map[string]*runner), borrowed: make(map[port]int)}
}

// Changed is signalled when some report is newer than at the last signal.
func (e *Engine) Changed() <-chan struct{} { return e.changed }

func (e *Engine) signal() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// Apply starts a policy or changes a running one: the slots after now are the new
// one's, and those before it are finished as they began. version comes back in
// reports. A policy that says the same as before goes on undisturbed. One that is
// refused leaves the former as it was: with ErrCrowded, others on its port are why.
func (e *Engine) Apply(name string, version uint64, p *schema.Policy) error {
	if err := e.serves(p); err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.policies[name]
	if old != nil && reflect.DeepEqual(old.policy, p) {
		old.setVersion(version)
		e.signal()
		return nil
	}
	if err := e.admit(name, p); err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	r := newRunner(e, name, version, p)
	r.from = e.cfg.Now()
	if old != nil {
		r.inherit(old)
		r.former = old
		old.retire(r.from)
	}
	e.policies[name] = r
	if old != nil {
		e.releaseUnused(old)
	}
	e.start(r)
	e.signal()
	return nil
}

// serves tells whether there is a driver for what a policy wants.
func (e *Engine) serves(p *schema.Policy) error {
	driver, ok := e.cfg.Drivers[p.Source.Kind]
	if !ok {
		return fmt.Errorf("no driver for %s", p.Source.Kind)
	}
	if _, ok := driver.(Historian); !ok && (p.Collect == schema.CollectFreeze || p.Backfill != nil) {
		return fmt.Errorf("the driver for %s reads no freezes", p.Source.Kind)
	}
	return nil
}

// Remove stops a policy. A cycle under way is broken off.
func (e *Engine) Remove(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.policies[name]
	if r == nil {
		return
	}
	delete(e.policies, name)
	for former := r; former != nil; former = former.former {
		former.stop()
	}
	e.releaseUnused(r)
}

// releaseUnused closes the port of a stopped policy once it has let go of it,
// unless another policy uses it by then. The engine must be locked.
func (e *Engine) releaseUnused(old *runner) {
	source := old.policy.Source
	if e.ended || e.uses(source) {
		return
	}
	e.runners.Go(func() {
		<-old.done
		e.mu.Lock()
		used := e.uses(source) || e.borrowed[portOf(source)] > 0
		e.mu.Unlock()
		if !used {
			old.releasePort(source)
		}
	})
}

// uses tells whether some policy polls through a source's port. The engine must
// be locked.
func (e *Engine) uses(s schema.Source) bool {
	for _, r := range e.policies {
		if r.policy.IsEnabled() && samePort(r.policy.Source, s) {
			return true
		}
	}
	return false
}

// Report returns the latest of a policy.
func (e *Engine) Report(name string) (Report, bool) {
	e.mu.Lock()
	r := e.policies[name]
	e.mu.Unlock()
	if r == nil {
		return Report{}, false
	}
	return r.snapshot(), true
}

// Run polls until ctx ends and every cycle has been broken off.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.ctx = ctx
	for _, r := range e.policies {
		r.from = e.cfg.Now()
		e.start(r)
	}
	e.mu.Unlock()
	<-ctx.Done()
	e.mu.Lock()
	e.ended = true
	running := maps.Clone(e.policies)
	e.mu.Unlock()
	for _, r := range running {
		r.stop()
	}
	e.runners.Wait()
	return nil
}

// start runs a policy, if the engine is running. The engine must be locked.
func (e *Engine) start(r *runner) {
	if e.ctx == nil || e.ended || r.started {
		return
	}
	r.started = true
	ctx, cancel := context.WithCancel(e.ctx)
	r.cancel = cancel
	former := r.former
	e.runners.Go(func() {
		defer close(r.done)
		defer cancel()
		if former != nil {
			<-former.done // two cycles of one policy never meet on the line
			r.inherit(former)
			e.mu.Lock()
			r.former = nil
			e.mu.Unlock()
		}
		r.run(ctx)
		e.mu.Lock()
		defer e.mu.Unlock()
		if r.limit != nil {
			r.limit.Stop()
		}
	})
}
