package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// formerRanges bounds how many ranges are remembered of one application. Another
// one than before it has only when the node's pool was moved.
const formerRanges = 8

func (e *Executor) rangeFile(name string) string { return filepath.Join(e.cfg.Data, "subids", name) }

// giveRange returns the range of users of a container with users of its own. It
// keeps it until it is removed and nothing is kept of it, so that what it has on
// disk stays its own.
func (e *Executor) giveRange(name string) (workload.Range, error) {
	e.owners.Lock()
	defer e.owners.Unlock()
	own := e.rangesOf(name)
	if i := slices.IndexFunc(own, e.cfg.SubIDs.Holds); i >= 0 {
		r := own[i]
		if noted, err := e.readRanges(name); err == nil && noted[0] == r {
			return r, nil
		}
		// The note was lost, or the pool was moved, and moved back.
		return r, e.keepRanges(name, slices.Insert(slices.Delete(own, i, i+1), 0, r))
	}
	taken, err := e.takenRanges(name)
	if err != nil {
		return workload.Range{}, err
	}
	pool := e.cfg.SubIDs
	for start := uint64(pool.Start); start+workload.RangeSize <= pool.End(); start += workload.RangeSize {
		r := workload.Range{Start: uint32(start), Count: workload.RangeSize}
		if slices.ContainsFunc(taken, r.Overlaps) {
			continue
		}
		all := slices.Insert(own, 0, r)
		if err := e.keepRanges(name, all[:min(len(all), formerRanges)]); err != nil {
			return workload.Range{}, err
		}
		return r, failpoint.Hit(failpoint.RangeTaken)
	}
	return workload.Range{}, fmt.Errorf("%w for run.userNamespace: all %d ranges of %d in %s are taken by other applications and users of this node; remove one, or give the agent more with --subids",
		workload.ErrNoRange, pool.Count/workload.RangeSize, workload.RangeSize, pool)
}

// rangesOf lists what an application has, and had before, which its files may still
// belong to. The first is what it has. Where the note of that is lost, its
// directories say whom they belong to.
func (e *Executor) rangesOf(name string) []workload.Range {
	all, err := e.readRanges(name)
	if err == nil {
		return all
	}
	if !errors.Is(err, fs.ErrNotExist) {
		e.cfg.Log.Error("the users of an application are not readable; its directories are asked", "error", err)
	}
	for _, pattern := range []string{"apps/" + name + "/data", "apps/" + name + "/volumes/*", "apps/" + name + "/layers/*", "volumes/" + name + "/*"} {
		dirs, _ := filepath.Glob(filepath.Join(e.cfg.Data, pattern))
		for _, dir := range dirs {
			text := make([]byte, 16)
			n, err := unix.Getxattr(dir, workload.BaseAttr, text)
			if err != nil {
				continue // of the node's users
			}
			r, err := workload.ParseRange(fmt.Sprintf("%s:%d", text[:n], workload.RangeSize))
			if err == nil && r.Check() == nil && !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}

func (e *Executor) readRanges(name string) (all []workload.Range, err error) {
	b, err := os.ReadFile(e.rangeFile(name))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		r, err := workload.ParseRange(strings.TrimSpace(line))
		if err == nil {
			err = r.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.rangeFile(name), err)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s is empty", e.rangeFile(name))
	}
	return all, nil
}

// keepRanges notes whose ranges are, durably: what is on disk belongs to them.
func (e *Executor) keepRanges(name string, all []workload.Range) error {
	dir := filepath.Dir(e.rangeFile(name))
	fresh := filepath.Join(dir, "."+name) // no name of an application
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err == nil {
			_, err = fmt.Fprintln(f, r)
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	if err := os.Rename(fresh, e.rangeFile(name)); err != nil {
		return err
	}
	return instance.SyncDir(dir)
}

// takenRanges are those of other applications and of users of the node.
func (e *Executor) takenRanges(but string) ([]workload.Range, error) {
	taken, err := nodeUsers()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{but: true}
	for _, sub := range []string{"subids", "apps", "volumes"} {
		entries, err := os.ReadDir(filepath.Join(e.cfg.Data, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, d := range entries {
			if name := d.Name(); schema.ValidName(name) && !seen[name] {
				seen[name] = true
				taken = append(taken, e.rangesOf(name)...)
			}
		}
	}
	return taken, nil
}

// nodeUsers are the node's users and groups, and the ranges given to its people.
func nodeUsers() (all []workload.Range, err error) {
	for _, table := range []struct {
		file  string
		start int // the field of the number
		count int // that of how many; 0: one
	}{
		{"/etc/passwd", 2, 0}, {"/etc/group", 2, 0}, {"/etc/subuid", 1, 2}, {"/etc/subgid", 1, 2},
	} {
		b, err := os.ReadFile(table.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			fields := strings.Split(strings.TrimSpace(line), ":")
			if len(fields) <= max(table.start, table.count) {
				continue
			}
			count := uint64(1)
			start, err := strconv.ParseUint(fields[table.start], 10, 32)
			if err == nil && table.count > 0 {
				count, err = strconv.ParseUint(fields[table.count], 10, 32)
			}
			if err == nil {
				all = append(all, workload.Range{Start: uint32(start), Count: uint32(count)})
			}
		}
	}
	return all, nil
}

// dropRange gives the ranges of a name back, unless there are volumes that are
// kept for it.
func (e *Executor) dropRange(name string) (dropped bool, err error) {
	if kept, err := os.ReadDir(filepath.Join(e.cfg.Data, "volumes", name)); len(kept) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	err = os.Remove(e.rangeFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
