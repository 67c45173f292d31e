package cgroup

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Fork calls fork so that the process it starts is born inside the group and
// can never be seen outside it. fork must start the process with the attributes
// it is given and from the goroutine it is called on. The group must exist with
// the limits l, which are in force when Fork returns.
//
// On v1 a thread may sit in another group than the rest of its process, and a
// child is born where the forking thread is: so a thread of its own goes there,
// forks and ends. The unified hierarchy takes the child by file descriptor.
func (g Group) Fork(l Limits, fork func(*syscall.SysProcAttr) error) error {
	// The forking thread counts too until it is gone.
	room := l
	if room.Pids > 0 {
		room.Pids++
	}
	if err := g.Set(room); err != nil {
		return err
	}
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine and leaves the group.
		runtime.LockOSThread()
		done <- g.forkHere(fork)
	}()
	if err := <-done; err != nil {
		return err
	}
	return g.Set(l)
}

func (g Group) forkHere(fork func(*syscall.SysProcAttr) error) error {
	attr := &syscall.SysProcAttr{}
	var home []dir
	for _, d := range g.dirs {
		if !d.Unified {
			if err := write(d.path, "tasks", strconv.Itoa(unix.Gettid())); err != nil {
				return fmt.Errorf("enter cgroup %s: %w", d.path, err)
			}
			home = append(home, d)
			continue
		}
		f, err := os.OpenFile(d.path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(f.Fd())
	}
	err := fork(attr)
	// Back to the root, so that the group is empty of us before the thread has
	// really ended.
	for _, d := range home {
		_ = write(d.Mount, "tasks", strconv.Itoa(unix.Gettid()))
	}
	return err
}
