package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/container"
	"gnomon/edge/cmd/gnomon-shim/idle"
	"gnomon/edge/cmd/gnomon-shim/rotate"
	"gnomon/edge/cmd/gnomon-shim/stage"
	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// hold takes over from run after it replaced the program.
func hold(dir instance.Dir) error {
	if err := adoptLock(dir); err != nil {
		return err
	}
	log, err := inherit(fdLog, "log")
	if err == nil {
		err = failpoint.Hit(failpoint.ShimHolds)
	}
	if err != nil {
		return err
	}
	return holdFiles(dir, log)
}

// holdFiles waits for the workload's end, keeping its log and obeying stops.
func holdFiles(dir instance.Dir, log *os.File) error {
	// From here on a shim lives for months and allocates next to nothing.
	debug.SetGCPercent(20)
	req, err := dir.ReadRequest()
	if err != nil {
		return err
	}
	rec, err := dir.ReadRecord()
	if err != nil {
		return err
	}
	group, err := cgroup.At(req.Cgroup)
	if err != nil {
		return err
	}
	k := &keeper{dir: dir, req: req, rec: rec, group: group}
	drained := k.keepLog(log)

	// Listening comes before looking, so that nothing falls between.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCHLD, instance.StopSignal, unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	if _, asked := dir.ReadStop(); asked || idle.Asked() {
		k.stop()
	}
	status, ended := reap(rec.PID)
	for !ended {
		select {
		case s := <-signals:
			if s != unix.SIGCHLD {
				k.stop()
			}
		case <-k.deadline:
			k.kill()
		}
		status, ended = reap(rec.PID)
	}
	return k.finish(status, drained)
}

// reap collects every child that has ended, and tells about the main one.
func reap(main int) (status unix.WaitStatus, ended bool) {
	for {
		var s unix.WaitStatus
		pid, err := unix.Wait4(-1, &s, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || pid == 0:
			return status, ended
		case pid == main:
			status, ended = s, true
		}
	}
}

// keeper is one workload being held.
type keeper struct {
	dir      instance.Dir
	req      instance.Request
	rec      instance.Record
	group    cgroup.Group
	deadline <-chan time.Time // when patience with a stop ends; nil: no stop
}

// keepLog copies the workload's output to its log until the last writer is gone.
func (k *keeper) keepLog(pipe *os.File) <-chan struct{} {
	drained := make(chan struct{})
	log, err := rotate.Open(k.req.LogFile, k.req.LogBytes, k.req.LogFiles)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gnomon-shim: log is dropped:", err)
	}
	go func() {
		defer close(drained)
		buf := make([]byte, 4<<10)
		for {
			n, err := pipe.Read(buf)
			if n > 0 && log != nil {
				_, _ = log.Write(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return drained
}

// finish writes how the workload ended, first of all, and then clears up.
func (k *keeper) finish(s unix.WaitStatus, drained <-chan struct{}) error {
	if ended, ok := stage.Ended(k.dir.Ended()); ok && k.req.Spec.Init {
		s = ended
	}
	st := &k.rec.Status
	st.State, st.PID, st.ExitedAt = workload.Exited, 0, time.Now()
	st.ExitCode = s.ExitStatus()
	if s.Signaled() {
		st.ExitCode, st.Signal = 128+int(s.Signal()), unix.SignalName(s.Signal())
	}
	st.TargetEnded = k.req.Spec.Mode == schema.ModeAttach && s.Signal() == unix.SIGKILL && ends(k.req.TargetPID)
	st.OOM = st.ExitCode != 0 && k.memoryGroup().OOMKills() > 0
	recorded := failpoint.Hit(failpoint.ShimEnded)
	if recorded == nil {
		recorded = k.dir.WriteRecord(k.rec)
	}

	err := errors.Join(failpoint.Hit(failpoint.ShimNoted), destroy(k.dir, k.req))
	if k.req.Spec.Mode == schema.ModeAttach {
		container.Detach(k.req)
	}
	if k.req.Spec.Mode == schema.ModeContainer {
		_ = os.RemoveAll(k.dir.Container())
	}
	// All writers are dead unless something escaped; the log then ends here.
	select {
	case <-drained:
	case <-time.After(2 * time.Second):
	}
	if recorded != nil {
		// Once more, for the disk may have been full of what was just cleared.
		recorded = k.dir.WriteRecord(k.rec)
	}
	if recorded != nil {
		return fmt.Errorf("record the exit: %w", recorded)
	}
	return err
}

// ends tells whether a process has ended or is about to.
func ends(pid int) bool {
	p, ok := instance.Inspect(pid)
	return !ok || p.Zombie || p.Exiting
}

// memoryGroup is where the kernel counts what it killed of this workload.
func (k *keeper) memoryGroup() cgroup.Group {
	if k.req.Spec.Mode == schema.ModeContainer && k.group.PureV2() {
		return k.group.Child(container.MainGroup)
	}
	return k.group
}
