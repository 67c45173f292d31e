package loop

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gnomon/edge/artifact"
	"gnomon/edge/failpoint"
	"gnomon/edge/reconcile"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// underway is a step that has begun.
type underway struct {
	step      reconcile.Step
	component string             // that it makes ready or runs from
	cancel    context.CancelFunc // breaks it off
	overdue   atomic.Bool        // it was broken off for taking too long
}

// outcome is how a step ended.
type outcome struct {
	step      reconcile.Step
	component artifact.Component // Fetch
	status    workload.Status    // Start
	err       error
}

// begin carries out a step. a is the application as it is wanted; nil when it
// only has to go.
func (l *Loop) begin(ctx context.Context, s reconcile.Step, a *reconcile.App) {
	var spec workload.Spec
	component := s.Component
	if s.Kind == reconcile.Start || s.Kind == reconcile.Reload {
		component = a.Want.Component
		spec = specOf(a, l.fetched[component], s.TargetInstance)
		spec.Former = s.Former
		ctx = context.WithoutCancel(ctx) // it is short, and half of one is worth nothing
	}
	stepCtx, cancel := context.WithCancelCause(ctx)
	u := &underway{step: s, component: component, cancel: func() { cancel(nil) }}
	l.busy[s.App] = u
	l.begun(schema.AppPrefix+s.App, string(s.Kind), l.memory[s.App].Applied.Version)
	l.cfg.Log.Info("step", "kind", string(s.Kind), "app", s.App, "reason", s.Reason, "trace", l.plans[schema.AppPrefix+s.App].Trace)
	go func() {
		defer cancel(nil)
		o := outcome{step: s}
		done := make(chan struct{})
		release, err := l.enter(stepCtx, s.Kind)
		if err != nil {
			o.err = err
			l.done <- o
			return
		}
		go l.oversee(overseen{u, cancel, release, done})
		if o.err = failpoint.HitStep(string(s.Kind), failpoint.Before); o.err == nil {
			l.carryOut(stepCtx, &o, spec)
		}
		if err := failpoint.HitStep(string(s.Kind), failpoint.After); err != nil {
			o.err = err
		}
		close(done)
		if cause := context.Cause(stepCtx); o.err != nil && errors.Is(cause, errOverdue) {
			o.err = fmt.Errorf("%w: %w", cause, o.err)
		}
		l.done <- o
	}()
}

func (l *Loop) carryOut(ctx context.Context, o *outcome, spec workload.Spec) {
	switch s := o.step; s.Kind {
	case reconcile.Fetch:
		o.component, o.err = l.cfg.Components.Resolve(ctx, s.Component)
	case reconcile.Start:
		o.status, o.err = l.cfg.Workloads.Start(ctx, spec)
	case reconcile.Reload:
		if r, ok := l.cfg.Workloads.(workload.Reloader); ok {
			_, o.err = r.Reload(ctx, spec)
		} else {
			o.err = fmt.Errorf("%w: reload", workload.ErrUnsupported)
		}
	case reconcile.Stop:
		_, o.err = l.cfg.Workloads.Stop(ctx, s.App, s.Grace)
		if errors.Is(o.err, workload.ErrNotFound) {
			o.err = nil
		}
	case reconcile.Retire, reconcile.Withdraw:
		if h, ok := l.cfg.Workloads.(workload.HandOver); ok {
			o.err = h.Dismiss(ctx, s.App, s.Instance, s.Grace)
		} else {
			o.err = fmt.Errorf("%w: %s", workload.ErrUnsupported, s.Kind)
		}
	case reconcile.Remove:
		o.err = l.cfg.Workloads.Remove(ctx, s.App)
	}
}

// accountAll accounts for what else has ended already: steps that end together,
// as after a start of the node, cost one pass.
func (l *Loop) accountAll() {
	for {
		select {
		case o := <-l.done:
			l.account(o)
		default:
			return
		}
	}
}

// account draws the consequences of a step's outcome.
func (l *Loop) account(o outcome) {
	s := o.step
	component := l.busy[s.App].component
	delete(l.busy, s.App)
	m := l.memory[s.App]
	switch {
	case errors.Is(o.err, context.Canceled) && !errors.Is(o.err, errOverdue): // nobody wants it any more, or the agent ends
	case o.err != nil:
		l.cfg.Log.Warn("step failed", "kind", string(s.Kind), "app", s.App, "error", o.err)
		if s.Kind == reconcile.Start && !errors.Is(o.err, workload.ErrPortTaken) && !errors.Is(o.err, workload.ErrNoRange) {
			delete(l.fetched, component) // perhaps it is what is missing
		}
		l.memory[s.App] = m.FailedStep(s, faultOf(s.Kind, o.err), o.status.Instance, l.cfg.Now())
	case s.Kind == reconcile.Fetch:
		l.fetched[component] = o.component
	case s.Kind == reconcile.Start:
		l.cfg.Log.Info("running", "app", s.App, "pid", o.status.PID, "instance", o.status.Instance)
		l.memory[s.App] = m.Started(o.status, s.Hash, l.cfg.Node.Boot)
	}
}

// faultOf maps the errors of a step to the codes of reports: the one place
// where that is done.
func faultOf(kind reconcile.StepKind, err error) reconcile.Fault {
	f := reconcile.Fault{Code: string(kind) + "-failed", Message: clip(err.Error()), Retryable: true}
	if errors.Is(err, errOverdue) || errors.Is(err, context.DeadlineExceeded) {
		f.Code = string(kind) + reconcile.CodeTimeout
		return f
	}
	for _, known := range []struct {
		err   error
		code  string
		final bool
	}{
		{workload.ErrUnsupported, "unsupported", true},
		{workload.ErrInvalid, "invalid", true},
		{workload.ErrTarget, "target-not-running", false},
		{workload.ErrPortTaken, "port-taken", false},
		{workload.ErrNoRange, "subids-exhausted", false},
		{workload.ErrRunning, "already-running", false},
		{workload.ErrBeside, "cannot-run-beside", false},
		// The node's own state, which passes.
		{artifact.ErrDiskFull, "disk-full", false},
		{unix.ENOSPC, "disk-full", false},
		{unix.EDQUOT, "disk-full", false},
		{artifact.ErrDiskReadOnly, "disk-read-only", false},
		{unix.EROFS, "disk-read-only", false},
		{unix.EAGAIN, "processes-exhausted", false}, // of a fork
		{artifact.ErrReference, "component-reference", true},
		// A component can be put right where it lies, without a change of desired.
		{artifact.ErrComponentNotFound, "component-not-found", false},
		{artifact.ErrDigestMismatch, "digest-mismatch", false},
		{artifact.ErrUnsafePath, "component-unsafe", false},
		{artifact.ErrTooLarge, "component-too-large", false},
		{artifact.ErrFormat, "component-unusable", false},
	} {
		if errors.Is(err, known.err) && (kind == reconcile.Fetch || kind == reconcile.Start) {
			f.Code, f.Retryable = known.code, !known.final
			break
		}
	}
	return f
}

// ready are the components that can be run from at once.
func (l *Loop) ready() map[string]bool {
	out := make(map[string]bool, len(l.fetched))
	for reference := range l.fetched {
		out[reference] = true
	}
	return out
}

func (l *Loop) steps() map[string]reconcile.Step {
	out := make(map[string]reconcile.Step, len(l.busy))
	now := l.cfg.Now()
	for name, u := range l.busy {
		s := u.step
		if p, can := l.cfg.Components.(Progress); can && s.Kind == reconcile.Fetch {
			s.Done, s.Total, _ = p.Progress(u.component)
			l.wakeAt(now.Add(reportProgress))
		}
		s.Overdue = u.overdue.Load()
		out[name] = s
	}
	return out
}

// forgetComponents drops what no application shall run from now, so that it is
// looked up anew when one does.
func (l *Loop) forgetComponents(apps []reconcile.App) {
	near := make(map[string]bool, len(apps))
	for i := range apps {
		if a := &apps[i]; a.Want != nil && a.Want.State == schema.StateRunning {
			near[a.Want.Component] = true
			if a.Good != nil {
				near[a.Good.Component] = true
			}
		}
	}
	for reference := range l.fetched {
		if !near[reference] {
			delete(l.fetched, reference)
		}
	}
}
