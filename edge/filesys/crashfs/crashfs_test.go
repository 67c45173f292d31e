package crashfs_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gnomon/edge/filesys"
	"gnomon/edge/filesys/crashfs"
)

// write makes a file, with its content on the disk where synced.
func write(t *testing.T, dir filesys.FS, name, content string, synced bool) {
	t.Helper()
	f, err := dir.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write([]byte(content)); n != len(content) || err != nil {
		t.Fatal(n, err)
	}
	if synced {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The disk that crashes and the kernel's do the same while nothing goes wrong.
func TestFS(t *testing.T) {
	for name, dir := range map[string]filesys.FS{"kernel": filesys.OS(t.TempDir()), "memory": crashfs.New(1).Mount()} {
		t.Run(name, func(t *testing.T) {
			write(t, dir, "b", "old and longer", true)
			write(t, dir, "b", "new", false)
			write(t, dir, "a", "one", true)
			write(t, dir, "c", "", false)
			must(t, dir.Rename("a", "b"))
			must(t, dir.Remove("c"))
			write(t, dir, "d", "two", true)
			must(t, dir.Sync())
			if names, err := dir.List(); err != nil || !slices.Equal(names, []string{"b", "d"}) {
				t.Errorf("%q, %v", names, err)
			}
			if content, err := dir.Read("b"); err != nil || string(content) != "one" {
				t.Errorf("%q, %v", content, err)
			}
			_, read := dir.Read("a")
			for _, err := range []error{read, dir.Remove("a"), dir.Rename("a", "d")} {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("of what isn't there: %v", err)
				}
			}
			if content, err := dir.Read("d"); err != nil || string(content) != "two" {
				t.Errorf("%q, %v", content, err)
			}
		})
	}
}

// What was synced survives whole. Of the rest, over many cuts, everything is met
// that a file system may do.
func TestDisk_Restart(t *testing.T) {
	met := map[string]bool{}
	for seed := range uint64(200) {
		d := crashfs.New(seed)
		dir := d.Mount()
		write(t, dir, "kept", "safe", true)
		write(t, dir, "gone", "safe", true)
		must(t, dir.Sync())
		must(t, dir.Remove("gone"))
		write(t, dir, "named", "safe", true)
		write(t, dir, "torn", "content", false)
		must(t, dir.Sync())
		write(t, dir, "new", "safe", true)
		must(t, dir.Rename("named", "moved"))
		d.Restart()
		if _, err := dir.Read("kept"); !errors.Is(err, crashfs.ErrOff) {
			t.Fatalf("mounted before the cut: %v", err)
		}
		dir = d.Mount()
		for name, content := range d.Files() {
			text := string(content)
			switch {
			case name == "gone":
				t.Fatal("what was removed and synced is back")
			case name != "torn" && text != "safe":
				t.Fatalf("seed %d: %s is %q", seed, name, text)
			case name != "torn":
				met[name] = true
			case text == "content":
				met["whole"] = true
			case strings.HasPrefix("content", text):
				met["cut"] = true
			case strings.HasSuffix(text, "\x00\x00"):
				met["zeros"] = true
			default:
				met["rubbish"] = true
			}
		}
		files := d.Files()
		if files["kept"] == nil || files["named"] == nil && files["moved"] == nil {
			t.Fatalf("seed %d: a synced file is gone, there are %q", seed, files)
		}
		if files["new"] == nil {
			met["lost"] = true
		}
		if content, err := dir.Read("kept"); err != nil || string(content) != "safe" {
			t.Fatalf("%q, %v", content, err)
		}
	}
	for _, what := range []string{"kept", "named", "moved", "new", "lost", "whole", "cut", "zeros", "rubbish"} {
		if !met[what] {
			t.Errorf("in 200 cuts there was never: %s", what)
		}
	}
}

func TestDisk_SameSeedSameRest(t *testing.T) {
	rest := func() map[string][]byte {
		d := crashfs.New(7)
		dir := d.Mount()
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			write(t, dir, name, strings.Repeat(name, 20), false)
		}
		d.Restart()
		return d.Files()
	}
	first := rest()
	for range 20 {
		again := rest()
		if len(again) != len(first) {
			t.Fatalf("%q, then %q", first, again)
		}
		for name, content := range first {
			if string(again[name]) != string(content) {
				t.Fatalf("%s is %q, then %q", name, content, again[name])
			}
		}
	}
}

func TestDisk_Trouble(t *testing.T) {
	d := crashfs.New(1)
	dir := d.Mount()
	d.Trouble(2, unix.EIO)
	write(t, dir, "a", "x", false)
	if err := dir.Sync(); !errors.Is(err, unix.EIO) || d.Off() {
		t.Errorf("the third operation: %v", err)
	}
	must(t, dir.Sync())
	d.Trouble(0, nil)
	if _, err := dir.Create("b"); !errors.Is(err, crashfs.ErrOff) || !d.Off() {
		t.Errorf("with the power gone: %v", err)
	}
	if _, err := dir.List(); !errors.Is(err, crashfs.ErrOff) {
		t.Errorf("and then: %v", err)
	}
	d.Restart()
	dir = d.Mount()
	d.Limit(3)
	f, err := dir.Create("b")
	must(t, err)
	if _, err := f.Write([]byte("long")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("with room for three bytes: %v", err)
	}
	d.Limit(-1)
	if _, err := f.Write([]byte("long")); err != nil {
		t.Error(err)
	}
	d.Refuse(unix.EROFS)
	for _, err := range []error{f.Sync(), dir.Sync(), dir.Remove("b"), dir.Rename("b", "c")} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("of a disk that refuses: %v", err)
		}
	}
	if content, err := dir.Read("b"); err != nil || string(content) != "long" {
		t.Errorf("%q, %v", content, err)
	}
	d.Spoil("b", unix.EIO)
	if content, err := dir.Read("b"); !errors.Is(err, unix.EIO) || content != nil {
		t.Errorf("where it is spoiled: %q, %v", content, err)
	}
	d.Spoil("b", nil)
	if content, err := dir.Read("b"); err != nil || string(content) != "long" {
		t.Errorf("and then: %q, %v", content, err)
	}
}
