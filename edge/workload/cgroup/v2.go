package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What is particular to the unified hierarchy: controllers are handed down from
// group to group, a group that hands them down holds no processes itself, a group
// is killed by one write, and its limits have other names. All of it works on a
// directory, so that it can be tested where another hierarchy governs.

// v2Controllers are those that limit workloads.
var v2Controllers = []string{"cpu", "memory", "pids", "io"}

// handDown enables controllers for the children of a group. Those that the group
// has not are left out: Set fails by name if one is needed.
func handDown(parent string) {
	has := words(parent, "cgroup.controllers")
	enabled := words(parent, "cgroup.subtree_control")
	for _, c := range v2Controllers {
		// One by one: a write that names one controller too many enables none.
		if slices.Contains(has, c) && !slices.Contains(enabled, c) {
			_ = write(parent, "cgroup.subtree_control", "+"+c)
		}
	}
}

func words(dir, file string) []string {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// setV2 changes the limits of a group. What has no bound is "max".
func setV2(dir string, l Limits) error {
	quota := l.CPU * cpuPeriod.Microseconds() / 1000
	for _, s := range []struct {
		controller, file, value string
		wanted                  bool
	}{
		{"cpu", "cpu.max", limit(quota, "max") + " " + strconv.FormatInt(cpuPeriod.Microseconds(), 10), l.CPU > 0},
		{"memory", "memory.max", limit(l.Memory, "max"), l.Memory > 0},
		{"memory", "memory.swap.max", "0", false}, // best effort: a kernel may not account swap
		{"pids", "pids.max", limit(l.Pids, "max"), l.Pids > 0},
	} {
		if !s.wanted && (!exists(dir, s.file) || s.file == "memory.swap.max" && l.Memory == 0) {
			continue
		}
		if s.wanted && !exists(dir, s.file) {
			return fmt.Errorf("cgroup controller %s is not available in %s", s.controller, dir)
		}
		if err := write(dir, s.file, s.value); err != nil && s.wanted {
			return fmt.Errorf("set %s of cgroup %s to %s: %w", s.file, dir, s.value, err)
		}
	}
	if l.IO.Disk == (Disk{}) {
		return nil
	}
	if !exists(dir, "io.max") {
		return fmt.Errorf("cgroup controller io is not available in %s", dir)
	}
	return setIOMax(dir, l.IO)
}

// agentLeaf is where a delegated group keeps the agent itself. No application can
// be called so.
const agentLeaf = "_agent"

// Delegated returns the group that systemd has handed over to this service
// (Delegate=yes), below which everything may be made; ok is false when there is
// none, or no unified hierarchy that it would be in.
func Delegated() (path string, ok bool) {
	hs, err := Hierarchies()
	if err != nil || len(hs) != 1 || !hs[0].Unified {
		return "", false
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", false
	}
	return delegated(hs[0].Mount, string(b), xattr)
}

func delegated(mount, self string, attribute func(path, name string) string) (string, bool) {
	path, ok := unifiedPath(self)
	if !ok {
		return "", false
	}
	// A former agent may have put this one's ancestors into the leaf.
	path = strings.TrimSuffix(path, "/"+agentLeaf)
	if path == "" || path == "/" {
		return "", false
	}
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if attribute(filepath.Join(mount, path), name) == "1" {
			return path, true
		}
	}
	return "", false
}

// unifiedPath reads the line of the unified hierarchy of /proc/PID/cgroup.
func unifiedPath(text string) (string, bool) {
	for line := range strings.SplitSeq(text, "\n") {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return path, true
		}
	}
	return "", false
}

// MakeRoom moves the processes of a delegated group, which are the agent and what
// has started it, to a leaf of their own, and hands the group's controllers down:
// a group can't do both, hold processes and bound its children.
func MakeRoom(path string) error {
	hs, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hs {
		if h.Unified {
			return makeRoom(filepath.Join(h.Mount, path))
		}
	}
	return ErrNoHierarchy
}

func xattr(path, name string) string {
	b := make([]byte, 8)
	n, err := unix.Getxattr(path, name, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func gone(err error) bool { return errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist) }

func makeRoom(dir string) error {
	leaf := filepath.Join(dir, agentLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make cgroup for the agent: %w", err)
	}
	for _, pid := range words(dir, "cgroup.procs") {
		// One that has ended meanwhile needs no other place.
		if err := write(leaf, "cgroup.procs", pid); err != nil && !gone(err) {
			return fmt.Errorf("move process %s into %s: %w", pid, leaf, err)
		}
	}
	handDown(dir)
	return nil
}
