package collect

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"gnomon/schema"
)

// ErrFault is what is said of what a driver panicked over.
var ErrFault = errors.New("the driver failed")

// Fault is a panic of a driver: of what a meter says that nobody thought of, and that
// ends what was being done, and not the agent.
type Fault struct {
	Cause any
	Stack []byte // maxStack at most
}

// Limits of what is told of a fault.
const (
	maxCause   = 256
	maxStack   = 8 << 10
	faultEvery = 10 * time.Minute // a policy's are logged no more often
)

func (f *Fault) Error() string {
	cause := fmt.Sprint(f.Cause)
	return ErrFault.Error() + ": " + cause[:min(len(cause), maxCause)]
}

// Unwrap makes it an ErrFault; what it panicked with is no reason that polls have.
func (f *Fault) Unwrap() error { return ErrFault }

// Contain calls, and makes a panic the error that it returns, a *Fault. Drivers do
// so where they have goroutines of their own that take in what others say.
func Contain(call func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			stack := debug.Stack()
			err = &Fault{Cause: cause, Stack: stack[:min(len(stack), maxStack)]}
		}
	}()
	return call()
}

// contain calls a driver for a policy, whose fault it is if that panics: counted,
// logged, and an error like others.
func (r *runner) contain(call func() error) error {
	err := Contain(call)
	var fault *Fault
	if !errors.As(err, &fault) {
		return err
	}
	r.mu.Lock()
	r.report.Faults++
	all := r.report.Faults
	due := r.faulted.IsZero() || time.Since(r.faulted) >= faultEvery
	if due {
		r.faulted = time.Now()
	}
	r.mu.Unlock()
	if due {
		r.engine.cfg.Log.Error("the driver failed", "policy", r.name, "faults", all, "error", err, "stack", string(fault.Stack))
	}
	return err
}

// askDriver is Driver.Poll for the policy.
func (r *runner) askDriver(ctx context.Context, request Request) (out Result, err error) {
	err = r.contain(func() (err error) {
		out, err = r.engine.cfg.Drivers[request.Source.Kind].Poll(ctx, request)
		return err
	})
	if out.Values == nil {
		out.Values = nothing(request, err)
	}
	return out, err
}

// recallFrom is Historian.Recall for the policy.
func (r *runner) recallFrom(ctx context.Context, recall Recall) (out Recalled, err error) {
	err = r.contain(func() (err error) {
		out, err = r.engine.cfg.Drivers[recall.Source.Kind].(Historian).Recall(ctx, recall)
		return err
	})
	if errors.Is(err, ErrFault) && len(out.Rows) == 0 {
		for range recall.Times {
			out.Rows = append(out.Rows, nothing(recall.Request, err))
		}
	}
	return out, err
}

// nothing are the values of a request that came to none.
func nothing(request Request, err error) map[string]Value {
	values := make(map[string]Value, len(request.Items))
	NoValues(values, request.Items, err, time.Now())
	return values
}

// beginCycle is Cycler.Begin for the policy.
func (r *runner) beginCycle(ctx context.Context, cycler Cycler, c Round) (done func(), err error) {
	var end func()
	err = r.contain(func() (err error) {
		end, err = cycler.Begin(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = r.contain(func() error { end(); return nil }) }, nil // counted and logged; the cycle is over anyway
}

// releasePort is Driver.Release for the policy.
func (r *runner) releasePort(s schema.Source) {
	_ = r.contain(func() error { r.engine.cfg.Drivers[s.Kind].Release(s); return nil }) // counted and logged; nobody waits for it
}
