package rotate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gnomon/edge/cmd/gnomon-shim/rotate/rotatetest"
)

func total(t interface{ Fatal(...any) }, path string) (size int64, text []byte) {
	for _, name := range []string{path + ".2", path + ".1", path} {
		b, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		size += int64(len(b))
		text = append(text, b...)
	}
	return size, text
}

// Whatever is written in whatever pieces, with whatever reopening: the bound
// holds and what is kept is the end of what was written.
func TestLog_KeepsTheEndWithinBounds(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		path := filepath.Join(dir, "log")
		for _, suffix := range []string{"", ".1", ".2", ".3"} {
			_ = os.Remove(path + suffix)
		}
		const limit, files = 64, 3
		l, err := Open(path, limit, files)
		if err != nil {
			r.Fatal(err)
		}
		var all []byte
		for _, piece := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 0, 20).Draw(r, "pieces") {
			if n, err := l.Write(piece); n != len(piece) || err != nil {
				r.Fatalf("wrote %d of %d: %v", n, len(piece), err)
			}
			all = append(all, piece...)
			if len(piece)%3 == 0 {
				_ = l.Close()
				if l, err = Open(path, limit, files); err != nil {
					r.Fatal(err)
				}
			}
		}
		_ = l.Close()
		size, text := total(r, path)
		if size > limit*files || !bytes.HasSuffix(all, text) {
			r.Fatalf("%d bytes kept of %d", size, len(all))
		}
		if _, err := os.Stat(path + ".3"); err == nil {
			r.Fatal("a fourth file")
		}
	})
}

func TestLog_DropsWhatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d", "log")
	l, err := Open(path, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := l.Write([]byte("0123456789abcdef")); n != 16 || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("back")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); string(b) != "back" {
		t.Errorf("%q %v", b, err)
	}
}

// While one instance takes over from another both write, and what one of them
// writes after the other comes after it.
func TestLog_OfTwoWriters(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		path := filepath.Join(dir, "log")
		for _, suffix := range []string{"", ".1", ".2", ".3"} {
			_ = os.Remove(path + suffix)
		}
		const limit, files = 64, 3
		var logs [2]*Log
		for i := range logs {
			l, err := Open(path, limit, files)
			if err != nil {
				r.Fatal(err)
			}
			defer l.Close()
			logs[i] = l
		}
		var all []byte
		for _, piece := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 100), 0, 20).Draw(r, "pieces") {
			_, _ = logs[int(piece[0])%2].Write(piece)
			all = append(all, piece...)
		}
		size, text := total(r, path)
		if size > limit*files || !bytes.HasSuffix(all, text) || len(all) > limit*files && len(text) < limit {
			r.Fatalf("%d bytes kept of %d", size, len(all))
		}
	})
}

// Two writers that find the file full at the same moment rotate once: the second
// would drop the oldest file for one that is almost empty.
func TestLog_TwoWritersRotateOnce(t *testing.T) {
	dir := t.TempDir()
	const limit, files = 64, 3
	full := func(fill byte) []byte { return bytes.Repeat([]byte{fill}, limit) }
	for round := range 100 {
		path := filepath.Join(dir, fmt.Sprint(round))
		for name, text := range map[string][]byte{path: full('c'), path + ".1": full('b'), path + ".2": full('a')} {
			if err := os.WriteFile(name, text, 0o640); err != nil {
				t.Fatal(err)
			}
		}
		held, err := os.Open(path) // both shall wait at the same place
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			l, err := Open(path, limit, files)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				_, _ = l.Write([]byte("line\n"))
				_ = l.Close()
			})
		}
		rotatetest.AwaitWaiting(t, 2)
		held.Close()
		wg.Wait()
		for name, want := range map[string]string{path: "line\nline\n", path + ".1": string(full('c')), path + ".2": string(full('b'))} {
			if got, err := os.ReadFile(name); string(got) != want {
				t.Fatalf("round %d: %s holds %q, want %q: %v", round, filepath.Base(name), got, want, err)
			}
		}
	}
}
