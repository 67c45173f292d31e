package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
)

// What a container keeps on disk belongs to users of the node that are counted from
// a base: 0 where they are the node's own users, else the start of the range that
// the application had when the directory was made. The base is noted on the
// directory, so that it is known whatever moves it, and whatever users the
// application has later. Every user inside is the same one then.

// Base is the number that the owners of what is in a directory are counted from.
func Base(dir string) (uint32, error) {
	b := make([]byte, 16)
	n, err := unix.Getxattr(dir, workload.BaseAttr, b)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return 0, nil
	}
	if err != nil {
		return 0, &os.PathError{Op: "getxattr", Path: dir, Err: err}
	}
	base, err := strconv.ParseUint(string(b[:n]), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w", workload.BaseAttr, dir, err)
	}
	return uint32(base), nil
}

// SetBase notes the base of a directory.
func SetBase(dir string, base uint32) error {
	if has, err := Base(dir); err != nil || has == base {
		return err
	}
	err := unix.Setxattr(dir, workload.BaseAttr, []byte(strconv.FormatUint(uint64(base), 10)), 0)
	if err != nil {
		return &os.PathError{Op: "setxattr", Path: dir, Err: err}
	}
	return nil
}

// Start is the user of the node that is the user 0 of the container; 0 if that is
// the node's.
func (j Job) Start() uint32 {
	if j.Request.Range == nil {
		return 0
	}
	return j.Request.Range.Start
}

// From is a user of a container on the node, where its users begin at a base.
func (u User) From(base uint32) User {
	u.UID, u.GID = from(base, u.UID), from(base, u.GID)
	return u
}

func from(base uint32, id int) int {
	if id >= workload.RangeSize {
		return id // only who has the node's own users can be that
	}
	return int(base) + id
}

// checkRange refuses who is not among the users that the container has.
func (j Job) checkRange(u User) error {
	if j.Request.Range == nil {
		return nil
	}
	for _, id := range append([]int{u.UID, u.GID}, u.Groups...) {
		if id >= int(j.Request.Range.Count) {
			return fmt.Errorf("%w: run.user %q is or has %d; with run.userNamespace auto there are 0 to %d",
				workload.ErrInvalid, j.Request.Spec.User, id, j.Request.Range.Count-1)
		}
	}
	return nil
}

// FindUser looks the user of the workload up in a tree.
func (j Job) FindUser(root string) (User, error) {
	u, err := FindUser(root, j.Request.Spec.User)
	if err != nil {
		return u, err
	}
	return u, j.checkRange(u)
}

// MakeOwned makes a directory of the user's, whole or not at all, whose owners are
// counted from where the container's users begin.
func (j Job) MakeOwned(dir string, u User) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	err := j.own(dir, u)
	if err != nil {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}

func (j Job) own(dir string, u User) error {
	if err := SetBase(dir, j.Start()); err != nil {
		return err
	}
	u = u.From(j.Start())
	return os.Chown(dir, u.UID, u.GID)
}

// PrepareData makes the directory that survives updates, owned by the user.
func (j Job) PrepareData(u User) error {
	dir := j.Request.Data
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	base, err := Base(dir)
	if err != nil {
		return err
	}
	if base != j.Start() && j.Request.Spec.Former == "" { // else somebody has it open
		if empty, err := isEmpty(dir); err != nil {
			return err
		} else if empty {
			base = j.Start()
			if err := SetBase(dir, base); err != nil {
				return err
			}
		}
	}
	u = u.From(base)
	return os.Chown(dir, u.UID, u.GID)
}

func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return len(names) == 0, err
}

// Rebase gives what is in a directory to the users of the node themselves, for a
// process of the host, who can't be shown other owners. What was given already, by
// a start that was cut off, stays as it is.
func Rebase(dir string) error {
	base, err := Base(dir)
	if err != nil || base == 0 {
		return err
	}
	tree, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	err = fs.WalkDir(tree.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := tree.Lstat(path)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		uid, gid := back(base, st.Uid), back(base, st.Gid)
		if uid == st.Uid && gid == st.Gid {
			return nil
		}
		// This takes the bits away by which a program runs as its owner: nobody inside
		// was to make any that run as a user of the node.
		return tree.Lchown(path, int(uid), int(gid))
	})
	if err != nil {
		return fmt.Errorf("give the data of the former container to users of the node: %w", err)
	}
	return SetBase(dir, 0)
}

func back(base, id uint32) uint32 {
	if id < base || id-base >= workload.RangeSize {
		return id
	}
	return id - base
}
