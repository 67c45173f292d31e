package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
)

// stop asks the workload to end and sets how long it may take. A later stop may
// shorten that.
func (k *keeper) stop() {
	grace := k.req.Spec.StopGrace
	if grace == 0 {
		grace = workload.DefaultStopGrace
	}
	if s, asked := k.dir.ReadStop(); asked {
		grace = s.Grace
	}
	if grace <= 0 || !k.ask() {
		k.kill()
		return
	}
	k.deadline = time.After(grace)
}

// ask sends SIGTERM. The kernel hides it from the first process of a container
// unless that handles it; such a process, a shell mostly, ends when its children
// do, so they are asked instead. ask is false when nobody could be asked.
func (k *keeper) ask() bool {
	main := k.rec.PID
	if k.req.Spec.Init || !deaf(main) { // our init passes it on
		return unix.Kill(main, unix.SIGTERM) == nil
	}
	pids, _ := k.group.Pids()
	asked := false
	for _, pid := range pids {
		if pid != main && unix.Kill(pid, unix.SIGTERM) == nil {
			asked = true
		}
	}
	return asked
}

// deaf tells whether a process is the first of its PID namespace and neither
// handles nor deliberately ignores SIGTERM.
func deaf(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	first, minds := false, false
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		key, value, _ := strings.Cut(string(line), ":")
		switch f := strings.Fields(value); {
		case len(f) == 0:
		case key == "NSpid":
			first = len(f) > 1 && f[len(f)-1] == "1"
		case key == "SigCgt" || key == "SigIgn":
			mask, _ := strconv.ParseUint(f[0], 16, 64)
			minds = minds || mask>>(unix.SIGTERM-1)&1 == 1
		}
	}
	return first && !minds
}

// kill ends the main process; the rest goes once that has been reaped.
func (k *keeper) kill() {
	k.deadline = nil
	_ = unix.Kill(k.rec.PID, unix.SIGKILL)
}
