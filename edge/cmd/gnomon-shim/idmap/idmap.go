// Package idmap makes mounts that show the files of a tree as belonging to others
// than they do on disk. It changes nothing on disk, whatever the size of the tree.
//
// What is made through such a mount is on disk as its owner is shown: both ways the
// same. Whoever has no place in the map can make nothing there.
package idmap

// #include <stdlib.h>
// #include "idmap.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Extent says that Count users and groups from Disk are shown as those from Shown.
type Extent struct{ Disk, Shown, Count uint32 }

// Documented failures.
var (
	// ErrNamespace: the node allows no further user namespace.
	ErrNamespace = errors.New("this node allows no user namespaces: see user.max_user_namespaces")
	// ErrMount: the kernel or the file system knows no such mounts.
	ErrMount = errors.New("no mounts with other owners here")
)

// Map is a map in the kernel.
type Map struct{ namespace *os.File }

var one sync.Mutex // the C function has one stack

// New makes a map.
func New(extents ...Extent) (*Map, error) {
	var b strings.Builder
	for _, e := range extents {
		fmt.Fprintf(&b, "%d %d %d\n", e.Disk, e.Shown, e.Count)
	}
	text := C.CString(b.String())
	defer C.free(unsafe.Pointer(text))
	one.Lock()
	defer one.Unlock()
	var fd C.int
	switch errno := unix.Errno(-C.gnomon_user_namespace(text, &fd)); errno { //nolint:gosec // an errno is small
	case 0:
		return &Map{os.NewFile(uintptr(fd), "user namespace")}, nil
	case unix.ENOSPC, unix.EUSERS, unix.EPERM, unix.EINVAL:
		return nil, fmt.Errorf("%w (%s)", ErrNamespace, errno.Error()) // its errno would be taken for the disk's
	default:
		return nil, fmt.Errorf("make a user namespace: %w", errno)
	}
}

// Path is where this process, and no other, finds the namespace of the map.
func (m *Map) Path() string { return fmt.Sprintf("/proc/self/fd/%d", m.namespace.Fd()) }

// Close gives the map back. Mounts made with it stay.
func (m *Map) Close() error { return m.namespace.Close() }

// Apply maps a mount that nobody has seen yet.
func (m *Map) Apply(tree int, path string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(m.namespace.Fd())}
	err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: %s: %w", ErrMount, path, err)
	}
	return err
}

// Cover mounts a tree over itself with the owners mapped.
func (m *Map) Cover(path string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clone mount of %s: %w", path, err)
	}
	defer func() { _ = unix.Close(tree) }()
	if err := m.Apply(tree, path); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS); err != nil {
		return fmt.Errorf("mount over %s: %w", path, err)
	}
	return nil
}

// Uncover takes away what Cover has mounted. What was made from it meanwhile stays.
func Uncover(path string) error { return unix.Unmount(path, unix.MNT_DETACH) }
