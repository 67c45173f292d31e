// Package stage is the last thing between a container and its program: this very
// binary, run by the container's first process, which installs the filter of
// system calls and becomes the program. It may also stay and be the container's
// init: pass signals on to the program and collect the orphans it leaves.
//
// It runs before the Go runtime would start, needs nothing of the container's file
// system, since it is run by file descriptor from a read-only mount of its own,
// and must therefore be linked statically. It never runs as anything but the user
// of the program.
package stage

// #cgo LDFLAGS: -static
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Stage is a program about to be started.
type Stage struct {
	init   bool
	self   *os.File // this binary
	filter *os.File // read end
	status *os.File // where an init writes how the program ended

	report, told *os.File // where it is told that the program could not be run
}

// New prepares a stage. filter may be nil; status is given for an init.
func New(filter []byte, status *os.File) (s *Stage, err error) {
	s = &Stage{init: status != nil, status: status}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.self, err = self(); err != nil {
		return s, err
	}
	if s.report, s.told, err = os.Pipe(); err != nil {
		return s, err
	}
	var in *os.File
	if s.filter, in, err = os.Pipe(); err != nil {
		return s, err
	}
	// A program of the kernel's size limit fits into a pipe, so nobody waits.
	_, err = in.Write(filter)
	return s, errors.Join(err, in.Close())
}

// self opens this binary so that nobody who gets hold of it can write to it.
func self() (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/self/exe", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone mount of the shim: %w", err)
	}
	f := os.NewFile(uintptr(fd), "gnomon-shim")
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		f.Close()
		return nil, fmt.Errorf("make mount of the shim read-only: %w", err)
	}
	return f, nil
}

// Args is the command line that runs a program by way of the stage.
func (s *Stage) Args(program []string) []string {
	how := "exec"
	if s.init {
		how = "init"
	}
	return append([]string{"/proc/self/fd/3", "gnomon-stage", how}, program...)
}

// Files are passed to it as descriptors 3 and following.
func (s *Stage) Files() []*os.File {
	files := []*os.File{s.self, s.told, s.filter}
	if s.init {
		files = append(files, s.status)
	}
	return files
}

// ErrProgram: the program could not be run; the errno that came of it is wrapped.
var ErrProgram = errors.New("run program")

// Await waits until the program runs. It is called once the process has been
// started, however that went.
func (s *Stage) Await() error {
	s.closeTheirs()
	var b [2]byte
	n, err := io.ReadFull(s.report, b[:])
	if n < len(b) {
		if err == io.EOF {
			return nil
		}
		return fmt.Errorf("hear of the program: %w", err)
	}
	switch errno := unix.Errno(b[0]); b[1] {
	case 's':
		return fmt.Errorf("install the filter of system calls: %w", errno)
	case 'f':
		return fmt.Errorf("fork off the program: %w", errno)
	default:
		return fmt.Errorf("%w: %w", ErrProgram, errno)
	}
}

func (s *Stage) closeTheirs() {
	for _, f := range []*os.File{s.self, s.told, s.filter, s.status} {
		if f != nil {
			f.Close()
		}
	}
}

// Close gives everything back.
func (s *Stage) Close() {
	s.closeTheirs()
	if s.report != nil {
		s.report.Close()
	}
}

// Ended reads how a program under an init ended; ok is false if the init itself
// was killed.
func Ended(path string) (status unix.WaitStatus, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) != 4 {
		return 0, false
	}
	return unix.WaitStatus(binary.NativeEndian.Uint32(b)), true
}
