package state

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted is a file system of its own.
func mounted(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("mounting needs root: run the tests as root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal("mount a tmpfs:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill takes every byte, or every inode, that is left.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, "fill"), 0o700))
	f, err := os.Create(filepath.Join(dir, "fill", "bytes"))
	must(t, err)
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
	must(t, f.Close())
	return func() { must(t, os.RemoveAll(filepath.Join(dir, "fill"))) }
}

func web(version uint64) Desired {
	return Desired{Name: "app:web", Version: version, DesiredVersion: version}
}

// A store on a disk that the kernel made read-only opens, reads, says what is
// wrong, and writes once that is possible.
func TestStore_ReadOnlyDisk(t *testing.T) {
	for what, lose := range map[string]func(string) error{
		"as it was":    func(string) error { return nil },
		"without lock": func(dir string) error { return os.Remove(filepath.Join(dir, "lock")) },
	} {
		t.Run(what, func(t *testing.T) {
			disk := mounted(t, "size=4m")
			dir := filepath.Join(disk, "state")
			s, err := Open(Config{Dir: dir})
			must(t, err)
			must(t, s.PutDesired(web(1)))
			before := s.BootEpoch()
			must(t, s.Close())
			must(t, lose(dir))
			must(t, os.WriteFile(filepath.Join(dir, "desired-x.tmp"), []byte("half"), 0o600))
			must(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))

			s, err = Open(Config{Dir: dir})
			must(t, err)
			if s.BootEpoch() <= before {
				t.Errorf("boot epoch %d after %d", s.BootEpoch(), before)
			}
			if all, err := s.AllDesired(); err != nil || len(all) != 1 {
				t.Errorf("%v %v", all, err)
			}
			if err := s.PutDesired(web(2)); !errors.Is(err, unix.EROFS) {
				t.Errorf("written to a read-only disk: %v", err)
			}
			if h := s.Health(); h.Fault == nil || h.Fault.Code != CodeReadOnly || h.SetAside != 0 {
				t.Errorf("%+v", h)
			}
			if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
				t.Errorf("a second agent: %v", err)
			}
			must(t, unix.Mount("", disk, "", unix.MS_REMOUNT, ""))
			must(t, s.PutDesired(web(2)))
			if h := s.Health(); h.Fault != nil {
				t.Errorf("%+v", h.Fault)
			}
			must(t, s.Close())
		})
	}
}

// A disk that is full to the last byte, reserve included, keeps no agent from
// starting.
func TestStore_FullWithoutReserve(t *testing.T) {
	disk := mounted(t, "size=2m")
	dir := filepath.Join(disk, "state")
	s, err := Open(Config{Dir: dir})
	must(t, err)
	must(t, s.PutDesired(web(1)))
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, reserveName)))
	free := fill(t, disk)
	s, err = Open(Config{Dir: dir})
	must(t, err)
	defer s.Close()
	if err := s.PutDesired(web(2)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk isn't full: %v", err)
	}
	if h := s.Health(); h.Fault == nil || h.Fault.Code != CodeFull {
		t.Errorf("%+v", h)
	}
	if all, err := s.AllDesired(); err != nil || len(all) != 1 || all[0].DesiredVersion != 1 {
		t.Errorf("what was there is lost: %v %v", all, err)
	}
	free()
	must(t, s.PutDesired(web(2)))
}

// Without inodes there is no new file, however much room there is.
func TestStore_NoInodes(t *testing.T) {
	disk := mounted(t, "size=2m,nr_inodes=16")
	dir := filepath.Join(disk, "state")
	s, err := Open(Config{Dir: dir})
	must(t, err)
	defer s.Close()
	must(t, s.PutDesired(web(1)))
	must(t, os.Remove(filepath.Join(dir, reserveName)))
	s.reserve.held = false
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(disk, string(rune('a'+i))), nil, 0o600); err != nil {
			break
		}
	}
	if err := s.PutDesired(web(2)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("there are inodes: %v", err)
	}
	must(t, os.Remove(filepath.Join(disk, "a")))
	must(t, s.PutDesired(web(2)))
}
