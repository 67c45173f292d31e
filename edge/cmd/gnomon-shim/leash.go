package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload/cgroup"
)

// leash is what a program that is run apart is on. The program, and what it has
// started, end when this process is asked to by SIGTERM, and when whoever has the
// other end of the pipe on fdLife closes it or dies. What the program has started
// ends when the program does, too.
//
// That is its children, in its session or of this process: who leaves both, in a
// container by a session of its own, is the application's from then on.
type leash struct {
	ctx      context.Context // over once the program shall end //nolint:containedctx // it is what a leash is
	released chan struct{}
}

// again is how long after killing it is looked whether more has come; longAgain is
// that where everybody has to be asked for it.
const (
	again     = 2 * time.Millisecond
	longAgain = 20 * time.Millisecond
)

// newLeash begins to listen, so that nothing that comes from now on is missed.
func newLeash() (*leash, error) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	life, err := inherit(fdLife, "life")
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fdLife, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, fmt.Errorf("file descriptor %d is not the pipe of who wants the program", fdLife)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become subreaper: %w", err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = life.Read(make([]byte, 1)) // nothing is ever written
	}()
	ctx, over := context.WithCancel(context.Background())
	l := &leash{ctx: ctx, released: make(chan struct{})}
	go func() {
		defer over()
		select {
		case <-asked:
		case <-gone:
		case <-l.released:
			return
		}
		over()
		l.end()
	}()
	return l, nil
}

// end kills whatever this process starts, or is starting, until it is released.
func (l *leash) end() {
	for {
		pids, pause := children()
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		select {
		case <-l.released:
			return
		case <-time.After(pause):
		}
	}
}

// release is called when nothing will be started any more.
func (l *leash) release() { close(l.released) }

// wait waits for the end of a program, which leads a session, and ends what is
// left of it. The program is collected only then: until that its number, which is
// the session's, can't be another's.
func (l *leash) wait(p running, group string) (*os.ProcessState, error) {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	endSession(p.pid, group)
	st, err := p.wait()
	endOrphans()
	return st, err
}

// endSession kills what is left of a session. Who has left its process group is
// found in the cgroup.
func endSession(leader int, group string) {
	_ = unix.Kill(-leader, unix.SIGKILL)
	g, err := cgroup.At(group)
	if err != nil {
		return
	}
	for pause := again / 2; pause < time.Second; pause *= 2 {
		pids, _ := g.Pids()
		left := 0
		for _, pid := range pids {
			if sid, err := unix.Getsid(pid); err == nil && sid == leader && pid != leader {
				_ = unix.Kill(pid, unix.SIGKILL)
				left++
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(pause) // who is killed takes a moment, and may have forked
	}
}

// endOrphans kills and collects what the program has left to this process.
func endOrphans() {
	for all, _ := children(); len(all) > 0; all, _ = children() {
		for _, pid := range all {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil) // interrupted, it is looked at again
		}
	}
}

// children lists those of this process, and tells how soon to ask for more.
func children() (pids []int, pause time.Duration) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	if len(lists) == 0 { // a kernel without CONFIG_PROC_CHILDREN
		return childrenOf(os.Getpid()), longAgain
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids, again
}

// childrenOf asks every process for its parent; the oldest comes first.
func childrenOf(parent int) []int {
	type child struct{ pid, started int }
	var all []child
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // gone
		}
		// The name, in brackets, may hold anything. Then come the state, the parent and,
		// as field 22 of all (proc_pid_stat(5)), when it started.
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 20 || f[1] != strconv.Itoa(parent) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		started, err2 := strconv.Atoi(f[19])
		if err == nil && err2 == nil {
			all = append(all, child{pid, started})
		}
	}
	slices.SortFunc(all, func(a, b child) int { return cmp.Or(cmp.Compare(a.started, b.started), cmp.Compare(a.pid, b.pid)) })
	pids := make([]int, len(all))
	for i, c := range all {
		pids[i] = c.pid
	}
	return pids
}
