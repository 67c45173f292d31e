package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/schema"
)

// maxStacked bounds the mounts of one file on top of each other, on kernels that
// cannot put one beneath another.
const maxStacked = 16

// moveMountBeneath is MOVE_MOUNT_BENEATH of linux/mount.h; a variable so that
// tests can do without.
var moveMountBeneath = 0x200

// Reload replaces the files whose content differs from the former ones in the
// container of a process. Whoever opens one sees all of the old content or all of
// the new.
func Reload(j launch.Job, former []schema.File, pid int) error {
	u, err := j.FindUser(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return err
	}
	placed, err := j.ReplaceFiles(u, former, false)
	if err != nil {
		return err
	}
	for _, f := range placed {
		g := graft{from: f.Source, to: f.Path, readonly: f.ReadOnly}
		sole, err := g.swap(pid, j.Request.Instance)
		if err != nil {
			return fmt.Errorf("run.files %s: %w", f.Path, err)
		}
		if sole {
			g.forgetFormer()
		}
	}
	return nil
}

// forgetFormer deletes what was mounted in the file's place before. What is left
// goes with the instance.
func (g graft) forgetFormer() {
	number, _, _ := strings.Cut(filepath.Base(g.from), "-")
	former, _ := filepath.Glob(filepath.Join(filepath.Dir(g.from), number+"-*"))
	for _, f := range append(former, filepath.Join(filepath.Dir(g.from), number)) {
		if f != g.from {
			_ = os.Remove(f)
		}
	}
}

// swap puts a mount in the place of ours that is there: beneath it, which then
// goes, or on top of it where the kernel, older than 6.5, knows no beneath.
// sole tells that it is the only one now.
func (g graft) swap(pid int, instance string) (sole bool, err error) {
	tree, err := g.tree()
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(tree) }()
	below := stacked(pid, g.to, instance)
	err = inside(pid, 0, func() error {
		const flags = unix.MOVE_MOUNT_F_EMPTY_PATH
		err := unix.MoveMount(tree, "", unix.AT_FDCWD, g.to, flags|moveMountBeneath)
		if err == nil {
			sole = true
			return unix.Unmount(g.to, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		if !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("mount beneath what is there: %w", err)
		}
		if below >= maxStacked {
			return fmt.Errorf("replaced %d times in this container: it takes a restart", below)
		}
		return unix.MoveMount(tree, "", unix.AT_FDCWD, g.to, flags)
	})
	return sole && err == nil, err
}

// stacked counts the mounts at a path of a container that are files of an instance.
func stacked(pid int, path, instance string) (n int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 4 && unescape.Replace(f[4]) == path && strings.Contains(f[3], "/"+instance+"/files/") {
			n++
		}
	}
	return n
}

// unescape undoes how mountinfo writes paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
