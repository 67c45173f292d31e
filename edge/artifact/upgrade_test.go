package artifact

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// withoutMarks leaves a store as one that kept any archive by its file's digest would
// have: with the tree of the reference, whichever others there are.
func withoutMarks(t *testing.T, s *Store, file, ref string) (root string) {
	t.Helper()
	c := resolve(t, s, ref)
	r, err := s.look(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	r.Images = nil
	s.note(r)
	kept := s.keptAt(r.Digest)
	if c.Digest != r.Digest {
		if err := os.Rename(filepath.Dir(c.Root), kept); err != nil {
			t.Fatal(err)
		}
	}
	s.remember(ref, r.Digest)
	if err := os.RemoveAll(filepath.Join(kept, onlyFile)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(kept, rootfs)
}

// spoil makes another archive of a file that looks the same: it must not be read again.
func spoil(t *testing.T, file string) {
	t.Helper()
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, make([]byte, st.Size()))
	if err := os.Chtimes(file, time.Time{}, st.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// A tree that may be another image's is not gone on with, but stays for who runs from it.
func TestStore_TreeOfAnyImage(t *testing.T) {
	s := newStore(t, Config{})
	l := newLayout(t, t.TempDir())
	one, two := l.image("amd64", pack(t, entry{name: "x", body: "one"})), l.image("amd64", pack(t, entry{name: "x", body: "two"}))
	l.tag(one, "a")
	l.tag(two, "b")
	l.write()
	file := filepath.Join(s.cfg.Components, "all.tar")
	put(t, file, tarOf(t, l.dir))
	root := withoutMarks(t, s, file, "file://"+file+"#a")

	// With no room to tell, all goes on as it did.
	s.sync = func(string) error { return syscall.ENOSPC }
	if c := resolve(t, s, "file://"+file+"#b"); c.Root != root || len(c.Image.Entrypoint) == 0 {
		t.Errorf("%+v", c)
	}
	s.sync = syncTree
	for range 2 {
		for tag, want := range map[string]struct{ text, digest string }{"a": {"one", one.Digest.String()}, "b": {"two", two.Digest.String()}} {
			if c := resolve(t, s, "file://"+file+"#"+tag); read(t, c, "x") != want.text || c.Digest != want.digest {
				t.Errorf("%s: %q, %+v", tag, read(t, c, "x"), c)
			}
		}
		if got := read(t, Component{Root: root}, "x"); got != "one" {
			t.Errorf("the tree that is run from holds %q", got)
		}
	}
	spoil(t, file)
	if c := resolve(t, s, "file://"+file+"#b"); read(t, c, "x") != "two" {
		t.Errorf("%+v", c)
	}
	// The record of a file that was touched is gone; the doubt isn't.
	put(t, file, tarOf(t, l.dir))
	if err := os.RemoveAll(s.dir(fileIndex)); err != nil {
		t.Fatal(err)
	}
	if c := resolve(t, s, "file://"+file+"#b"); read(t, c, "x") != "two" {
		t.Errorf("%+v", c)
	}
}

// The tree of an archive's only image is the right one: it stays what and where it is,
// and that is found out once.
func TestStore_TreeOfTheOnlyImage(t *testing.T) {
	s := newStore(t, Config{})
	l := newLayout(t, t.TempDir())
	l.tag(l.image("amd64", pack(t, entry{name: "x", body: "one"})), "a")
	l.write()
	file := filepath.Join(s.cfg.Components, "a@1.tar")
	put(t, file, tarOf(t, l.dir))
	root := withoutMarks(t, s, file, "a@1")
	put(t, filepath.Join(root, "mark"), nil)
	for range 2 {
		if c := resolve(t, s, "a@1"); c.Root != root || read(t, c, "mark") != "" {
			t.Errorf("%+v", c)
		}
		spoil(t, file)
	}
	// Nor does what this store unpacks itself, or what is no image, have to be found out.
	for name, b := range map[string][]byte{"b@1": tarOf(t, l.dir), "c@1": pack(t, entry{name: "x", body: "one"})} {
		file := filepath.Join(s.cfg.Components, name+".tar")
		put(t, file, append(b, make([]byte, 512)...))
		want := resolve(t, s, name)
		if name == "c@1" {
			withoutMarks(t, s, file, name)
		}
		spoil(t, file)
		if c := resolve(t, s, name); c.Root != want.Root || read(t, c, "x") != "one" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
