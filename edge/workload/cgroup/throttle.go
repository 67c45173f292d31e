package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk is a whole disk, as the kernel numbers it; the zero Disk is none.
type Disk struct{ Major, Minor uint32 }

func (d Disk) String() string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

// ErrNoDisk: the file system lies on no disk that could be bounded.
var ErrNoDisk = errors.New("is on no disk of its own")

// DiskOf returns the disk that a path lies on: of a partition, the disk it is
// part of, for only that has bounds.
func DiskOf(path string) (Disk, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Disk{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	d := Disk{unix.Major(st.Dev), unix.Minor(st.Dev)} //nolint:unconvert // width differs by architecture
	dir, err := filepath.EvalSymlinks("/sys/dev/block/" + d.String())
	if err != nil {
		return Disk{}, fmt.Errorf("%s %w: device %s", path, ErrNoDisk, d)
	}
	if _, err := os.Lstat(filepath.Join(dir, "partition")); err != nil {
		return d, nil //nolint:nilerr // it is a disk itself
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "dev"))
	if err != nil {
		return Disk{}, fmt.Errorf("disk of %s: %w", path, err)
	}
	if _, err := fmt.Sscanf(strings.TrimSpace(string(b)), "%d:%d", &d.Major, &d.Minor); err != nil {
		return Disk{}, fmt.Errorf("disk of %s: %q: %w", path, b, err)
	}
	return d, nil
}

// setBlkio is the v1 way: a file for each bound.
func setBlkio(dir string, l Throttle) error {
	for _, b := range []struct {
		file  string
		value int64
	}{
		{"blkio.throttle.read_bps_device", l.Read}, {"blkio.throttle.write_bps_device", l.Write},
		{"blkio.throttle.read_iops_device", l.ReadOps}, {"blkio.throttle.write_iops_device", l.WriteOps},
	} {
		if err := write(dir, b.file, l.Disk.String()+" "+strconv.FormatInt(max(b.value, 0), 10)); err != nil && b.value > 0 {
			return fmt.Errorf("set %s for disk %s: %w", b.file, l.Disk, err)
		}
	}
	return nil
}

// setIOMax is the v2 way: all bounds in one line.
func setIOMax(dir string, l Throttle) error {
	line := fmt.Sprintf("%s rbps=%s wbps=%s riops=%s wiops=%s", l.Disk,
		limit(l.Read, "max"), limit(l.Write, "max"), limit(l.ReadOps, "max"), limit(l.WriteOps, "max"))
	if err := write(dir, "io.max", line); err != nil {
		return fmt.Errorf("set io.max to %s: %w", line, err)
	}
	return nil
}
