package executor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// Start implements workload.Runner.
func (e *Executor) Start(ctx context.Context, spec workload.Spec) (workload.Status, error) {
	if err := workload.Check(spec); err != nil {
		return workload.Status{}, err
	}
	defer e.lock(spec.Name)()
	former, ok := e.find(spec.Name)
	if f := former; ok {
		st := e.status(f)
		if err := f.foreign(); err != nil {
			return st, err
		}
		if st.State.Live() && (spec.Former == "" || spec.Former != st.Instance) {
			return st, fmt.Errorf("%w: %s", workload.ErrRunning, spec.Name)
		}
		if err := e.judge(f, st); err != nil {
			return workload.Status{}, fmt.Errorf("note the version of the former instance of %s: %w", spec.Name, err)
		}
		if st.State.Live() {
			return e.startBeside(ctx, f, spec)
		}
		if err := errors.Join(e.dropNext(ctx, f), e.dropFormers(ctx, f)); err != nil {
			return workload.Status{}, fmt.Errorf("clean up what was beside %s of %s: %w", f.req.Instance, spec.Name, err)
		}
	}
	spec.Former = ""
	if err := e.clean(ctx, spec.Name); err != nil {
		return workload.Status{}, fmt.Errorf("clean up after the former instance of %s: %w", spec.Name, err)
	}
	f, err := e.begin(ctx, spec, former)
	if err != nil {
		if f.req.Root != "" {
			err = errors.Join(err, e.versions(spec.Name).giveBack())
		}
		if f.dir == "" {
			return workload.Status{}, err
		}
		return e.status(f), err
	}
	return e.started(f), nil
}

// startBeside starts an instance beside the one that runs. If it can't, there is
// nothing left of it.
func (e *Executor) startBeside(ctx context.Context, former found, spec workload.Spec) (workload.Status, error) {
	if err := e.makeRoom(ctx, former, spec); err != nil {
		return workload.Status{}, fmt.Errorf("start %s beside %s: %w", spec.Name, former.req.Instance, err)
	}
	f, err := e.begin(ctx, spec, former)
	if err == nil {
		return e.started(f), nil
	}
	if f.dir == "" { // it came no further than its version
		if former.req.Root != "" {
			err = errors.Join(err, e.versions(spec.Name).point(current, filepath.Base(former.req.Root)))
		}
		return workload.Status{}, err
	}
	st := e.alone(f)
	return st, errors.Join(err, e.drop(context.WithoutCancel(ctx), f, former))
}

// started tells of an instance that runs.
func (e *Executor) started(f found) workload.Status {
	e.wake.signal()
	rec, err := f.dir.ReadRecord()
	if err != nil {
		return e.alone(f)
	}
	return rec.Status
}

// begin makes an instance and waits until it runs. With an error it returns the
// instance if it got as far as that. former is the one before it, which runs if the
// Spec names it.
func (e *Executor) begin(ctx context.Context, spec workload.Spec, former found) (found, error) {
	f, lock, err := e.prepare(spec, former)
	if err != nil {
		return f, fmt.Errorf("prepare %s: %w", spec.Name, err)
	}
	err = e.launch(ctx, f, lock)
	rec, rerr := f.dir.ReadRecord()
	if err == nil && (rerr != nil || rec.Status.State == workload.Failed) {
		err = failure(e.alone(f), rec)
	}
	if err != nil {
		err = fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return f, err
}

// failure turns what a shim recorded into an error again.
func failure(st workload.Status, rec instance.Record) error {
	if cause := rec.Cause.Err(); cause != nil {
		return again{cause, st.Error}
	}
	if rec.Final { // by a shim that named no causes
		return fmt.Errorf("%w: %s", workload.ErrInvalid, st.Error)
	}
	return errors.New(st.Error)
}

// again is an error that happened in a shim: its text names the cause already.
type again struct {
	cause error
	text  string
}

func (a again) Error() string { return a.text }
func (a again) Unwrap() error { return a.cause }

// prepare lays an instance out on disk. It takes the lock before anyone can see
// the instance: what is not locked counts as dead. With an error nothing of it is
// there but, with Root in its Request, its version, which is the current one then.
func (e *Executor) prepare(spec workload.Spec, former found) (found, *os.File, error) {
	var id [6]byte
	_, _ = rand.Read(id[:])
	req := instance.Request{
		Instance: hex.EncodeToString(id[:]), Spec: spec,
		Cgroup: e.cgroupOf(spec), Shims: e.shims,
		Data:    e.DataPath(spec.Name),
		LogFile: e.LogPath(spec.Name), LogBytes: e.cfg.LogBytes, LogFiles: e.cfg.LogFiles,
	}
	if spec.Former != "" {
		req.Cgroup += besideMark + req.Instance
		req.FormerPorts = []schema.Port{} // none is said, too
		if former.req.Bridge == nil {
			req.FormerPorts = append(req.FormerPorts, former.req.Spec.Ports...)
		}
	}
	// The name comes first: what is made for it List must know of.
	if err := os.MkdirAll(e.run(spec.Name), 0o711); err != nil {
		return found{}, nil, err
	}
	if spec.Log.Size > 0 {
		req.LogBytes = int64(spec.Log.Size)
	}
	if spec.Log.Files > 0 {
		req.LogFiles = spec.Log.Files
	}
	dir := instance.Dir(filepath.Join(e.run(spec.Name), req.Instance))
	req.Files = filepath.Join(string(dir), "files")
	var layer string
	var err error
	switch spec.Mode {
	case schema.ModeHost:
		err = e.host(&req, former)
	case schema.ModeContainer:
		layer, err = e.container(&req, former)
	case schema.ModeAttach:
		err = e.target(&req)
	}
	var lock *os.File
	if err == nil {
		lock, err = put(dir, req)
	}
	if err != nil && layer != "" {
		err = errors.Join(err, os.RemoveAll(layer))
	}
	if err != nil {
		return found{req: req}, nil, err
	}
	return found{dir: dir, req: req}, lock, nil
}

// put writes an instance down, and returns its lock.
func put(dir instance.Dir, req instance.Request) (lock *os.File, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(string(dir)))
		}
	}()
	if err := os.MkdirAll(string(dir), 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(string(dir), 0o711); err != nil { // a user inside must reach its root
		return nil, err
	}
	if lock, err = dir.Acquire(); err != nil {
		return nil, err
	}
	if err := dir.PutRequest(req); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// container makes what a container has to itself. The layer is the one it has made,
// if any, also with an error.
func (e *Executor) container(req *instance.Request, former found) (layer string, err error) {
	s := req.Spec
	if layer, err = e.layer(req, former); err != nil {
		return layer, err
	}
	req.Volumes, req.Kept = filepath.Join(e.app(s.Name), "volumes"), filepath.Join(e.cfg.Data, "volumes", s.Name)
	if s.Network == schema.NetworkBridge {
		req.Bridge = &e.cfg.Bridge
	}
	if s.UserNamespace == schema.UserNamespaceAuto {
		r, err := e.giveRange(s.Name)
		if err != nil {
			return layer, err
		}
		req.Range = &r
	}
	return layer, nil
}

// besideMark parts the name from the instance in the cgroup of one that was started
// beside another. No application can be called so.
const besideMark = "@"

// host makes what a host application has to itself.
func (e *Executor) host(req *instance.Request, former found) (err error) {
	s := req.Spec
	var runs []string
	if s.Former == "" { // else those are in use
		req.Files = filepath.Join(e.app(s.Name), "files")
	} else if former.req.Root != "" {
		runs = append(runs, filepath.Base(former.req.Root))
	}
	if s.User == schema.UserOwn {
		uid, err := e.owner(s.Name)
		if err != nil {
			return err
		}
		req.User = fmt.Sprintf("%d:%d", uid, uid)
	}
	if s.Digest != "" && s.Root != "" {
		req.Root, err = e.versions(s.Name).stage(s.Digest, s.Root, runs...)
	}
	return err
}

// target finds the container an attached application joins.
func (e *Executor) target(req *instance.Request) error {
	s := &req.Spec
	t, ok := e.find(s.Target)
	if !ok {
		return fmt.Errorf("%w: %s is not known", workload.ErrTarget, s.Target)
	}
	st := e.status(t)
	switch {
	case st.Mode != schema.ModeContainer:
		return fmt.Errorf("%w: %s runs in mode %s", workload.ErrTarget, s.Target, st.Mode)
	case st.State != workload.Running:
		return fmt.Errorf("%w: %s is %s", workload.ErrTarget, s.Target, st.State)
	case s.TargetInstance != "" && s.TargetInstance != st.Instance:
		return fmt.Errorf("%w: %s runs as instance %s, not %s", workload.ErrTarget, s.Target, st.Instance, s.TargetInstance)
	}
	s.TargetInstance = st.Instance
	req.Cgroup = filepath.Join(t.req.Cgroup, filepath.Base(req.Cgroup))
	req.TargetDir, req.TargetPID, req.Range = string(t.dir), st.PID, t.req.Range
	return nil
}

// launch starts the shim and waits until it closes its end of the pipe: the
// workload runs, or the shim is gone.
func (e *Executor) launch(ctx context.Context, f found, lock *os.File) error {
	defer lock.Close()
	ready, signal, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	pid, err := e.spawn(f, lock, signal)
	signal.Close()
	lock.Close() // the shim's copy holds it now
	if err != nil {
		return err
	}
	if err := f.dir.SyncRequest(); err != nil { // meanwhile the shim is at work
		return errors.Join(err, e.end(context.WithoutCancel(ctx), f))
	}
	patience := time.Now().Add(e.cfg.StartTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(patience) {
		patience = d
	}
	if err := ready.SetReadDeadline(patience); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err = ready.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.Join(fmt.Errorf("set-up did not finish in time: %w", context.DeadlineExceeded), ctx.Err())
		return errors.Join(err, e.end(context.WithoutCancel(ctx), f))
	}
	if !f.dir.Held() {
		reap(pid)
	}
	return nil
}

// spawn starts the shim in a session of its own; for a container also in a mount
// namespace of its own, where the root file system will be mounted.
func (e *Executor) spawn(f found, lock, ready *os.File) (int, error) {
	log, err := os.OpenFile(f.dir.ShimLog(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	attr := &syscall.SysProcAttr{Setsid: true}
	if f.req.Spec.Mode == schema.ModeContainer {
		attr.Cloneflags = syscall.CLONE_NEWNS
	}
	p, err := os.StartProcess(e.cfg.Shim, []string{"gnomon-shim", "run", string(f.dir)}, &os.ProcAttr{
		Dir:   "/",
		Env:   append([]string{"PATH=" + workload.DefaultPath, "GOMAXPROCS=2"}, failpoint.Environ()...),
		Files: []*os.File{null, log, log, lock, ready},
		Sys:   attr,
	})
	if err != nil {
		return 0, err
	}
	pid := p.Pid
	return pid, p.Release()
}
