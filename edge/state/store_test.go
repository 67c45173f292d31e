package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/edge/filesys/crashfs"
	"gnomon/shadow"
)

func open(t *testing.T, disk *crashfs.Disk) *Store {
	t.Helper()
	s, err := Open(Config{FS: disk.Mount()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func object(text string) *shadow.Value {
	v, err := shadow.Parse([]byte(text), shadow.DefaultLimits)
	if err != nil {
		panic(err)
	}
	return v
}

func TestStore_RoundTrip(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "app:web", "collect:m$1", "classic", "_"} {
		want := Desired{Name: name, Version: 9, DesiredVersion: 7, Value: object(`{"a":{"b":[1,"<ü>"]},"n":1.50}`), Trace: "4bf9", At: time.Unix(7, 5)}
		if err := s.PutDesired(want); err != nil {
			t.Fatal(err)
		}
		if err := s.PutOutbox(Outbox{Name: name, Reported: object(`{"phase":"running"}`), Acked: object(`{"phase":"x"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(KindDesired, "_", "never there"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	desired, err := s.AllDesired()
	if err != nil || len(desired) != 4 {
		t.Fatalf("AllDesired: %d, %v", len(desired), err)
	}
	for _, d := range desired {
		if d.Version != 9 || d.DesiredVersion != 7 || d.Trace != "4bf9" || !d.At.Equal(time.Unix(7, 5)) || string(d.Value.AppendJSON(nil)) != `{"a":{"b":[1,"<ü>"]},"n":1.50}` {
			t.Errorf("%q: %+v %s", d.Name, d, d.Value.AppendJSON(nil))
		}
	}
	outbox, err := s.AllOutbox()
	if err != nil || len(outbox) != 5 || outbox[0].Acked.Get("phase").Text() != "x" {
		t.Fatalf("AllOutbox: %+v, %v", outbox, err)
	}
	if s.BootEpoch() != 2 {
		t.Errorf("boot epoch %d, want 2", s.BootEpoch())
	}
}

func TestStore_SecondAgentIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Open: %v, want ErrLocked", err)
	}
	s.Close()
	if s, err = Open(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestStore_CorruptRecordsAreSetAside(t *testing.T) {
	damage := map[string]func([]byte) []byte{
		"flipped bit": func(b []byte) []byte { b[len(b)-3] ^= 4; return b },
		"cut short":   func(b []byte) []byte { return b[:len(b)/2] },
		"empty":       func([]byte) []byte { return nil },
		"other key":   func([]byte) []byte { return seal("desired-other", []byte(`{}`)) },
		"no JSON":     func([]byte) []byte { return seal("desired-app%3aweb", []byte(`{`)) },
		"wrong type":  func([]byte) []byte { return seal("desired-app%3aweb", []byte(`{"version":"x"}`)) },
	}
	for what, hurt := range damage {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.PutDesired(Desired{Name: "app:web", Version: 1}, Desired{Name: "app:db", Version: 2}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "desired-app%3aweb")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, hurt(b), 0o600); err != nil {
				t.Fatal(err)
			}
			all, err := s.AllDesired()
			if err != nil || len(all) != 1 || all[0].Name != "app:db" {
				t.Fatalf("AllDesired: %+v, %v", all, err)
			}
			if s.Health().SetAside != 1 {
				t.Errorf("quarantined %d, want 1", s.Health().SetAside)
			}
			if _, err := os.Stat(filepath.Join(dir, "bad.desired-app%3aweb")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStore_CorruptEpochStartsAnewAndCanBeRaised(t *testing.T) {
	disk := crashfs.New(1)
	open(t, disk)
	disk.Plant("node-epoch", []byte("rubbish"))
	s := open(t, disk)
	if s.BootEpoch() != 1 || s.Health().SetAside != 1 {
		t.Fatalf("epoch %d, quarantined %d", s.BootEpoch(), s.Health().SetAside)
	}
	if err := s.RaiseEpoch(700); err != nil {
		t.Fatal(err)
	}
	if got := open(t, disk).BootEpoch(); got != 701 {
		t.Errorf("epoch after restart %d, want 701", got)
	}
}

func TestStore_BadFilesAreBounded(t *testing.T) {
	disk := crashfs.New(1)
	s := open(t, disk)
	for i := range 3 * keptBad {
		disk.Plant(fileName(KindDesired, fmt.Sprint("app:", i)), nil)
	}
	if _, err := s.AllDesired(); err != nil {
		t.Fatal(err)
	}
	bad := 0
	for n := range disk.Files() {
		if strings.HasPrefix(n, badPrefix) {
			bad++
		}
	}
	if bad != keptBad || s.Health().SetAside != 3*keptBad {
		t.Errorf("%d bad files kept, %d counted", bad, s.Health().SetAside)
	}
}

// An agent that is killed while it starts a shim leaves the lock to the child it
// was making, until that has become the shim.
func TestStore_WaitsForTheLastOfItsPredecessor(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = s.Close() })
	next, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}

// TestStore_Crash cuts the power before every single operation of a series of
// writes, many times over since what survives is up to chance, and checks that
// whatever was acknowledged is there, nothing is half there, and the boot epoch
// has never been used before.
func TestStore_Crash(t *testing.T) {
	for seed := range uint64(40) {
		for at := 0; ; at++ {
			if !crashAt(t, seed, at) {
				break
			}
		}
	}
}

// crashAt reports whether the crash came before the series was done.
func crashAt(t *testing.T, seed uint64, at int) bool {
	t.Helper()
	disk := crashfs.New(seed)
	s := open(t, disk)
	used := s.BootEpoch()
	disk.Trouble(at, nil)
	names := []string{"", "app:a", "app:b"}
	acked, tried := map[string]uint64{}, map[string]uint64{}
	var failure error
	for v := uint64(1); v <= 3 && failure == nil; v++ {
		for _, n := range names {
			tried[n] = v
			if failure = s.PutDesired(Desired{Name: n, Version: v}); failure != nil {
				break
			}
			acked[n] = v
		}
		if failure == nil {
			if failure = s.RaiseEpoch(used + 1); failure == nil {
				used = s.BootEpoch()
			}
		}
	}
	if failure != nil && !errors.Is(failure, crashfs.ErrOff) {
		t.Fatal(failure)
	}
	disk.Restart()
	s, err := Open(Config{FS: disk.Mount()})
	if err != nil {
		t.Fatalf("seed %d, crash before operation %d: %v", seed, at, err)
	}
	if s.BootEpoch() <= used {
		t.Fatalf("seed %d, crash before operation %d: epoch %d was used before", seed, at, s.BootEpoch())
	}
	all, err := s.AllDesired()
	if err != nil || s.Health().SetAside != 0 {
		t.Fatalf("seed %d, crash before operation %d: %v, %d set aside", seed, at, err, s.Health().SetAside)
	}
	found := map[string]uint64{}
	for _, d := range all {
		found[d.Name] = d.Version
	}
	for _, n := range names {
		if found[n] < acked[n] || found[n] > tried[n] {
			t.Fatalf("seed %d, crash before operation %d: %q has version %d, acknowledged was %d, tried %d", seed, at, n, found[n], acked[n], tried[n])
		}
	}
	return failure != nil
}

func TestFileName_Injective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[$a-zA-Z0-9:_-]{0,64}`).Draw(t, "name")
		file := fileName(KindOutbox, name)
		back, ok := nameOf(KindOutbox, file)
		if !ok || back != name {
			t.Fatalf("%q became %q became %q", name, file, back)
		}
		if strings.ContainsAny(file, ":$/") || len(file) > 250 {
			t.Fatalf("%q is no safe file name", file)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	f.Add(seal("desired-a", []byte(`{"version":1}`)))
	f.Add([]byte("gnomon1 00000000 desired-a\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		data, err := unseal("desired-a", file)
		if err == nil && string(seal("desired-a", data)) != string(file) {
			t.Fatalf("%q is accepted but is not what seal writes", file)
		}
	})
}
