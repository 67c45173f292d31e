package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gnomon/edge/reconcile"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// Documented failures of what is asked of a loop; test with errors.Is.
var (
	ErrUnknown = errors.New("no such application")
	ErrStopped = errors.New("the application is not to run")
)

// order is something to be done by the goroutine that runs the loop, between two
// passes.
type order struct {
	do   func()
	done chan struct{}
}

func (l *Loop) order(ctx context.Context, do func()) error {
	o := order{do, make(chan struct{})}
	select {
	case l.orders <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Restart replaces the instance of an application by another just like it, and
// what is attached to it. One that has failed, or waits for its next try, is
// started at once. It returns when that has begun, and needs Run.
func (l *Loop) Restart(ctx context.Context, app string) error {
	var refused error
	err := l.order(ctx, func() {
		observed, err := l.cfg.Workloads.List(ctx)
		if err != nil {
			refused = err
			return
		}
		desired, _ := l.cfg.Shadows.Desired()
		apps, _ := reconcile.Prepare(desired, l.memory)
		i := slices.IndexFunc(apps, func(a reconcile.App) bool { return a.Name == app })
		switch {
		case i < 0:
			refused = fmt.Errorf("%w: %s", ErrUnknown, app)
		case apps[i].Want != nil && apps[i].Want.State == schema.StateStopped:
			refused = fmt.Errorf("%w: %s", ErrStopped, app)
		default:
			l.restarts[app] = instanceOf(observed, app)
			l.cfg.Log.Info("restart asked for", "app", app)
		}
	})
	return errors.Join(err, refused)
}

func instanceOf(observed []workload.Status, app string) string {
	for _, st := range observed {
		if st.Name == app {
			return st.Instance
		}
	}
	return ""
}

// restarted forgets the restarts whose instance has ended: a plan was made of that.
func (l *Loop) restarted(observed []workload.Status) {
	for app, instance := range l.restarts {
		i := slices.IndexFunc(observed, func(st workload.Status) bool { return st.Name == app })
		if i < 0 || observed[i].Instance != instance || !observed[i].State.Live() {
			delete(l.restarts, app)
		}
	}
}
