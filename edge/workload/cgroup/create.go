package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits bounds all processes of a group together. 0 = no bound.
type Limits struct {
	CPU    int64 // thousandths of a core
	Memory int64 // bytes; swap is not given on top
	Pids   int64 // processes and threads
	IO     Throttle
}

// Throttle bounds what a disk does for a group, per second.
type Throttle struct {
	Disk              Disk
	Read, Write       int64 // bytes
	ReadOps, WriteOps int64
}

// cpuPeriod is the accounting period of the CPU limit: the kernel's default.
const cpuPeriod = 100 * time.Millisecond

// Create makes the group in every hierarchy and sets its limits. A group that
// exists is kept and its limits are set anew.
func (g Group) Create(l Limits) error {
	for _, d := range g.dirs {
		if err := d.mkdir(g.path); err != nil {
			return fmt.Errorf("create cgroup %s: %w", d.path, err)
		}
	}
	return g.Set(l)
}

// mkdir makes the directory with its ancestors. A v1 cpuset is unusable until
// it has CPUs and memory nodes, and a v2 controller until every ancestor hands
// it down.
func (d dir) mkdir(path string) error {
	at := d.Mount
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if d.Unified {
			handDown(at)
		}
		parent := at
		at = filepath.Join(at, name)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if slices.Contains(d.Controllers, "cpuset") {
			for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
				if err := inherit(parent, at, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inherit copies a setting from the parent unless the child has one.
func inherit(parent, child, file string) error {
	own, err := os.ReadFile(filepath.Join(child, file))
	if err != nil || len(strings.TrimSpace(string(own))) > 0 {
		return err
	}
	v, err := os.ReadFile(filepath.Join(parent, file))
	if err != nil {
		return err
	}
	return write(child, file, strings.TrimSpace(string(v)))
}

// Set changes the limits of an existing group. Each controller is bounded in the
// hierarchy that governs it.
func (g Group) Set(l Limits) error {
	var unified Limits
	for _, c := range []struct {
		name   string
		wanted bool
		v1     func(dir string) error
		v2     func()
	}{
		{"cpu", l.CPU > 0, l.setCPU, func() { unified.CPU = l.CPU }},
		{"memory", l.Memory > 0, l.setMemory, func() { unified.Memory = l.Memory }},
		{"pids", l.Pids > 0, l.setPids, func() { unified.Pids = l.Pids }},
		{"blkio", l.IO.Disk != Disk{}, l.setIO, func() { unified.IO = l.IO }},
	} {
		d, ok := g.controller(c.name)
		switch {
		case !ok && c.wanted:
			return fmt.Errorf("cgroup controller %s is not available", c.name)
		case !ok:
		case d.Unified:
			c.v2()
		default:
			if err := c.v1(d.path); err != nil && c.wanted {
				return fmt.Errorf("cgroup %s: %w", g.path, err)
			}
		}
	}
	for _, d := range g.dirs {
		if d.Unified {
			return setV2(d.path, unified)
		}
	}
	return nil
}

func limit(v int64, none string) string {
	if v <= 0 {
		return none
	}
	return strconv.FormatInt(v, 10)
}

// Join moves a process into the group, in every hierarchy.
func (g Group) Join(pid int) error {
	for _, d := range g.dirs {
		if err := write(d.path, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move process %d into cgroup %s: %w", pid, d.path, err)
		}
	}
	return nil
}

// Delegate makes a v2 group ready to limit its children: it may hold no
// processes from now on.
func (g Group) Delegate() {
	for _, d := range g.dirs {
		if d.Unified {
			handDown(d.path)
		}
	}
}

// Remove deletes the group and those below it. It must hold no process; the
// kernel may take a moment to let go of those that just died.
func (g Group) Remove() error {
	var errs []error
	for _, d := range g.dirs {
		if err := removeTree(d.path, time.Now().Add(removePatience)); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", d.path, err))
		}
	}
	return errors.Join(errs...)
}

const removePatience = 3 * time.Second

func removeTree(path string, deadline time.Time) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(path, e.Name()), deadline); err != nil {
				return err
			}
		}
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Rmdir(path)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EBUSY) || time.Now().After(deadline):
			return err
		default:
			time.Sleep(pause)
		}
	}
}

func exists(dir, file string) bool {
	_, err := os.Lstat(filepath.Join(dir, file))
	return err == nil
}

// write writes a control file in one piece, without creating it.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
