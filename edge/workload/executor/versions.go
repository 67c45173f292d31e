package executor

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// A host application runs from a version directory of its own, so that what runs,
// and what it would go back to, stay on this disk whatever becomes of the
// component they came from:
//
//	DATA/apps/NAME/versions/DIGEST/   one version, by the digest of the component
//	DATA/apps/NAME/current            link to the version that was started last
//	DATA/apps/NAME/good               link to the last one that proved itself
//
// Every change is a rename, and what a start that was cut off left over the next
// one clears away, so that it may end anywhere.
type versions string

// goodAfter is how long an instance must have run for its version to be one to go
// back to. One that ended by itself as it should counts as well.
const goodAfter = 10 * time.Second

func (e *Executor) versions(name string) versions { return versions(e.app(name)) }

func (v versions) dir() string             { return filepath.Join(string(v), "versions") }
func (v versions) of(key string) string    { return filepath.Join(v.dir(), key) }
func (v versions) link(name string) string { return filepath.Join(string(v), name) }

// The names of the links, and of a version that isn't complete.
const (
	current = "current"
	good    = "good"
	staging = ".staging"
)

// versionKey names the directory of a version.
func versionKey(digest string) (string, error) {
	_, sum, ok := strings.Cut(digest, ":")
	if _, err := hex.DecodeString(sum); !ok || err != nil || len(sum) < 16 {
		return "", fmt.Errorf("%w: digest %q of the component", workload.ErrInvalid, digest)
	}
	return sum[:16], nil
}

// stage makes a version of a component's root appear whole, and makes it the
// current one. It returns where it is. Those that run stay, too.
func (v versions) stage(digest, root string, runs ...string) (string, error) {
	key, err := versionKey(digest)
	if err != nil {
		return "", err
	}
	at, unfinished := v.of(key), v.of(staging)
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(v.dir(), 0o711); err != nil {
			return "", err
		}
		if err := linkTree(root, unfinished); err != nil {
			return "", fmt.Errorf("copy the component: %w", err)
		}
		if err := failpoint.Hit(failpoint.VersionStaged); err != nil {
			return "", err
		}
		if err := os.Rename(unfinished, at); err != nil {
			return "", err
		}
		if err := instance.SyncDir(v.dir()); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	if err := failpoint.Hit(failpoint.VersionKept); err != nil {
		return "", err
	}
	if err := v.point(current, key); err != nil {
		return "", err
	}
	return at, errors.Join(failpoint.Hit(failpoint.VersionSwitched), v.prune(runs...))
}

// point makes a link lead to a version, at once or not at all.
func (v versions) point(link, key string) error {
	if v.target(link) == key {
		return nil
	}
	fresh := v.link("." + link)
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Join("versions", key), fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, v.link(link)); err != nil {
		return err
	}
	return instance.SyncDir(string(v))
}

// target is the version that a link leads to; "" if there is none.
func (v versions) target(link string) string {
	to, err := os.Readlink(v.link(link))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// prune deletes the versions that no link leads to, but for those that run.
func (v versions) prune(runs ...string) error {
	entries, err := os.ReadDir(v.dir())
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range entries {
		if d.Name() != v.target(current) && d.Name() != v.target(good) && !slices.Contains(runs, d.Name()) {
			errs = append(errs, os.RemoveAll(v.of(d.Name())))
		}
	}
	return errors.Join(errs...)
}

// judge notes that the version of an instance proved itself, if it did. It comes
// before the instance is deleted, and so for another one to start.
func (e *Executor) judge(f found, st workload.Status) error {
	s := f.req.Spec
	if s.Mode != schema.ModeHost || s.Digest == "" || st.StartedAt.IsZero() {
		return nil
	}
	key, err := versionKey(s.Digest)
	if err != nil {
		return nil //nolint:nilerr // of an agent that named versions otherwise
	}
	v := e.versions(s.Name)
	end := st.ExitedAt
	if st.State.Live() {
		end = time.Now()
	}
	proven := end.Sub(st.StartedAt) >= goodAfter || st.State == workload.Exited && st.ExitCode == 0
	if _, err := os.Lstat(v.of(key)); err != nil || !proven {
		return nil //nolint:nilerr // nothing to go back to
	}
	return v.point(good, key)
}

// giveBack makes the version that proved itself the current one again, after one
// that could not be started.
func (v versions) giveBack() error {
	key := v.target(good)
	if key == "" {
		return nil
	}
	if _, err := os.Stat(v.of(key)); err != nil {
		return err
	}
	return v.point(current, key)
}

// linkTree makes a tree of directories whose files are those of another: the same
// ones where the file system can, copies elsewhere. Components are never written
// to, and so it doesn't matter which.
func linkTree(from, to string) error {
	src, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	type made struct {
		path string
		mode fs.FileMode
	}
	var dirs []made
	err = fs.WalkDir(src.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		at := filepath.Join(to, path)
		switch {
		case d.IsDir():
			dirs = append(dirs, made{at, info.Mode().Perm()})
			if err := os.Mkdir(at, 0o700); err != nil {
				return err
			}
			return chownLike(at, info)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := src.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, at)
		case !d.Type().IsRegular():
			return nil // a component has no devices or sockets to run from
		}
		if os.Link(filepath.Join(from, path), at) == nil {
			return nil
		}
		return copyFile(src, path, at, info)
	})
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- { // what is within a directory is there now
		if err := errors.Join(os.Chmod(dirs[i].path, dirs[i].mode), instance.SyncDir(dirs[i].path)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(src *os.Root, path, at string, info fs.FileInfo) error {
	in, err := src.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Sync(), out.Close(), chownLike(at, info))
	if err != nil {
		return err
	}
	return os.Chmod(at, info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid))
}

func chownLike(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return os.Lchown(path, int(st.Uid), int(st.Gid))
	}
	return nil
}
