package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload/cgroup"
)

// Passage is the way into the cgroup of a workload that runs, for one at a time.
// The group is that of the very instance, whatever is started after it: nothing that
// is done by way of it can reach the next one.
type Passage struct {
	Group cgroup.Group

	job     Job
	lock    *os.File
	release func()
	widened bool
}

// ErrOver: there is no way to a workload that has ended.
var ErrOver = errors.New("the instance does not run any more")

// Pass waits until nobody else is on the way.
func (j Job) Pass(ctx context.Context) (*Passage, error) {
	lock, err := takeTurn(ctx, string(j.Dir))
	if err != nil {
		return nil, err
	}
	p := &Passage{job: j, lock: lock, release: func() {}}
	g, err := cgroup.At(j.Request.Cgroup)
	if err == nil {
		var release func()
		if p.Group, release, err = g.Hold(); err == nil {
			p.release = release
		}
	}
	// Looked at only now: while the instance runs the group of that path is its.
	rec, rerr := j.Dir.ReadRecord()
	if err = errors.Join(err, rerr); err == nil && (!j.Dir.Held() || !rec.Alive()) {
		err = ErrOver
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// takeTurn locks a directory, in which it makes nothing: it may be about to go.
func takeTurn(ctx context.Context, path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fd := int(f.Fd()) // not to be asked for beside Close
	done := make(chan error, 1)
	go func() {
		for {
			if err := unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
				done <- err
				return
			}
		}
	}()
	select {
	case err = <-done:
	case <-ctx.Done(): // the process is about to end, and the file with it
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// Widen adds what libcontainer needs to the limits, until Close: it prepares a
// program from inside the group, and neither shall it fail at limits that the
// application has used up, nor shall the application suffer.
func (p *Passage) Widen() error {
	l := p.job.Limits()
	if l.Pids == 0 && l.Memory == 0 {
		return nil
	}
	if l.Pids > 0 {
		l.Pids += setupPids
	}
	if l.Memory > 0 {
		l.Memory += setupMemory
	}
	p.widened = true
	return p.Group.Set(l)
}

// Bounds of how long it takes until what libcontainer used is given back.
const (
	givenBack  = 300 * time.Millisecond
	givingBack = 2 * time.Millisecond
)

// Close puts the limits in force again and lets the next one pass. An application
// that has grown beyond its own meanwhile may keep what the kernel can't take, at
// most what was added, until somebody passes again.
func (p *Passage) Close() error {
	var err error
	if p.widened {
		err = p.narrow()
	}
	p.release()
	return errors.Join(err, p.lock.Close())
}

func (p *Passage) narrow() error {
	l := p.job.Limits()
	for end := time.Now().Add(givenBack); ; time.Sleep(givingBack) {
		late := time.Now().After(end)
		if !late && l.Memory > 0 && p.Group.PureV2() && p.Group.Usage().Memory > l.Memory {
			continue // there the kernel would kill rather than refuse
		}
		if err := p.Group.Set(l); late || !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
}
