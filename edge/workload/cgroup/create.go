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

// handDown enables controllers for the children of a v2 group. It is best
// effort: Set fails by name if a controller that is needed is missing.
func handDown(parent string) {
	for _, c := range []string{"cpu", "memory", "pids", "io"} {
		_ = write(parent, "cgroup.subtree_control", "+"+c)
	}
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

// Set changes the limits of an existing group.
func (g Group) Set(l Limits) error {
	type setting struct {
		controller, v1, v2 string
		val1, val2         string
		wanted             bool
	}
	quota := l.CPU * cpuPeriod.Microseconds() / 1000
	period := strconv.FormatInt(cpuPeriod.Microseconds(), 10)
	settings := []setting{
		{"cpu", "cpu.cfs_period_us", "", period, "", l.CPU > 0},
		{"cpu", "cpu.cfs_quota_us", "cpu.max", limit(quota, "-1"), limit(quota, "max") + " " + period, l.CPU > 0},
		{"memory", "memory.limit_in_bytes", "memory.max", limit(l.Memory, "-1"), limit(l.Memory, "max"), l.Memory > 0},
		{"pids", "pids.max", "pids.max", limit(l.Pids, "max"), limit(l.Pids, "max"), l.Pids > 0},
	}
	for _, s := range settings {
		d, ok := g.controller(s.controller)
		if !ok && s.wanted {
			return fmt.Errorf("cgroup controller %s is not available", s.controller)
		}
		file, value := s.v1, s.val1
		if d.Unified {
			file, value = s.v2, s.val2
		}
		if !ok || file == "" || !s.wanted && !exists(d.path, file) {
			continue
		}
		if err := write(d.path, file, value); err != nil && s.wanted {
			return fmt.Errorf("set %s of cgroup %s to %s: %w", file, g.path, value, err)
		}
	}
	if err := g.setIO(l.IO); err != nil {
		return err
	}
	g.denySwap(l.Memory)
	return nil
}

// denySwap keeps a group from evading its memory limit into swap, where the
// kernel accounts swap at all.
func (g Group) denySwap(memory int64) {
	d, ok := g.controller("memory")
	if !ok || memory == 0 {
		return
	}
	if d.Unified {
		_ = write(d.path, "memory.swap.max", "0")
		return
	}
	_ = write(d.path, "memory.memsw.limit_in_bytes", strconv.FormatInt(memory, 10))
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
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
