package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/idmap"
	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/schema"
)

// ownMounts are those of this application: its data, volumes and files, and what
// it may write to when its root is read-only. One within another comes after it.
func ownMounts(j launch.Job, u launch.User, files []launch.Placed) ([]*configs.Mount, error) {
	s := j.Request.Spec
	data, err := keptMount(j, j.Request.Data, dataMount)
	if err != nil {
		return nil, err
	}
	volumes, err := volumeMounts(j, u)
	if err != nil {
		return nil, err
	}
	mounts := append([]*configs.Mount{data}, volumes...)
	if s.ReadOnly {
		for _, path := range []string{"/tmp", "/run", "/var/tmp"} {
			if !slices.ContainsFunc(volumes, func(m *configs.Mount) bool { return m.Destination == path }) {
				mounts = append(mounts, memory(path, scratch))
			}
		}
	}
	slices.SortStableFunc(mounts, func(a, b *configs.Mount) int { return strings.Compare(a.Destination, b.Destination) })
	for _, f := range files {
		flags := unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV
		if f.ReadOnly {
			flags |= unix.MS_RDONLY
		}
		mounts = append(mounts, &configs.Mount{Device: "bind", Source: f.Source, Destination: f.Path, Flags: flags})
	}
	zone, err := zoneMount(s.Timezone, files)
	return append(mounts, zone...), err
}

// scratch bounds each of the directories in memory of a read-only container.
const scratch = 16 << 20

// memory is a directory in memory, which counts as the container's.
func memory(path string, size schema.Bytes) *configs.Mount {
	return &configs.Mount{Device: "tmpfs", Source: "tmpfs", Destination: path, Flags: unix.MS_NOSUID | unix.MS_NODEV,
		Data: fmt.Sprintf("mode=1777,size=%d", size)}
}

func volumeMounts(j launch.Job, u launch.User) ([]*configs.Mount, error) {
	var mounts []*configs.Mount
	for _, v := range j.Request.Spec.Volumes {
		if v.Kind == schema.VolumeTemporary {
			mounts = append(mounts, memory(v.Path, v.Size))
			continue
		}
		dir, err := volume(j, v, u)
		if err != nil {
			return nil, fmt.Errorf("run.volumes %s: %w", v.Name, err)
		}
		m, err := keptMount(j, dir, v.Path)
		if err != nil {
			return nil, fmt.Errorf("run.volumes %s: %w", v.Name, err)
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// used are maps that libcontainer is yet to open by their paths. They go when the
// program is replaced.
var used []*idmap.Map

// keptMount shows the container a directory that outlives it.
func keptMount(j launch.Job, dir, path string) (*configs.Mount, error) {
	mount := &configs.Mount{Device: "bind", Source: dir, Destination: path, Flags: unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV}
	base, err := launch.Base(dir)
	if err != nil {
		return nil, err
	}
	m, err := shown(j, base)
	if err != nil || m == nil {
		return mount, err
	}
	used = append(used, m)
	mount.IDMapping = &configs.MountIDMapping{UserNSPath: m.Path()}
	return mount, nil
}

// volume makes a lasting volume, which belongs to the user of the program, or
// finds the one there is, also where another Keep has put it.
func volume(j launch.Job, v schema.Volume, u launch.User) (string, error) {
	here, there := filepath.Join(j.Request.Volumes, v.Name), filepath.Join(j.Request.Kept, v.Name)
	if v.Keep {
		here, there = there, here
	}
	if err := os.MkdirAll(filepath.Dir(here), 0o711); err != nil {
		return "", err
	}
	_, err := os.Lstat(here)
	if err == nil {
		return here, nil
	}
	if err = os.Rename(there, here); err == nil {
		return here, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	// No volume is called so: what a start that was cut off has left is nobody's.
	fresh := filepath.Join(filepath.Dir(here), ".new")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := j.MakeOwned(fresh, u); err != nil {
		return "", err
	}
	return here, os.Rename(fresh, here)
}

// zoneMount shows the node's table where programs look for theirs.
func zoneMount(zone string, files []launch.Placed) ([]*configs.Mount, error) {
	const path = "/etc/localtime"
	if zone == "" || given(files, path) {
		return nil, nil
	}
	source, err := launch.FindZone(zone)
	if err != nil {
		return nil, err
	}
	return []*configs.Mount{{Device: "bind", Source: source, Destination: path, Flags: unix.MS_BIND | unix.MS_RDONLY | noExec}}, nil
}
