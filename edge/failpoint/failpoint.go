package failpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Env is the variable that programs arm from. It is in no manual.
const Env = "GNOMON_FAILPOINTS"

// ErrInjected is what a point that shall fail fails with.
var ErrInjected = errors.New("failure injected by a test")

// ErrSpec: what shall be armed is not understood.
var ErrSpec = errors.New("bad fail points")

// armed is nil unless a test wants something.
var armed atomic.Pointer[plan]

// Hit passes a point. It returns an error if it shall fail there, and doesn't
// return at all if the process shall die.
func Hit(p Point) error {
	a := armed.Load()
	if a == nil {
		return nil
	}
	return a.hit(p)
}

// HitStep passes the point before or after a step of the planner.
func HitStep(kind string, w When) error {
	a := armed.Load()
	if a == nil {
		return nil
	}
	return a.hit(OfStep(kind, w))
}

// Arm arms what spec says, instead of what was armed before; "" disarms. A spec
// is POINT=ACTION[@N], several parted by commas: on the N-th time the process
// passes the point only, otherwise every time. ACTION is kill (SIGKILL, to this
// process), error, or a duration to wait.
func Arm(spec string) error {
	if spec == "" {
		armed.Store(nil)
		return nil
	}
	p := &plan{spec: spec, counts: map[Point]int{}}
	for part := range strings.SplitSeq(spec, ",") {
		r, err := parse(part)
		if err != nil {
			return err
		}
		p.rules = append(p.rules, r)
	}
	armed.Store(p)
	return nil
}

// Environ hands what is armed on to a program started from this one; nil if
// nothing is.
func Environ() []string {
	a := armed.Load()
	if a == nil {
		return nil
	}
	return []string{Env + "=" + a.spec}
}

// plan is what is armed.
type plan struct {
	spec  string
	rules []rule

	mu     sync.Mutex
	counts map[Point]int
}

// rule is what happens at one point.
type rule struct {
	point Point
	nth   int // 0: every time
	act   func() error
}

func parse(part string) (rule, error) {
	name, action, ok := strings.Cut(part, "=")
	r := rule{point: Point(name)}
	if !ok || !known(r.point) {
		return r, fmt.Errorf("%w: %q: want POINT=ACTION[@N] with one of %v", ErrSpec, part, All())
	}
	action, nth, counted := strings.Cut(action, "@")
	if counted {
		n, err := strconv.Atoi(nth)
		if err != nil || n < 1 {
			return r, fmt.Errorf("%w: %q: what follows @ must be a number from 1", ErrSpec, part)
		}
		r.nth = n
	}
	switch action {
	case "kill":
		r.act = kill
	case "error":
		r.act = func() error { return fmt.Errorf("%w at %s", ErrInjected, name) }
	default:
		d, err := time.ParseDuration(action)
		if err != nil || d < 0 {
			return r, fmt.Errorf("%w: %q: the action must be kill, error or a duration", ErrSpec, part)
		}
		r.act = func() error { time.Sleep(d); return nil }
	}
	return r, nil
}

func (a *plan) hit(p Point) error {
	a.mu.Lock()
	a.counts[p]++
	n := a.counts[p]
	a.mu.Unlock()
	for _, r := range a.rules {
		if r.point == p && (r.nth == 0 || r.nth == n) {
			if err := r.act(); err != nil {
				return err
			}
		}
	}
	return nil
}

// kill ends the process as a power cut would: nothing is flushed, nobody is told.
func kill() error {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
