package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
)

// margin is how long a shim may take beyond the grace: it kills, reaps and writes.
const margin = 10 * time.Second

// Stop implements workload.Runner.
func (e *Executor) Stop(ctx context.Context, name string, grace time.Duration) (workload.Status, error) {
	if err := valid(name); err != nil {
		return workload.Status{}, err
	}
	defer e.lock(name)()
	f, ok := e.find(name)
	if !ok {
		return workload.Status{}, fmt.Errorf("%w: %s", workload.ErrNotFound, name)
	}
	if f.live { // once it isn't either, the one that it took over from could be taken for it
		if err := e.dropFormers(ctx, f); err != nil {
			e.cfg.Log.Error("a former instance cannot be cleared away", "app", name, "error", err)
		}
	}
	err := e.stopBoth(ctx, f, grace)
	if err != nil {
		err = fmt.Errorf("stop %s: %w", name, err)
	} else if left, ok := e.find(name); ok {
		f = left
	}
	return e.status(f), err
}

// stopBoth stops an instance and the one beside it, side by side, and deletes the
// latter: how that ended says nothing then. Where that has taken over already, it is
// the former one that goes.
func (e *Executor) stopBoth(ctx context.Context, f found, grace time.Duration) error {
	if f.next == nil {
		return e.stop(ctx, f, grace)
	}
	other := make(chan error, 1)
	go func() { other <- e.stop(ctx, *f.next, grace) }()
	err := e.stop(ctx, f, grace)
	if err = errors.Join(err, <-other); err != nil {
		return err
	}
	if tookOver(*f.next, f) {
		return e.drop(ctx, f, *f.next)
	}
	return e.drop(ctx, *f.next, f)
}

func (e *Executor) stop(ctx context.Context, f found, grace time.Duration) error {
	if err := f.foreign(); err != nil {
		return err
	}
	if pidfd, pid, ok := f.dir.Shim(); ok {
		defer func() { _ = unix.Close(pidfd) }()
		signal := instance.StopSignal
		s, _ := f.dir.ReadStop()
		s.Grace = max(0, grace)
		if err := f.dir.WriteStop(s); err != nil {
			if !unwritable(err) {
				return err
			}
			// It must be possible to stop what has filled the disk: the shim knows
			// this one, too, with the grace of the Spec.
			signal = unix.SIGTERM
			e.cfg.Log.Warn("the grace of a stop cannot be written", "app", f.req.Spec.Name, "error", err)
			if grace <= 0 {
				return e.end(ctx, f)
			}
		}
		if err := unix.PidfdSendSignal(pidfd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		gone, err := await(ctx, pidfd, max(0, grace)+margin)
		if err != nil {
			return err
		}
		if gone {
			reap(pid)
		}
	}
	return e.end(ctx, f)
}

// unwritable tells that nothing can be written to the disk now.
func unwritable(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// end makes sure that nothing of an instance is alive, its shim included. For an
// instance that ended well there is nothing to do.
func (e *Executor) end(ctx context.Context, f found) error {
	if pidfd, pid, ok := f.dir.Shim(); ok {
		var gone bool
		var err error
		if rec, rerr := f.dir.ReadRecord(); rerr == nil && !rec.Status.State.Live() {
			// It has written how the workload ended and is clearing up.
			gone, err = await(ctx, pidfd, margin)
		}
		if !gone && err == nil {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			_, err = await(ctx, pidfd, margin)
		}
		_ = unix.Close(pidfd)
		if err != nil {
			return err
		}
		reap(pid)
	}
	g, err := e.group(f)
	if err != nil {
		return err
	}
	// In no group of ours yet: a shim killed while it set up.
	ctx, cancel := context.WithTimeout(ctx, margin)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		return err
	}
	if err := awaitFree(ctx, f.dir); err != nil {
		return err
	}
	if err := e.release(ctx, f); err != nil {
		return err
	}
	return g.Remove()
}

// release takes the network of an instance back whose shim had no time to.
func (e *Executor) release(ctx context.Context, f found) error {
	if f.req.Bridge == nil {
		return nil
	}
	if _, err := os.Lstat(f.dir.Network()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	out, err := exec.CommandContext(ctx, e.cfg.Shim, "release", string(f.dir)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("release the network: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// awaitFree waits until the last copy of the lock is closed.
func awaitFree(ctx context.Context, dir instance.Dir) error {
	for dir.Held() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock of %s is still held: %w", dir, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// clean ends and deletes every instance of a name.
func (e *Executor) clean(ctx context.Context, name string) error {
	entries, err := os.ReadDir(e.run(name))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, d := range entries {
		dir := instance.Dir(filepath.Join(e.run(name), d.Name()))
		if req, err := dir.ReadRequest(); err == nil {
			if err := e.end(ctx, found{dir: dir, req: req}); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(string(dir)); err != nil {
			return err
		}
	}
	// A container that was attached to leaves no child of its cgroup behind, and
	// of what another version laid out differently nothing may live on.
	g, err := cgroup.At(filepath.Join(e.cfg.Cgroup, name))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, margin)
	defer cancel()
	return errors.Join(g.Kill(ctx), g.Remove())
}

// Remove implements workload.Runner.
func (e *Executor) Remove(ctx context.Context, name string) error {
	if err := valid(name); err != nil {
		return err
	}
	defer e.lock(name)()
	if f, ok := e.find(name); ok {
		grace := f.req.Spec.StopGrace
		if grace == 0 {
			grace = workload.DefaultStopGrace
		}
		if err := e.stopBoth(ctx, f, grace); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	// The run directory goes last: while it is there, List knows the name and
	// the planner tries again.
	for _, step := range []func() error{
		func() error { return os.RemoveAll(e.app(name)) },
		func() error { return e.clean(ctx, name) },
		func() error { _, err := e.dropRange(name); return err },
		func() error { return os.RemoveAll(e.run(name)) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// await waits for the end of the process behind a pidfd.
func await(ctx context.Context, pidfd int, patience time.Duration) (gone bool, err error) {
	deadline := time.Now().Add(patience)
	for {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 20)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return false, err
		case n > 0:
			return true, nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case time.Now().After(deadline):
			return false, nil
		}
	}
}
