package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/idmap"
	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
)

// Attach starts a process in the container of another application. It shares
// everything with that container but its cgroup, which is a child of the
// container's with limits of its own.
func Attach(j launch.Job) (s launch.Started, err error) {
	r := j.Request
	root, id := stateOf(r.TargetDir)
	c, err := libcontainer.Load(root, id)
	if errors.Is(err, libcontainer.ErrNotExist) {
		return s, fmt.Errorf("%w: %s", workload.ErrTarget, r.Spec.Target)
	}
	if err != nil {
		return s, fmt.Errorf("load container of %s: %w", r.Spec.Target, err)
	}
	u, err := j.FindUser(fmt.Sprintf("/proc/%d/root", r.TargetPID))
	if err != nil {
		return s, err
	}
	files, err := j.PlaceFiles(u, false)
	if err != nil {
		return s, err
	}
	w := launch.Where{Data: dataMount}
	if r.Spec.Root != "" {
		w.Root = Opt(r.Spec.Name)
	}
	grafts, err := graftsOf(j, files)
	if err != nil {
		return s, err
	}
	target, err := containerOf(j)
	if err != nil {
		return s, err
	}
	if target.Request.Spec.ReadOnly {
		err := as(j.Start(), func() error { return makePoints(instance.Dir(r.TargetDir), grafts) })
		if err != nil {
			return s, err
		}
	}
	if err := errors.Join(plant(r.TargetPID, j.Start(), grafts), failpoint.Hit(failpoint.ShimPlanted)); err != nil {
		return s, err
	}
	g, err := cgroup.At(r.Cgroup)
	if err != nil {
		return s, err
	}
	if err := g.Create(j.SetupLimits()); err != nil {
		return s, err
	}
	leave, err := widen(context.Background(), target, target) // its own are as wide as it takes
	if err != nil {
		return s, err
	}
	defer leave()
	p := process(j, u, w)
	// One name below the container's cgroup, in every hierarchy.
	p.SubCgroupPaths = map[string]string{"": filepath.Base(r.Cgroup)}
	st, err := staged(p, j, target.Request.Spec)
	if err != nil {
		return s, err
	}
	defer st.Close()
	if err := c.Run(p); err != nil {
		Detach(r)
		return s, classify(fmt.Errorf("start in container of %s: %w", r.Spec.Target, err))
	}
	if err := await(st, j); err != nil {
		Detach(r)
		return s, err
	}
	s.PID, err = p.Pid()
	return s, errors.Join(err, j.Settle())
}

// graftsOf are the component and the files of an attached application.
func graftsOf(j launch.Job, files []launch.Placed) (all []graft, err error) {
	if s := j.Request.Spec; s.Root != "" {
		m, err := shown(j, 0)
		if err != nil {
			return nil, err
		}
		// Beside another instance there is one already, of the same component, and each takes away one.
		sole := s.Former == ""
		all = append(all, graft{from: s.Root, to: Opt(s.Name), dir: true, readonly: true, sole: sole, owners: m})
	}
	for _, f := range files {
		all = append(all, graft{from: f.Source, to: f.Path, dir: f.Dir, readonly: f.ReadOnly})
	}
	return all, nil
}

// Opt is where the target's container sees the component of an attached
// application.
func Opt(name string) string { return "/opt/" + name }

// Detach takes what Attach mounted out of the container, if that still runs.
func Detach(r instance.Request) {
	points := map[string]int{} // with how many mounts there are of ours
	if r.Spec.Root != "" {
		points[Opt(r.Spec.Name)] = 1
	}
	for _, f := range r.Spec.Files {
		points[f.Path] = max(1, stacked(r.TargetPID, f.Path, r.Instance))
	}
	if len(points) == 0 {
		return
	}
	_ = inside(r.TargetPID, 0, func() error {
		for p, n := range points {
			for range n {
				_ = unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			}
		}
		return nil
	})
}

// graft is a directory or file of the node made visible in a running container.
type graft struct {
	from, to string
	dir      bool
	readonly bool
	sole     bool // what is mounted at to is ours, left by a shim that was killed
	owners   *idmap.Map
}

// plant mounts into the mount namespace of a process without restarting it. What
// has to be made for that belongs to the root of the container.
func plant(pid int, root uint32, grafts []graft) error {
	if len(grafts) == 0 {
		return nil
	}
	trees := make([]int, len(grafts))
	for i, g := range grafts {
		fd, err := g.tree()
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		trees[i] = fd
	}
	return inside(pid, root, func() error {
		for i, g := range grafts {
			if err := g.mountpoint(); err != nil {
				return fmt.Errorf("make mount point %s in the container: %w", g.to, err)
			}
			if err := unix.MoveMount(trees[i], "", unix.AT_FDCWD, g.to, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
				return fmt.Errorf("mount at %s in the container: %w", g.to, err)
			}
		}
		return nil
	})
}

// tree is a detached mount of what is to be made visible.
func (g graft) tree() (fd int, err error) {
	fd, err = unix.OpenTree(unix.AT_FDCWD, g.from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("clone mount of %s: %w", g.from, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if g.readonly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("restrict mount of %s: %w", g.from, err)
	}
	if g.owners == nil {
		return fd, nil
	}
	if err := g.owners.Apply(fd, g.from); err != nil {
		_ = unix.Close(fd)
		return -1, unmapped(err)
	}
	return fd, nil
}

// makePoints makes mount points in a container whose root is read-only for all
// but its shim.
func makePoints(target instance.Dir, grafts []graft) error {
	fd, pid, ok := target.Shim()
	if !ok {
		return fmt.Errorf("%w: its shim is gone", workload.ErrTarget)
	}
	defer func() { _ = unix.Close(fd) }()
	tree, err := os.OpenRoot(filepath.Join("/proc", strconv.Itoa(pid), "root", target.Rootfs()))
	if err != nil {
		return err
	}
	defer tree.Close()
	for _, g := range grafts {
		name, dir := strings.TrimPrefix(g.to, "/"), filepath.Dir(g.to)
		if g.dir {
			dir = g.to
		}
		if err := tree.MkdirAll(strings.TrimPrefix(dir, "/"), 0o755); err != nil && dir != "/" {
			return fmt.Errorf("make mount point %s in the container: %w", g.to, err)
		}
		if g.dir {
			continue
		}
		f, err := tree.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o644)
		if err != nil {
			return fmt.Errorf("make mount point %s in the container: %w", g.to, err)
		}
		f.Close()
	}
	return nil
}

func (g graft) mountpoint() error {
	if g.sole {
		_ = unix.Unmount(g.to, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if g.dir {
		return os.MkdirAll(g.to, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(g.to), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(g.to, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// inside runs fn with the root and mounts of another process, on a thread that
// ends with it. What it makes belongs to a user of the node.
func inside(pid int, owner uint32, fn func() error) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		// A thread that shares its root with others cannot change namespaces.
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
		}
		if err != nil {
			done <- fmt.Errorf("enter mount namespace of process %d: %w", pid, err)
			return
		}
		if err := become(owner); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}
