package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/container"
	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// reload brings the changed files of an instance into it while it runs, and tells
// its program. The shim that holds the instance doesn't notice.
func reload(dir instance.Dir) error {
	former, err := dir.ReadRequest()
	if err != nil {
		return err
	}
	req, err := dir.ReadReload()
	if err != nil {
		return err
	}
	rec, err := dir.ReadRecord()
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(rec.PID, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", rec.PID, err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	if !rec.Alive() { // looked at only now: the pidfd cannot come to mean another
		return errors.New("the workload has ended")
	}
	j := launch.Job{Dir: dir, Request: req}
	if req.Spec.Mode == schema.ModeHost {
		err = reloadHost(j, former.Spec.Files)
	} else {
		err = container.Reload(j, former.Spec.Files, rec.PID)
	}
	if err != nil || req.Spec.Reload == schema.ReloadNone {
		return err
	}
	program := rec.PID
	if former.Spec.Init {
		if program, err = child(rec.PID); err != nil {
			return err
		}
	}
	return tell(pidfd, program, req.Spec.Reload)
}

// child returns the program under an init, which passes signals on to it. It is the
// oldest: orphans come to an init later.
func child(init int) (int, error) {
	all := childrenOf(init)
	if len(all) == 0 {
		return 0, fmt.Errorf("the init, process %d, has no program any more", init)
	}
	return all[0], nil
}

func reloadHost(j launch.Job, former []schema.File) error {
	u, err := j.HostUser()
	if err != nil {
		return err
	}
	_, err = j.ReplaceFiles(u, former, true)
	return err
}

// patience is how long a program that has just started may take until it handles
// the signal.
const patience = 2 * time.Second

// tell sends the signal, if that doesn't end the program.
func tell(pidfd, pid int, how schema.Reload) error {
	sig := unix.SignalNum(string(how))
	if sig == 0 {
		return fmt.Errorf("run.reload %q is no signal", how)
	}
	for end := time.Now().Add(patience); !handles(pid, sig); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("process %d does not handle %s, which would end it", pid, how)
		}
	}
	return unix.PidfdSendSignal(pidfd, sig, nil, 0)
}

// handles tells whether a process has a handler for a signal. While libcontainer
// is still on its way to the program, that would be its own.
func handles(pid int, sig unix.Signal) bool {
	if comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err != nil || strings.HasPrefix(string(comm), "runc:[") {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			mask, _ := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return mask>>(sig-1)&1 == 1
		}
	}
	return false
}
