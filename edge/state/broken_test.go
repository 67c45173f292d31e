package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/filesys/crashfs"
)

// brokenDirs are what a broken disk, another version or a person with a shell
// can make of the whole directory.
var brokenDirs = map[string]struct {
	hurt     func(t *testing.T, dir string)
	kept     int // of the two records
	setAside int
}{
	"a file in its place": {func(t *testing.T, dir string) {
		must(t, os.RemoveAll(dir))
		must(t, os.WriteFile(dir, []byte("?"), 0o600))
	}, 0, 0},
	"gone": {func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, 0, 0},
	"every file rubbish": {func(t *testing.T, dir string) {
		for _, f := range files(t, dir) {
			must(t, os.WriteFile(filepath.Join(dir, f), []byte("\x00\xff rubbish\n"), 0o600))
		}
	}, 0, 3},
	"every file empty": {func(t *testing.T, dir string) {
		for _, f := range files(t, dir) {
			must(t, os.Truncate(filepath.Join(dir, f), 0))
		}
	}, 0, 3},
	"every record a directory": {func(t *testing.T, dir string) {
		for _, f := range files(t, dir) {
			must(t, os.Remove(filepath.Join(dir, f)))
			must(t, os.MkdirAll(filepath.Join(dir, f, "in it"), 0o700))
		}
	}, 0, 3},
	"of a later version": {func(t *testing.T, dir string) {
		for _, f := range files(t, dir) {
			b, err := os.ReadFile(filepath.Join(dir, f))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, f), []byte(strings.Replace(string(b), "gnomon1 ", "gnomon2 ", 1)), 0o600))
		}
	}, 0, 3},
	"the boot epoch unreadable": {func(t *testing.T, dir string) {
		must(t, os.WriteFile(filepath.Join(dir, "node-epoch"), []byte("?"), 0o600))
	}, 2, 1},
	"temporary files in the way": {func(t *testing.T, dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "node-epoch.tmp", "in it"), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "desired-app%3aweb.tmp"), []byte("half"), 0o600))
	}, 2, 1},
	"strangers": {func(t *testing.T, dir string) {
		must(t, os.WriteFile(filepath.Join(dir, "README"), []byte("?"), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "desired-%zz"), []byte("?"), 0o600))
		must(t, os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700))
	}, 2, 0},
	"a directory for a lock": {func(t *testing.T, dir string) {
		must(t, os.Remove(filepath.Join(dir, "lock")))
		must(t, os.Mkdir(filepath.Join(dir, "lock"), 0o700))
	}, 2, 0},
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files are the records, without lock and reserve.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if n := e.Name(); n != "lock" && n != reserveName {
			names = append(names, n)
		}
	}
	return names
}

// TestStore_OpensWhateverIsThere: an agent has to start and say what it lost, and
// the store must work from then on.
func TestStore_OpensWhateverIsThere(t *testing.T) {
	for what, c := range brokenDirs {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			s, err := Open(Config{Dir: dir})
			must(t, err)
			must(t, s.PutDesired(Desired{Name: "app:web", Version: 1}))
			must(t, s.PutOutbox(Outbox{Name: "app:web", Reported: object(`{"phase":"running"}`)}))
			must(t, s.Close())
			c.hurt(t, dir)
			s, err = Open(Config{Dir: dir})
			must(t, err)
			desired, err := s.AllDesired()
			must(t, err)
			outbox, err := s.AllOutbox()
			must(t, err)
			if n := len(desired) + len(outbox); n != c.kept || s.Health().SetAside != c.setAside {
				t.Errorf("%d records kept, health %+v", n, s.Health())
			}
			must(t, s.PutDesired(Desired{Name: "app:web", Version: 7}, Desired{Name: "", Version: 8}))
			must(t, s.RaiseEpoch(100))
			must(t, s.Close())
			s, err = Open(Config{Dir: dir})
			must(t, err)
			defer s.Close()
			desired, err = s.AllDesired()
			if err != nil || len(desired) != 2 || s.BootEpoch() != 101 || s.Health().SetAside != 0 {
				t.Errorf("afterwards: %+v, %v, epoch %d, health %+v", desired, err, s.BootEpoch(), s.Health())
			}
		})
	}
}

func TestUnseal_TellsVersionsApart(t *testing.T) {
	file := string(seal("desired-a", []byte(`{}`)))
	for text, want := range map[string]error{
		"gnomon2" + file[7:]:  errFormat,
		"gnomon12" + file[7:]: errFormat,
		"gnomon1" + file[8:]:  errCorrupt,
		"gnomon0" + file[7:]:  errCorrupt,
		file + " ":            errCorrupt,
	} {
		if _, err := unseal("desired-a", []byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// TestStore_FullDisk: with the reserve an agent starts and takes some changes on
// a disk that others have filled; then it says so; and it recovers by itself.
func TestStore_FullDisk(t *testing.T) {
	at := time.Unix(1000, 0)
	disk := crashfs.New(1)
	put := func(s *Store, n int) error {
		return s.Put(Record{KindDesired, fmt.Sprint("app:", n), make([]byte, 16<<10)})
	}
	reopen := func() *Store {
		t.Helper()
		s, err := Open(Config{FS: disk.Mount(), Now: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	reopen()
	disk.Limit(0) // others took the rest
	s := reopen()
	if s.BootEpoch() != 2 {
		t.Fatalf("epoch %d", s.BootEpoch())
	}
	taken := 0
	var err error
	for err == nil && taken < 100 {
		if err = put(s, taken); err == nil {
			taken++
		}
	}
	f := s.Health().Fault
	if taken < 10 || !errors.Is(err, unix.ENOSPC) || f == nil || f.Code != CodeFull || !f.Since.Equal(at) {
		t.Fatalf("%d changes taken, then %v; %+v", taken, err, f)
	}
	at = at.Add(time.Hour)
	if err := put(s, 200); err == nil || !s.Health().Fault.Since.Equal(time.Unix(1000, 0)) {
		t.Errorf("%v; %+v", err, s.Health().Fault)
	}
	disk.Limit(1 << 20)
	for n := range 2 * refillEvery {
		must(t, put(s, n))
	}
	if reserve := disk.Files()[reserveName]; s.Health().Fault != nil || len(reserve) != reserveSize {
		t.Errorf("with room again: %+v, %d bytes of reserve", s.Health(), len(reserve))
	}
	all, err := s.All(KindDesired)
	if err != nil || len(all) < taken {
		t.Errorf("%d records, %d were taken: %v", len(all), taken, err)
	}
}

func TestStore_ReadOnlyDiskIsNamed(t *testing.T) {
	disk := crashfs.New(1)
	s := open(t, disk)
	disk.Trouble(0, unix.EROFS)
	if err := s.PutDesired(Desired{Name: "app:web"}); !errors.Is(err, unix.EROFS) {
		t.Fatal(err)
	}
	if f := s.Health().Fault; f == nil || f.Code != CodeReadOnly {
		t.Errorf("%+v", f)
	}
	must(t, s.PutDesired(Desired{Name: "app:web"}))
	if f := s.Health().Fault; f != nil {
		t.Errorf("%+v", f)
	}
}

// TestStore_OpensWhereNothingCanBeWritten: an agent on a disk that is full or that
// the kernel made read-only starts, with an epoch that no start before had, and says what is wrong.
func TestStore_OpensWhereNothingCanBeWritten(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	disk := crashfs.New(1)
	s := open(t, disk)
	must(t, s.PutDesired(Desired{Name: "app:web", Version: 3}))
	var before uint64
	for _, fault := range []struct {
		err  error
		code string
	}{{unix.EROFS, CodeReadOnly}, {unix.ENOSPC, CodeFull}, {unix.EROFS, CodeReadOnly}} {
		disk.Refuse(fault.err)
		s, err := Open(Config{FS: disk.Mount(), Now: func() time.Time { return at }})
		must(t, err)
		if f := s.Health().Fault; f == nil || f.Code != fault.code || s.BootEpoch() <= before {
			t.Fatalf("epoch %d after %d, %+v", s.BootEpoch(), before, f)
		}
		if all, err := s.AllDesired(); err != nil || len(all) != 1 || all[0].Version != 3 {
			t.Fatalf("%+v, %v", all, err)
		}
		if err := s.PutDesired(Desired{Name: "app:web", Version: 4}); !errors.Is(err, fault.err) {
			t.Fatal(err)
		}
		if err := s.RaiseEpoch(s.BootEpoch() + 7); err != nil {
			t.Fatalf("the cloud remembers more starts: %v", err)
		}
		before = s.BootEpoch()
		at = at.Add(time.Minute)
	}
}
