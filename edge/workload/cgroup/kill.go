package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to every process of the group and of those below it, and
// returns once none is left or ctx ends. A fork cannot escape it: the unified
// hierarchy kills as one, elsewhere the group is frozen first. Without either it
// kills until nothing is left.
func (g Group) Kill(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		g.killOnce()
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill cgroup %s: %d processes are left: %w", g.path, len(pids), ctx.Err())
		case <-time.After(pause):
		}
	}
}

func (g Group) killOnce() {
	for _, d := range g.dirs {
		if d.Unified {
			_ = write(d.path, "cgroup.kill", "1")
		}
	}
	g.freeze(true)
	pids, _ := g.Pids()
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	g.freeze(false)
}

// freeze stops or resumes the group where a v1 freezer governs it.
func (g Group) freeze(on bool) {
	d, ok := g.controller("freezer")
	if !ok || d.Unified {
		return
	}
	if !on {
		_ = write(d.path, "freezer.state", "THAWED")
		return
	}
	_ = write(d.path, "freezer.state", "FROZEN")
	for range 100 {
		b, err := os.ReadFile(filepath.Join(d.path, "freezer.state"))
		if err != nil || strings.TrimSpace(string(b)) == "FROZEN" {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// Pids lists the processes of the group and of those below it, over all
// hierarchies. A group that does not exist has none.
func (g Group) Pids() ([]int, error) {
	seen := map[int]bool{}
	var pids []int
	for _, d := range g.dirs {
		err := filepath.WalkDir(d.path, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return ignoreGone(err)
			}
			if e.Name() != "cgroup.procs" {
				return nil
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return ignoreGone(err)
			}
			for f := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 && !seen[pid] {
					seen[pid] = true
					pids = append(pids, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return pids, nil
}

// ignoreGone forgives that a group vanished while it was read, and a threaded
// one, which lists its processes at its root.
func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
