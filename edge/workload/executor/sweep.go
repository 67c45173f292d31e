package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// Leak is something that no instance on this disk has, left behind by an agent or
// a shim that was killed at the wrong moment, or by a disk that was wiped under
// them.
type Leak struct {
	Kind string // shim, cgroup, mount, directory, network or range
	What string // its path, or the instance it was that of
}

// Sweep clears leaks away and returns them. It touches nothing of an instance
// that is live, or that is still to be accounted for, and nothing of names for
// which a call is under way. Run begins with it.
func (e *Executor) Sweep(ctx context.Context) ([]Leak, error) {
	s := &sweep{e: e}
	var errs []error
	for _, step := range []func(context.Context) error{s.shims, s.cgroups, s.mounts, s.directories, s.network, s.ranges} {
		errs = append(errs, step(ctx))
	}
	return s.found, errors.Join(errs...)
}

// sweep is one in progress.
type sweep struct {
	e       *Executor
	found   []Leak
	foreign bool // another agent uses the cgroup, or may: it isn't ours to judge
}

func (s *sweep) note(kind, what string) {
	s.found = append(s.found, Leak{kind, what})
	s.e.cfg.Log.Warn("left over, cleared away", "kind", kind, "what", what)
}

// shims ends those whose instance is no longer on disk. Nobody could ever stop
// them, nor hear from them.
func (s *sweep) shims(ctx context.Context) error {
	g, err := cgroup.At(s.e.shims)
	if err != nil {
		return err
	}
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // gone
		}
		dir, ours := s.e.instanceOf(pid)
		for end := time.Now().Add(time.Second); dir == "" && lives(pid) && time.Now().Before(end); time.Sleep(time.Millisecond) {
			dir, ours = s.e.instanceOf(pid) // while it replaces itself it has no arguments
		}
		if !ours && lives(pid) {
			s.foreign = true
		}
		if _, serr := os.Lstat(dir); ours && errors.Is(serr, fs.ErrNotExist) {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			_, err = await(ctx, pidfd, margin)
			reap(pid)
			s.note("shim", dir)
		}
		_ = unix.Close(pidfd)
		if err != nil {
			return err
		}
	}
	return nil
}

func lives(pid int) bool {
	p, ok := instance.Inspect(pid)
	return ok && !p.Zombie
}

// instanceOf reads which instance a shim is that of, and whether it is below this
// data directory.
func (e *Executor) instanceOf(pid int) (dir string, ours bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", false
	}
	args := strings.Split(string(b), "\x00")
	if len(args) < 3 || args[1] != "run" && args[1] != "hold" {
		return "", false
	}
	rel, err := filepath.Rel(filepath.Join(e.cfg.Data, "run"), args[2])
	return args[2], err == nil && !strings.HasPrefix(rel, "..") && strings.Count(rel, "/") == 1
}

// cgroups ends what runs in groups of names that have no instance.
func (s *sweep) cgroups(ctx context.Context) error {
	if s.foreign {
		s.e.cfg.Log.Error("another agent uses this cgroup too, so that nothing in it is cleared away: give each its own", "cgroup", s.e.cfg.Cgroup)
		return nil
	}
	all, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	var names []string
	for _, h := range all {
		entries, err := os.ReadDir(filepath.Join(h.Mount, s.e.cfg.Cgroup))
		if err != nil {
			continue // never made, or another hierarchy has it
		}
		for _, d := range entries {
			name, _, _ := strings.Cut(d.Name(), besideMark)
			if d.IsDir() && schema.ValidName(name) && !slices.Contains(names, d.Name()) {
				names = append(names, d.Name())
			}
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, s.cgroup(ctx, name))
	}
	return errors.Join(errs...)
}

func (s *sweep) cgroup(ctx context.Context, group string) error {
	name, _, _ := strings.Cut(group, besideMark)
	unlock, ok := s.e.tryLock(name)
	if !ok {
		return nil
	}
	defer unlock()
	path := filepath.Join(s.e.cfg.Cgroup, group)
	if s.e.uses(path) {
		return nil
	}
	g, err := cgroup.At(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, margin)
	defer cancel()
	if err := errors.Join(g.Kill(ctx), g.Remove()); err != nil {
		return err
	}
	s.note("cgroup", path)
	return nil
}

// uses tells whether any instance on disk is in a cgroup or below it. One that
// can't be read may be.
func (e *Executor) uses(path string) bool {
	dirs, err := filepath.Glob(filepath.Join(e.cfg.Data, "run", "*", "*"))
	if err != nil {
		return true
	}
	for _, d := range dirs {
		dir := instance.Dir(d)
		req, err := dir.ReadRequest()
		switch {
		case err == nil && (req.Cgroup == path || strings.HasPrefix(req.Cgroup, path+"/")):
			return true
		case err != nil && (dir.Held() || !errors.Is(err, fs.ErrNotExist)) && strings.HasPrefix(filepath.Base(path)+besideMark, filepath.Base(filepath.Dir(d))+besideMark):
			return true
		}
	}
	return false
}

// mounts takes away those that the node sees in the directories of instances that
// are not live. A shim's are in a namespace of its own, and go with it.
func (s *sweep) mounts(context.Context) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	base := filepath.Join(s.e.cfg.Data, "run") + "/"
	lines := strings.Split(string(b), "\n")
	slices.Reverse(lines) // what is mounted last goes first
	var errs []error
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		point := unescape.Replace(f[4])
		parts := strings.Split(strings.TrimPrefix(point, base), "/")
		if !strings.HasPrefix(point, base) || len(parts) < 2 {
			continue
		}
		errs = append(errs, s.mount(parts[0], instance.Dir(filepath.Join(base, parts[0], parts[1])), point))
	}
	return errors.Join(errs...)
}

func (s *sweep) mount(name string, dir instance.Dir, point string) error {
	unlock, ok := s.e.tryLock(name)
	if !ok {
		return nil
	}
	defer unlock()
	if dir.Held() {
		return nil
	}
	if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	s.note("mount", point)
	return nil
}

// unescape undoes how mountinfo writes paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// directories deletes instances that were never written to the end, or that
// another one follows, and versions that are not whole. What is there of a name
// that has no instance is made known by an empty directory: List tells it, and
// whoever doesn't want it removes it.
func (s *sweep) directories(ctx context.Context) error {
	var errs []error
	for _, sub := range []string{"run", "apps"} {
		entries, err := os.ReadDir(filepath.Join(s.e.cfg.Data, sub))
		if err != nil {
			return err
		}
		for _, d := range entries {
			if schema.ValidName(d.Name()) {
				errs = append(errs, s.directory(ctx, d.Name()))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *sweep) directory(ctx context.Context, name string) error {
	unlock, ok := s.e.tryLock(name)
	if !ok {
		return nil
	}
	defer unlock()
	latest, _ := s.e.find(name)
	entries, err := os.ReadDir(s.e.run(name))
	if errors.Is(err, fs.ErrNotExist) {
		s.note("directory", s.e.app(name))
		return os.Mkdir(s.e.run(name), 0o711)
	}
	if err != nil {
		return err
	}
	for _, d := range entries {
		dir := instance.Dir(filepath.Join(s.e.run(name), d.Name()))
		req, err := dir.ReadRequest()
		switch {
		case dir == latest.dir, dir.Held(), latest.next != nil && dir == latest.next.dir:
			continue
		case err == nil:
			// Its cgroup may be that of the latest one, too, which may be live.
			if err := s.e.drop(ctx, found{dir: dir, req: req}, latest); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrNotExist):
			continue // of another version: not ours to judge
		}
		if err := os.RemoveAll(string(dir)); err != nil {
			return err
		}
		s.note("directory", string(dir))
	}
	unfinished := s.e.versions(name).of(staging)
	if _, err := os.Lstat(unfinished); err != nil {
		return nil //nolint:nilerr // there is none
	}
	s.note("directory", unfinished)
	return os.RemoveAll(unfinished)
}

// network gives back what instances of this data directory have of the network
// that aren't live.
func (s *sweep) network(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(s.e.cfg.Bridge.StateDir(), "*.json"))
	if err != nil || len(files) == 0 {
		return err
	}
	text, err := json.Marshal(s.e.cfg.Bridge)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, margin)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.e.cfg.Shim, "sweep", string(text))
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + workload.DefaultPath}
	out, err := cmd.Output()
	for _, id := range strings.Fields(string(out)) {
		s.note("network", id)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("sweep the network: %w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

// ranges gives back the users of names that have nothing on this disk any more.
func (s *sweep) ranges(context.Context) error {
	entries, err := os.ReadDir(filepath.Join(s.e.cfg.Data, "subids"))
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range entries {
		if schema.ValidName(d.Name()) {
			errs = append(errs, s.rangeOf(d.Name()))
			continue
		}
		s.e.owners.Lock() // nobody is writing it
		err := os.Remove(s.e.rangeFile(d.Name()))
		s.e.owners.Unlock()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *sweep) rangeOf(name string) error {
	unlock, ok := s.e.tryLock(name)
	if !ok {
		return nil
	}
	defer unlock()
	for _, dir := range []string{s.e.run(name), s.e.app(name)} {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	dropped, err := s.e.dropRange(name)
	if dropped {
		s.note("range", name)
	}
	return err
}
