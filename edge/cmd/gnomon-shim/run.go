package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/container"
	"gnomon/edge/cmd/gnomon-shim/idle"
	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// run sets the workload up and turns into hold. What goes wrong is written to
// the record; the error is for the shim's own log.
func run(dir instance.Dir) error {
	if err := adoptLock(dir); err != nil {
		return err
	}
	ready, err := inherit(fdReady, "ready")
	if err != nil {
		return err
	}
	defer ready.Close() // not before the record is written
	// A stop that comes now is in stop.json, where hold looks first. Signals are
	// caught, not ignored: the workload would inherit the latter.
	signal.Notify(make(chan os.Signal, 1), instance.StopSignal, unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	req, err := dir.ReadRequest()
	if err == nil {
		err = failpoint.Hit(failpoint.ShimBegin)
	}
	if err != nil {
		return fail(dir, req, err)
	}
	log, started, err := start(dir, req)
	if err != nil {
		return fail(dir, req, err)
	}
	rec := record(req, workload.Running)
	rec.PID, rec.Status.PID, rec.Status.StartedAt = started.PID, started.PID, time.Now()
	rec.Status.Addresses = started.Addresses
	if p, ok := instance.Inspect(started.PID); ok {
		rec.Ticks = p.Ticks
	}
	if err := errors.Join(failpoint.Hit(failpoint.ShimRunning), dir.PutRecord(rec), failpoint.Hit(failpoint.ShimRecorded)); err != nil {
		// Nobody would ever know what runs here: better that nothing does.
		_ = destroy(dir, req)
		return fail(dir, req, fmt.Errorf("record the start: %w", err))
	}
	ready.Close()
	if err := dir.SyncRecord(); err != nil {
		fmt.Fprintln(os.Stderr, "gnomon-shim: the record of the start is not durable:", err)
	}
	if started.Serve != nil { // that takes a running program, at the price of its memory
		debug.SetGCPercent(20)
		go func() { _ = started.Serve(context.Background()) }()
		return holdFiles(dir, log)
	}
	return become(dir, rec, log, started.Keep)
}

// start starts the workload and returns the reading end of its output.
func start(dir instance.Dir, req instance.Request) (log *os.File, s launch.Started, err error) {
	if err := errors.Join(settle(req), failpoint.Hit(failpoint.ShimSettled)); err != nil {
		return nil, s, err
	}
	log, out, err := os.Pipe()
	if err != nil {
		return nil, s, err
	}
	defer out.Close()
	job := launch.Job{Dir: dir, Request: req, Output: out}
	if err := job.FindDisk(); err != nil {
		log.Close()
		return nil, s, err
	}
	switch req.Spec.Mode {
	case schema.ModeContainer:
		s, err = container.Run(job)
	case schema.ModeAttach:
		s, err = container.Attach(job)
	default:
		s, err = launch.Host(job)
	}
	if err != nil {
		log.Close()
		return nil, s, errors.Join(err, destroy(dir, req))
	}
	// The workload is as killable as any process; only the shim is spared.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.PID), []byte("0"), 0)
	return log, s, nil
}

// settle makes the process a good parent: it reaps orphans of the workload, is
// the last to be killed for memory, and is charged to the shims' cgroup.
func settle(req instance.Request) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0)
	g, err := cgroup.At(req.Shims)
	if err != nil {
		return err
	}
	if err := g.Create(cgroup.Limits{}); err != nil {
		return err
	}
	return g.Join(os.Getpid())
}

// record is what is known of the instance from the request alone.
func record(req instance.Request, state workload.State) instance.Record {
	s := req.Spec
	return instance.Record{
		// Whoever asked must be able to read it, should the shim be the later one.
		Protocol: req.Protocol, Boot: instance.BootID(),
		Status: workload.Status{
			Name: s.Name, Instance: req.Instance, Hash: s.Hash, Component: s.Component,
			Mode: s.Mode, State: state, Target: s.Target, TargetInstance: s.TargetInstance,
		},
	}
}

func fail(dir instance.Dir, req instance.Request, err error) error {
	rec := record(req, workload.Failed)
	rec.Status.Error = err.Error()
	rec.Status.ExitedAt = time.Now()
	rec.Cause = instance.CauseOf(err)
	rec.Final = errors.Is(err, workload.ErrInvalid) || errors.Is(err, workload.ErrUnsupported)
	return errors.Join(err, dir.WriteRecord(rec))
}

// destroy ends everything the instance has started.
func destroy(dir instance.Dir, req instance.Request) error {
	g, err := cgroup.At(req.Cgroup)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		return err
	}
	reap(0)
	return errors.Join(container.Release(dir, req), g.Remove())
}

// release takes back what a shim that was killed has left of the network.
func release(dir instance.Dir) error {
	req, err := dir.ReadRequest()
	if err != nil {
		return err
	}
	return container.Release(dir, req)
}

// sweep gives back what the dead have of a bridge's network, and prints whose it was.
func sweep(bridge string) error {
	var b workload.Bridge
	if err := json.Unmarshal([]byte(bridge), &b); err != nil {
		return err
	}
	instances, err := container.SweepNetwork(b)
	for _, id := range instances {
		fmt.Println(id)
	}
	return err
}

// become replaces the program by a fresh image of itself. The process number,
// the children, the session and the mount namespace stay.
func become(dir instance.Dir, rec instance.Record, log *os.File, keep []*os.File) error {
	if err := unix.Dup3(int(log.Fd()), fdLog, 0); err != nil {
		return holdFiles(dir, log)
	}
	if _, err := unix.FcntlInt(lock.Fd(), unix.F_SETFD, 0); err != nil {
		return holdFiles(dir, log)
	}
	defer runtime.KeepAlive(keep)
	for _, f := range keep {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			return holdFiles(dir, log)
		}
	}
	req, err := dir.ReadRequest()
	if err != nil {
		return holdFiles(dir, log)
	}
	wait := idle.Spec{Main: rec.PID, Pipe: fdLog, Stop: dir.Stop(),
		LogFile: req.LogFile, LogBytes: req.LogBytes, LogFiles: req.LogFiles}
	env := append([]string{"GOMAXPROCS=1", wait.Environ()}, failpoint.Environ()...)
	err = unix.Exec("/proc/self/exe", []string{os.Args[0], "hold", string(dir)}, env)
	fmt.Fprintln(os.Stderr, "gnomon-shim: hold in place:", err)
	return holdFiles(dir, log)
}
