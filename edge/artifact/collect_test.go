package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// care is what a test wants kept.
type care struct {
	keep    Keep
	unknown bool
	rules   Rules
}

func (c *care) Keep() (Keep, bool)  { return c.keep, !c.unknown }
func (c *care) Rules(float64) Rules { return c.rules }

// everything makes a disk look as if nothing were free, so that all goes that may.
var everything = Rules{Below: 1 << 60, Until: 1 << 60}

// hoard is a store with a clock of its own and some components in it.
type hoard struct {
	*Store
	t    testing.TB
	care *care
	now  time.Time
}

func newHoard(t testing.TB) *hoard {
	h := &hoard{t: t, care: &care{}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	h.Store = newStore(t, Config{Care: h.care, Now: func() time.Time { return h.now }})
	return h
}

// have puts an archive into the components directory and has it unpacked.
func (h *hoard) have(reference string) Component {
	h.t.Helper()
	put(h.t, filepath.Join(h.cfg.Components, reference+".tar"), pack(h.t, entry{name: "x", body: reference}))
	return resolve(h.t, h.Store, reference)
}

// tidy lets all go that may, and says which of those references are left unpacked.
func (h *hoard) tidy(all ...string) (left []string) {
	h.t.Helper()
	h.care.rules.Below, h.care.rules.Until = everything.Below, everything.Until
	if _, err := h.Tidy(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	for _, r := range all {
		if h.Present(r) == Unpacked {
			left = append(left, r)
		}
	}
	return left
}

func TestTidy_KeepsWhatIsNeeded(t *testing.T) {
	h := newHoard(t)
	all := []string{"wanted@1", "running@1", "applied@1", "old@1", "older@1"}
	roots := map[string]string{}
	for _, r := range all {
		roots[r] = h.have(r).Root
	}
	h.care.keep = Keep{References: []string{"wanted@1", "applied@1"}, Roots: []string{roots["running@1"]}}
	if left := h.tidy(all...); !slices.Equal(left, all) {
		t.Errorf("what was just used is gone: left are %v", left)
	}
	h.now = h.now.Add(time.Hour)
	h.care.unknown = true
	if left := h.tidy(all...); !slices.Equal(left, all) {
		t.Errorf("what must stay isn't known, and yet only %v are left", left)
	}
	h.care.unknown = false
	if left := h.tidy(all...); !slices.Equal(left, all[:3]) {
		t.Errorf("left are %v, want %v", left, all[:3])
	}
	for _, r := range all[3:] { // their sources are still there
		if h.Present(r) != Packed || read(t, resolve(t, h.Store, r), "x") != r {
			t.Errorf("%s cannot be had again", r)
		}
	}
	if refs, err := h.refs(); err != nil || len(refs) != len(all) {
		t.Errorf("%d records, %v", len(refs), err)
	}
}

func TestTidy_TheLongestUnusedFirstAndNoMoreThanNeeded(t *testing.T) {
	h := newHoard(t)
	var all []string
	for i := range 5 {
		all = append(all, fmt.Sprintf("c%d@1", i))
		h.have(all[i])
		h.now = h.now.Add(2 * time.Hour)
	}
	resolve(t, h.Store, all[0]) // now the latest
	h.now = h.now.Add(2 * time.Hour)
	looks := 0
	h.mu.Lock()
	_, err := h.collect(t.Context(), func(space) bool { looks++; return looks > 2 })
	h.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Presence{Unpacked, Packed, Packed, Unpacked, Unpacked} {
		if got := h.Present(all[i]); got != want {
			t.Errorf("%s is %s, want %s", all[i], got, want)
		}
	}
}

// A tree that no record tells of may be the one of a reference that none tells of
// either, as after an upgrade from a version without records.
func TestTidy_SparesWhatItDoesNotKnow(t *testing.T) {
	h := newHoard(t)
	c := h.have("before@1")
	if err := os.RemoveAll(h.dir(refIndex)); err != nil {
		t.Fatal(err)
	}
	h.now = time.Now().Add(time.Hour)
	h.care.keep = Keep{References: []string{"before@1"}}
	h.tidy()
	if read(t, c, "x") != "before@1" {
		t.Fatal("deleted what was wanted")
	}
	resolve(t, h.Store, "before@1") // now it is known
	h.now = h.now.Add(2 * time.Hour)
	h.tidy()
	if read(t, c, "x") != "before@1" {
		t.Fatal("deleted what was wanted")
	}
	h.care.keep = Keep{}
	h.tidy()
	if read(t, c, "x") != "none" {
		t.Error("kept what nobody wants")
	}
}

func TestTidy_Sources(t *testing.T) {
	h := newHoard(t)
	for _, r := range []string{"wanted@1", "old@1"} {
		h.have(r)
	}
	notes := filepath.Join(h.cfg.Components, "README.txt")
	put(t, notes, []byte("mine"))
	h.care.keep = Keep{References: []string{"wanted@1"}}
	h.now = time.Now().Add(time.Hour)
	h.tidy()
	if h.Present("old@1") != Packed {
		t.Fatal("a source was deleted that nobody asked to be")
	}
	h.care.rules.Sources = true
	h.tidy()
	if h.Present("old@1") != Absent || h.Present("wanted@1") != Unpacked {
		t.Errorf("old is %s, wanted is %s", h.Present("old@1"), h.Present("wanted@1"))
	}
	if _, err := os.Stat(notes); err != nil {
		t.Error("deleted what is no component:", err)
	}
	if _, err := os.Stat(filepath.Join(h.cfg.Components, "wanted@1.tar")); err != nil {
		t.Error("deleted the source of what is wanted:", err)
	}
}

func TestResolve_WhatWasUnpackedNeedsNoSource(t *testing.T) {
	h := newHoard(t)
	c := h.have("web@1")
	if err := os.RemoveAll(h.cfg.Components); err != nil {
		t.Fatal(err)
	}
	again, err := h.Resolve(t.Context(), "web@1")
	if err != nil || again.Root != c.Root || again.Reference != "web@1" || again.Digest != c.Digest {
		t.Errorf("%+v %v", again, err)
	}
	if _, err := h.Resolve(t.Context(), "web@2"); !errors.Is(err, ErrComponentNotFound) {
		t.Error(err)
	}
}

// Whatever is resolved, wanted and tidied in whatever order, what is needed stays
// and what is not goes once it is old enough.
func TestTidy_Property(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHoard(t)
		names := []string{"a@1", "b@1", "c@1", "d@1"}
		for i := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			n := rapid.SampledFrom(names).Draw(rt, fmt.Sprint("n", i))
			switch rapid.IntRange(0, 3).Draw(rt, fmt.Sprint("do", i)) {
			case 0:
				h.have(n)
			case 1:
				h.care.keep.References = rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(rt, fmt.Sprint("keep", i))
			case 2:
				h.now = h.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, fmt.Sprint("min", i))) * time.Minute)
			case 3:
				before := map[string]Presence{}
				for _, n := range names {
					before[n] = h.Present(n)
				}
				h.tidy()
				for _, n := range h.care.keep.References {
					if before[n] == Unpacked && h.Present(n) != Unpacked {
						rt.Fatalf("%s is needed and was deleted", n)
					}
				}
			}
		}
		h.now = h.now.Add(2 * stale)
		left := h.tidy(names...)
		for _, n := range left {
			// Resolved never, or needed: all else is deleted, as all of it is recorded.
			if !slices.Contains(h.care.keep.References, n) && !h.unrecorded() {
				rt.Fatalf("%s is not needed and still there", n)
			}
		}
	})
}

// unrecorded tells whether something is to be kept that no record tells of.
func (h *hoard) unrecorded() bool {
	for _, r := range h.care.keep.References {
		if _, ok := h.ref(r); !ok {
			return true
		}
	}
	return false
}

// small mounts a file system of so many bytes and inodes.
func small(t *testing.T, options string) string {
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

func big(name string, mib int) entry {
	return entry{name: name, body: strings.Repeat("x", mib<<20)}
}

func TestResolve_OnAFullDisk(t *testing.T) {
	disk := small(t, "size=16m")
	inbox := t.TempDir()
	c := &care{rules: Rules{Reserve: 2 << 20, Below: 3 << 20, Until: 4 << 20}}
	now := time.Now()
	s, err := New(Config{Components: inbox, Data: disk, Care: c, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(inbox, "five@1.tar"), pack(t, big("x", 5)))
	put(t, filepath.Join(inbox, "six@1.tar"), pack(t, big("x", 6)))
	put(t, filepath.Join(inbox, "seven@1.tar.gz"), zip(t, pack(t, entry{name: "a", kind: tar.TypeDir}, big("a/x", 4), big("a/y", 3))))
	put(t, filepath.Join(inbox, "huge@1.tar"), pack(t, big("x", 20)))
	five := resolve(t, s, "five@1")
	resolve(t, s, "six@1")
	// 5 MiB are free, of which 2 are kept.
	_, err = s.Resolve(t.Context(), "huge@1")
	if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "20.0 MiB are needed") || !strings.Contains(err.Error(), "2.0 MiB are kept") {
		t.Errorf("huge: %v", err)
	}
	// Its gzip says nothing of its size: found out halfway, and nothing is left of it.
	if _, err = s.Resolve(t.Context(), "seven@1"); !errors.Is(err, ErrDiskFull) {
		t.Errorf("seven: %v", err)
	}
	if p, _ := spaceAt(disk); p.free < 4<<20 {
		t.Errorf("%.1f MiB are free: half an unpacking is still there", p.free/(1<<20))
	}
	now = now.Add(2 * time.Hour)
	c.keep = Keep{References: []string{"six@1", "seven@1"}}
	if c := resolve(t, s, "seven@1"); read(t, c, "a/y") == "none" {
		t.Error("seven isn't whole")
	}
	if read(t, five, "x") != "none" || s.Present("six@1") != Unpacked {
		t.Error("the wrong one made room")
	}
	if _, err := s.Resolve(t.Context(), "six@1"); err != nil { // what is there is there, on a full disk, too
		t.Error(err)
	}
}

func TestResolve_WithoutInodes(t *testing.T) {
	disk := small(t, "size=16m,nr_inodes=200")
	inbox := t.TempDir()
	s, err := New(Config{Components: inbox, Data: disk})
	if err != nil {
		t.Fatal(err)
	}
	var many []entry
	for i := range 300 {
		many = append(many, entry{name: fmt.Sprint("f", i), body: "x"})
	}
	put(t, filepath.Join(inbox, "many@1.tar"), pack(t, many...))
	put(t, filepath.Join(inbox, "few@1.tar"), pack(t, many[:3]...))
	if _, err := s.Resolve(t.Context(), "many@1"); !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "inodes") {
		t.Error(err)
	}
	resolve(t, s, "few@1") // the inodes of the other are free again
}

func TestResolve_OnAReadOnlyDisk(t *testing.T) {
	disk := small(t, "size=16m")
	inbox := t.TempDir()
	s, err := New(Config{Components: inbox, Data: disk})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(inbox, "a@1.tar"), pack(t, entry{name: "x", body: "a"}))
	put(t, filepath.Join(inbox, "b@1.tar"), pack(t, entry{name: "x", body: "b"}))
	resolve(t, s, "a@1")
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err = New(Config{Components: inbox, Data: disk, Now: func() time.Time { return time.Now().Add(time.Hour * 24) }})
	if err != nil {
		t.Fatal(err)
	}
	if c := resolve(t, s, "a@1"); read(t, c, "x") != "a" {
		t.Error("what was unpacked cannot be run from")
	}
	if _, err := s.Resolve(t.Context(), "b@1"); !errors.Is(err, ErrDiskReadOnly) {
		t.Error(err)
	}
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	resolve(t, s, "b@1")
}

func TestRun_EndsWithItsContext(t *testing.T) {
	s := newStore(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	if freed, err := s.Tidy(t.Context()); freed != 0 || err != nil { // there is nothing yet
		t.Error(freed, err)
	}
}
