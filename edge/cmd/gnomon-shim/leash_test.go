package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A kernel that lists no children is asked otherwise: with the same outcome, however
// a child is called, and also for one that is dead and not yet collected.
func TestChildrenOf_FindsThem(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(t.TempDir(), "a) R 1 (b") // what it is called is in its stat
	if err := os.Symlink(sleep, odd); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(odd, "1000")
	c.Args[0] = sleep // a sleep that is one of many programs goes by it
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := c.Process.Pid
	ours := func() bool { return slices.Contains(childrenOf(os.Getpid()), pid) }
	if !ours() {
		t.Errorf("a child is not found: %v", childrenOf(os.Getpid()))
	}
	if listed, pause := children(); !slices.Contains(listed, pid) || pause <= 0 {
		t.Errorf("%v %v", listed, pause)
	}
	if others := childrenOf(pid); len(others) > 0 {
		t.Errorf("children of the child: %v", others)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if !ours() {
		t.Error("a child that is to be collected is not found")
	}
	_ = c.Wait()
	if ours() {
		t.Error("a child that has been collected is found")
	}
}

// An init has its program before it gets any orphans.
func TestChildrenOf_OldestFirst(t *testing.T) {
	var pids []int
	for range 3 {
		c := exec.Command("sleep", "1000")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		pids = append(pids, c.Process.Pid)
	}
	if all := childrenOf(os.Getpid()); !slices.Equal(all[len(all)-3:], pids) {
		t.Errorf("%v, want %v last", all, pids)
	}
}
