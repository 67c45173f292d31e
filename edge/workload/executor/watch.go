package executor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Run clears leaks away and watches the shims, so that Changes signals, until ctx
// ends. Without it everything works but the signal.
func (e *Executor) Run(ctx context.Context) error {
	if err := e.wake.open(); err != nil {
		return err
	}
	defer e.wake.close()
	stop := context.AfterFunc(ctx, e.wake.signal)
	defer stop()
	if _, err := e.Sweep(ctx); err != nil && ctx.Err() == nil {
		e.cfg.Log.Error("what is left over cannot be cleared away", "error", err)
	}
	watched := map[string]shim{} // by instance directory
	ended := map[string]bool{}   // instances whose end has been signalled
	defer func() {
		for _, s := range watched {
			_ = unix.Close(s.pidfd)
		}
	}()
	for ctx.Err() == nil {
		e.adopt(watched, ended)
		gone, err := e.poll(watched)
		if err != nil {
			return err
		}
		for _, dir := range gone {
			_ = unix.Close(watched[dir].pidfd)
			reap(watched[dir].pid)
			delete(watched, dir)
			ended[dir] = true
			if err := e.tidy(ctx, filepath.Base(filepath.Dir(dir))); err != nil && ctx.Err() == nil {
				e.cfg.Log.Error("a former instance cannot be cleared away", "dir", dir, "error", err)
			}
		}
		if len(gone) > 0 {
			e.changed()
		}
	}
	return nil
}

type shim struct{ pidfd, pid int }

// adopt begins to watch the shims it finds. One that died before it could be
// watched is a change as well.
func (e *Executor) adopt(watched map[string]shim, ended map[string]bool) {
	for dir := range ended {
		if _, err := os.Lstat(dir); err != nil {
			delete(ended, dir)
		}
	}
	names, err := os.ReadDir(filepath.Join(e.cfg.Data, "run"))
	if err != nil {
		e.cfg.Log.Error("run directory is unreadable", "error", err)
		return
	}
	for _, n := range names {
		for _, f := range e.instances(n.Name()) {
			if _, ok := watched[string(f.dir)]; ok || ended[string(f.dir)] {
				continue
			}
			if pidfd, pid, ok := f.dir.Shim(); ok {
				watched[string(f.dir)] = shim{pidfd, pid}
			} else if !f.dir.Held() {
				ended[string(f.dir)] = true
				e.changed()
			}
		}
	}
}

// poll waits until a shim ends or there may be another to watch.
func (e *Executor) poll(watched map[string]shim) (gone []string, err error) {
	fds := []unix.PollFd{{Fd: int32(e.wake.fd()), Events: unix.POLLIN}}
	dirs := []string{""}
	for dir, s := range watched {
		fds = append(fds, unix.PollFd{Fd: int32(s.pidfd), Events: unix.POLLIN})
		dirs = append(dirs, dir)
	}
	if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
		return nil, err
	}
	for i, fd := range fds {
		switch {
		case fd.Revents == 0:
		case i == 0:
			e.wake.drain()
		default:
			gone = append(gone, dirs[i])
		}
	}
	return gone, nil
}

func (e *Executor) changed() {
	select {
	case e.changes <- struct{}{}:
	default:
	}
}

// wakeup interrupts a poll. It may be signalled at any time, also when nobody
// polls, and remembers one signal.
type wakeup struct {
	state *wakeupState
}

type wakeupState struct {
	mu      sync.Mutex
	event   int // eventfd; -1 when closed
	pending bool
}

func newWakeup() wakeup { return wakeup{&wakeupState{event: -1}} }

func (w wakeup) open() error {
	w.state.mu.Lock()
	defer w.state.mu.Unlock()
	if w.state.event >= 0 {
		return errors.New("the executor is running already")
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	w.state.event = fd
	if err != nil {
		w.state.event = -1
	} else if w.state.pending {
		_, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	w.state.pending = false
	return err
}

func (w wakeup) close() {
	w.state.mu.Lock()
	defer w.state.mu.Unlock()
	_ = unix.Close(w.state.event)
	w.state.event = -1
}

func (w wakeup) fd() int { return w.state.event }

func (w wakeup) signal() {
	w.state.mu.Lock()
	defer w.state.mu.Unlock()
	if w.state.event < 0 {
		w.state.pending = true
		return
	}
	// An eventfd counts in the byte order of the machine; any value but 0 wakes.
	_, _ = unix.Write(w.state.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (w wakeup) drain() {
	var b [8]byte
	_, _ = unix.Read(w.state.event, b[:])
}
