package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/idmap"
	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload"
)

// mapping is how a container of its own users sees the node's; nil without.
func mapping(j launch.Job) []configs.IDMap {
	r := j.Request.Range
	if r == nil {
		return nil
	}
	return []configs.IDMap{{ContainerID: 0, HostID: int64(r.Start), Size: int64(r.Count)}}
}

// shown is the map by which the container sees the owners that a tree has on disk,
// counted from a base, as its own users; nil if it does so without. others are
// further ones with a place in it.
func shown(j launch.Job, base uint32, others ...idmap.Extent) (*idmap.Map, error) {
	start := j.Start()
	if base == start {
		return nil, nil
	}
	extents := []idmap.Extent{{Disk: base, Shown: start, Count: workload.RangeSize}}
	if start == 0 { // where every user of the node may be
		end := base + workload.RangeSize
		extents = append(extents,
			idmap.Extent{Disk: workload.RangeSize, Shown: workload.RangeSize, Count: base - workload.RangeSize},
			idmap.Extent{Disk: end, Shown: end, Count: ^uint32(0) - end})
	}
	m, err := idmap.New(append(extents, others...)...)
	return m, unmapped(err)
}

// unmapped says what it means that owners can't be mapped.
func unmapped(err error) error {
	if !errors.Is(err, idmap.ErrMount) && !errors.Is(err, idmap.ErrNamespace) {
		return err
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	return fmt.Errorf("%w: run.userNamespace auto takes Linux 5.19 and, for components and data, a file system such as ext4, xfs or btrfs; this is %s: %w",
		workload.ErrUnsupported, unix.ByteSliceToString(u.Release[:]), err)
}

// makeLayer makes the directories of the writable layer, if there are none yet, and
// returns the base of its owners.
func makeLayer(j launch.Job) (base uint32, err error) {
	r := j.Request
	own := filepath.Dir(r.Upper)
	if _, err := os.Lstat(r.Upper); errors.Is(err, os.ErrNotExist) {
		// Its root is that of the container, and belongs to the root there.
		fresh := filepath.Join(own, ".upper")
		if err := os.MkdirAll(own, 0o711); err != nil {
			return 0, err
		}
		if err := launch.SetBase(own, j.Start()); err != nil {
			return 0, err
		}
		if err := os.Mkdir(fresh, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return 0, err
		}
		root := launch.User{}.From(j.Start())
		if err := errors.Join(os.Chown(fresh, root.UID, root.GID), os.Rename(fresh, r.Upper)); err != nil {
			return 0, err
		}
	} else if err != nil {
		return 0, err
	}
	if base, err = launch.Base(own); err != nil {
		return 0, err
	}
	return base, makeWork(r.Work, launch.User{}.From(base))
}

// makeWork makes the directory that overlayfs has for itself, which belongs to the
// root of the container like all of the layer: it is shown by the same map. What is
// in it lasts as long as the mount; one that is somebody else's is made anew.
func makeWork(dir string, root launch.User) error {
	var st unix.Stat_t
	err := unix.Lstat(dir, &st)
	if err == nil && int(st.Uid) == root.UID && int(st.Gid) == root.GID {
		return nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		return err
	}
	return os.Chown(dir, root.UID, root.GID)
}

// rootsOwn are the whiteouts that overlayfs has made in a layer as the node's root,
// as it did for earlier versions of this program. They are shown as somebody whom
// nobody else is: without an owner they could not be replaced.
func rootsOwn(j launch.Job, base uint32) []idmap.Extent {
	switch {
	case base == 0:
		return nil
	case j.Start() == 0: // where the layer's range is shown as the node's users
		return []idmap.Extent{{Disk: 0, Shown: base, Count: 1}}
	default:
		return []idmap.Extent{{Disk: 0, Shown: 0, Count: 1}}
	}
}

// asShown calls fn while the component, and the writable layer, whose owners are
// counted from base, are seen as the container shall see them, by a thread whom
// both have a place for, and who is what overlayfs makes its own files as.
func asShown(j launch.Job, base uint32, fn func() error) (err error) {
	over := func(path string, base uint32) error {
		m, err := shown(j, base, rootsOwn(j, base)...)
		if err != nil || m == nil {
			return err
		}
		defer m.Close()
		if err := m.Cover(path); err != nil {
			return unmapped(err)
		}
		inner := fn
		fn = func() error { return errors.Join(inner(), idmap.Uncover(path)) }
		return nil
	}
	if err := errors.Join(over(j.Request.Spec.Root, 0), over(filepath.Dir(j.Request.Upper), base)); err != nil {
		return err
	}
	return as(j.Start(), fn)
}

// as calls fn on a thread of its own, which may do all that this process may, and
// what it makes belongs to a user of the node and the group of the same number.
func as(owner uint32, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and ends with it
		if err := become(owner); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// become makes what the calling thread makes belong to somebody. To do without root
// there takes its capabilities away, which are taken up again.
func become(owner uint32) error {
	if owner == 0 {
		return nil
	}
	if err := errors.Join(unix.Setfsgid(int(owner)), unix.Setfsuid(int(owner))); err != nil {
		return fmt.Errorf("make files for user %d: %w", owner, err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	return unix.Capset(&header, &data[0])
}

// rootPlace is a directory of the node that everybody can go to. Each shim has a
// root of its own there, in its own mount namespace.
const rootPlace = "/run/gnomon-root"

// reachable mounts a root file system where a user without rights on the node can
// get to it, as it can't to one below a directory of the agent's alone.
func reachable(root string) (string, error) {
	if err := os.MkdirAll(rootPlace, 0o711); err != nil {
		return "", err
	}
	if err := unix.Mount(root, rootPlace, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("mount root file system at %s: %w", rootPlace, err)
	}
	return rootPlace, nil
}

// plantSystem makes the system mounts those of a container with users of its own,
// which the kernel makes it only where nothing is hidden of the node's: so that
// whatever is mounted over parts of the node's, there is one that is whole. A /sys of
// the node's network it is shown, since that isn't its.
func plantSystem(j launch.Job, all []*configs.Mount) error {
	for _, kind := range []struct {
		name  string
		flags uintptr
	}{{"proc", noExec}, {"sysfs", noExec | unix.MS_RDONLY}} {
		dir := filepath.Join(string(j.Dir), kind.name)
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
		// In this process' own mount namespace, with which it goes.
		if err := unix.Mount(kind.name, dir, kind.name, kind.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", kind.name, err)
		}
		for _, m := range all {
			if m.Device == kind.name && kind.name == "sysfs" && j.Request.Bridge == nil {
				m.Device, m.Source, m.Flags = "bind", dir, m.Flags|unix.MS_BIND
			}
		}
	}
	return nil
}

// plantDevices makes the nodes of devices, which a container with users of its own
// can't, where it can be shown them.
func plantDevices(j launch.Job, nodes []*devices.Device) ([]*configs.Mount, error) {
	dir := filepath.Join(string(j.Dir), "devices")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=711,size=64k"); err != nil {
		return nil, fmt.Errorf("make room for devices: %w", err)
	}
	mounts := make([]*configs.Mount, 0, len(nodes))
	for i, d := range nodes {
		path := filepath.Join(dir, strconv.Itoa(i))
		kind := uint32(unix.S_IFCHR)
		if d.Type == devices.BlockDevice {
			kind = unix.S_IFBLK
		}
		owner := launch.User{UID: int(d.Uid), GID: int(d.Gid)}.From(j.Start())
		err := unix.Mknod(path, kind|0o600, int(unix.Mkdev(uint32(d.Major), uint32(d.Minor))))
		if err := errors.Join(err, os.Chown(path, owner.UID, owner.GID), os.Chmod(path, d.FileMode)); err != nil {
			return nil, fmt.Errorf("make device %s: %w", d.Path, err)
		}
		mounts = append(mounts, &configs.Mount{Device: "bind", Source: path, Destination: d.Path, Flags: unix.MS_BIND})
	}
	return mounts, nil
}
