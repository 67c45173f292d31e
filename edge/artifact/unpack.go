package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// unpacker writes tar archives over each other into a tree. Every path is
// resolved inside the tree by the kernel, component by component, with links
// taken as they are meant in the tree; the last component is never followed.
type unpacker struct {
	root      *os.File
	whiteouts bool // entries .wh.* delete what earlier archives brought

	bytesLeft   int64
	entriesLeft int
	cfg         Config
	ours        map[string]bool // paths of this archive; those with true it brought, which its own opaque mark spares
	privileged  bool
}

func newUnpacker(root string, cfg Config) (*unpacker, error) {
	d, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	if cfg.Care == nil {
		cfg.Care = careless{}
	}
	return &unpacker{root: d, cfg: cfg, bytesLeft: cfg.MaxBytes, entriesLeft: cfg.MaxEntries, privileged: os.Geteuid() == 0}, nil
}

func (u *unpacker) close() { u.root.Close() }

// apply unpacks one archive.
func (u *unpacker) apply(ctx context.Context, r io.Reader) error {
	u.ours = map[string]bool{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("%w: no whole tar archive: %w", ErrFormat, err)
		case err != nil:
			return damaged(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if u.entriesLeft--; u.entriesLeft < 0 {
			return fmt.Errorf("%w: more than %d entries", ErrTooLarge, u.cfg.MaxEntries)
		}
		if err := u.entry(h, t); err != nil {
			return fmt.Errorf("%q: %w", h.Name, damaged(err))
		}
	}
}

// clean turns an archive's name into one relative to the tree: "." is the tree.
func clean(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: it climbs out of its directory", ErrUnsafePath)
		}
	}
	if strings.ContainsRune(name, 0) || len(name) > unix.PathMax {
		return "", fmt.Errorf("%w: no valid name", ErrUnsafePath)
	}
	return path.Clean(strings.TrimLeft("./"+strings.TrimLeft(name, "/"), "/")), nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return fmt.Errorf("%w: the tree itself must be a directory", ErrUnsafePath)
		}
		return u.finish(u.root, ".", h)
	}
	base := path.Base(name)
	if err := u.count(path.Dir(name)); err != nil {
		return err
	}
	parent, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	if u.whiteouts && strings.HasPrefix(base, whiteout) {
		return u.whiteout(parent, path.Dir(name), base)
	}
	for p := name; p != "." && !u.ours[p]; p = path.Dir(p) {
		u.ours[p] = true
	}
	if err := makeRoom(parent, base, h.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	if err := u.create(parent, base, h, content); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return nil // shares what the other name has
	}
	return u.finish(parent, base, h)
}

// count takes directories that an entry implies for entries.
func (u *unpacker) count(dir string) error {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, counted := u.ours[dir]; counted {
			return nil
		}
		if u.entriesLeft--; u.entriesLeft < 0 {
			return fmt.Errorf("%w: more than %d entries with the directories they are in", ErrTooLarge, u.cfg.MaxEntries)
		}
		u.ours[dir] = false
	}
	return nil
}

// parent opens a directory of the tree, making what is missing.
func (u *unpacker) parent(dir string) (*os.File, error) {
	d, err := pathrs.MkdirAllHandle(u.root, dir, 0o755)
	if err != nil {
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("%w: %s is no directory of the tree: %w", ErrUnsafePath, dir, err)
		}
		return nil, err
	}
	return d, nil
}

// makeRoom deletes what has the name already; a directory stays for a directory.
func makeRoom(parent *os.File, base string, forDir bool) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(parent.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR && forDir {
		return nil
	}
	return removeAll(parent, base)
}

// removeAll deletes an entry of an open directory with all below it.
func removeAll(parent *os.File, base string) error {
	return os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", parent.Fd(), base))
}

func (u *unpacker) create(parent *os.File, base string, h *tar.Header, content io.Reader) error {
	fd := int(parent.Fd())
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(fd, base, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		return nil
	case tar.TypeReg, tar.TypeRegA: //nolint:staticcheck // old archives have it
		return u.writeFile(fd, base, h.Size, content)
	case tar.TypeSymlink:
		return unix.Symlinkat(h.Linkname, fd, base)
	case tar.TypeLink:
		return u.link(fd, base, h.Linkname)
	case tar.TypeFifo:
		return unix.Mknodat(fd, base, unix.S_IFIFO|0o600, 0)
	case tar.TypeChar, tar.TypeBlock:
		kind := uint32(unix.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		err := unix.Mknodat(fd, base, kind|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
		if errors.Is(err, unix.EPERM) && !u.privileged {
			return unix.Mknodat(fd, base, unix.S_IFREG|0o600, 0) // stands for what only root can make
		}
		return err
	default:
		return fmt.Errorf("%w: entry of unknown type %q", ErrFormat, h.Typeflag)
	}
}

func (u *unpacker) writeFile(parent int, base string, size int64, content io.Reader) error {
	if size > u.bytesLeft {
		return fmt.Errorf("%w: more than %d bytes unpacked", ErrTooLarge, u.cfg.MaxBytes)
	}
	if err := u.fits(size); err != nil {
		return err
	}
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	n, err := io.Copy(f, content)
	u.bytesLeft -= n
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// link makes a second name for a file of the tree. Links to anything else could
// give a later entry a way out.
func (u *unpacker) link(parent int, base, target string) error {
	to, err := clean(target)
	if err != nil {
		return err
	}
	dir, err := u.open(path.Dir(to))
	if err != nil {
		return fmt.Errorf("%w: link to %q: %w", ErrUnsafePath, target, err)
	}
	defer dir.Close()
	err = unix.Linkat(int(dir.Fd()), path.Base(to), parent, base, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: link to %q: %w", ErrFormat, target, err)
	}
	return err
}

func (u *unpacker) open(dir string) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(u.root, dir)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return pathrs.Reopen(h, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
}

// finish sets owner, permissions, capabilities and time. Owner comes first: a
// change of owner clears set-user-id bits and capabilities.
func (u *unpacker) finish(parent *os.File, base string, h *tar.Header) error {
	fd := int(parent.Fd())
	if u.privileged {
		if err := unix.Fchownat(fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("set owner %d:%d: %w", h.Uid, h.Gid, err)
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(fd, base, uint32(h.Mode)&0o7777, 0); err != nil {
			return err
		}
		if c, ok := h.PAXRecords["SCHILY.xattr.security.capability"]; ok && u.privileged {
			if err := setCapability(fd, base, c); err != nil {
				return err
			}
		}
	}
	when := unix.NsecToTimespec(max(0, h.ModTime.UnixNano()))
	if h.ModTime.Before(time.Unix(0, 0)) {
		when = unix.Timespec{}
	}
	return unix.UtimesNanoAt(fd, base, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
}

func setCapability(parent int, base, value string) error {
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Fsetxattr(fd, "security.capability", []byte(value), 0); err != nil {
		return fmt.Errorf("%w: file capability: %w", ErrFormat, err)
	}
	return nil
}
