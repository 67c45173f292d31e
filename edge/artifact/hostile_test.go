package artifact

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tarOf packs a directory.
func tarOf(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// soon resolves a component that must not keep the store waiting.
func soon(t *testing.T, s *Store, ref string) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := s.Resolve(context.Background(), ref)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the store waits for ever")
		return nil
	}
}

// What an archive says is a layout is read only where it is files: a pipe would keep
// the store waiting for ever, a device do whatever it does, and a link lead out.
func TestArchive_OfALayoutHoldsFilesOnly(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "index.json")
	put(t, outside, []byte(`{"manifests":[]}`))
	for what, bad := range map[string]entry{
		"a pipe":            {name: "index.json", kind: tar.TypeFifo, mode: 0o644},
		"a device":          {name: "index.json", kind: tar.TypeChar, mode: 0o644},
		"a link out of it":  {name: "index.json", kind: tar.TypeSymlink, link: outside},
		"a pipe for a blob": {name: "blobs/sha256/" + strings.Repeat("0", 64), kind: tar.TypeFifo, mode: 0o644},
	} {
		s := newStore(t, Config{})
		entries := []entry{{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`, mode: 0o644}, bad}
		if bad.name != "index.json" {
			entries = append(entries, entry{name: "index.json", mode: 0o644,
				body: `{"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"sha256:` + strings.Repeat("0", 64) + `","size":3}]}`})
		}
		put(t, filepath.Join(s.cfg.Components, "a@1.tar"), pack(t, entries...))
		if err := soon(t, s, "a@1"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), bad.name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// So is a layout that lies in the components directory.
	s := newStore(t, Config{})
	l := newLayout(t, filepath.Join(s.cfg.Components, "a@1"))
	d := l.image("amd64", pack(t, entry{name: "x", body: "x"}))
	l.tag(d, "")
	l.write()
	blob := filepath.Join(l.dir, "blobs/sha256", d.Digest.Encoded())
	if err := errors.Join(os.Remove(blob), syscall.Mkfifo(blob, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := soon(t, s, "a@1"); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// Directories that an archive only implies count like those it names.
func TestUnpack_ImpliedDirectoriesAreLimited(t *testing.T) {
	deep := strings.Repeat("d/", 300)
	for what, entries := range map[string][]entry{
		"of files":     {{name: "a/" + deep + "x", mode: 0o644}, {name: "b/" + deep + "x", mode: 0o644}},
		"of whiteouts": {{name: "a/" + deep + ".wh.x", mode: 0o644}, {name: "b/" + deep + ".wh.x", mode: 0o644}},
	} {
		for most, want := range map[int]error{500: ErrTooLarge, 700: nil} {
			s := newStore(t, Config{MaxEntries: most})
			l := newLayout(t, filepath.Join(s.cfg.Components, "a@1"))
			l.tag(l.image("amd64", pack(t, entries...)), "")
			l.write()
			if _, err := s.Resolve(context.Background(), "a@1"); !errors.Is(err, want) {
				t.Errorf("%s, at most %d: %v", what, most, err)
			}
		}
	}
}

// A tree whose content may not be on disk is none.
func TestStore_KeepsNothingThatIsNotOnDisk(t *testing.T) {
	s := newStore(t, Config{})
	put(t, filepath.Join(s.cfg.Components, "a@1.tar"), pack(t, entry{name: "x", body: "one", mode: 0o644}))
	s.sync = func(string) error { return syscall.EIO }
	if _, err := s.Resolve(context.Background(), "a@1"); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(s.dir("sha256-*")); len(left) != 0 {
		t.Errorf("kept %v", left)
	}
	s.sync = syncTree
	if got := read(t, resolve(t, s, "a@1"), "x"); got != "one" {
		t.Error(got)
	}
}

// Of an archive that holds several images each tag is a component of its own, with
// what is kept of it.
func TestArchive_OfSeveralImages(t *testing.T) {
	s := newStore(t, Config{})
	l := newLayout(t, t.TempDir())
	one, two := l.image("amd64", pack(t, entry{name: "x", body: "one", mode: 0o644})), l.image("amd64", pack(t, entry{name: "x", body: "two", mode: 0o644}))
	l.tag(one, "v1")
	l.tag(two, "v2")
	l.write()
	file := filepath.Join(s.cfg.Components, "all.tar")
	put(t, file, tarOf(t, l.dir))
	roots := map[string]string{}
	for range 2 {
		for tag, want := range map[string]struct {
			text string
			of   ocispec.Descriptor
		}{"v1": {"one", one}, "v2": {"two", two}} {
			c := resolve(t, s, "file://"+file+"#"+tag)
			if got := read(t, c, "x"); got != want.text || c.Digest != want.of.Digest.String() {
				t.Errorf("%s: %q, %+v", tag, got, c)
			}
			mark := filepath.Join(filepath.Dir(c.Root), "mark")
			if _, err := os.Stat(mark); (err == nil) != (roots[tag] != "") {
				t.Errorf("%s is unpacked each time: %v", tag, err)
			}
			put(t, mark, nil)
			roots[tag] = c.Root
		}
	}
	// The layout itself is the same component.
	if c := resolve(t, s, "file://"+l.dir+"#v2"); c.Root != roots["v2"] {
		t.Errorf("%+v", c)
	}
	// So it is if the archive has to be read again.
	if err := os.RemoveAll(s.dir(fileIndex)); err != nil {
		t.Fatal(err)
	}
	if c := resolve(t, s, "file://"+file+"#v2"); c.Root != roots["v2"] || read(t, c, "../mark") != "" {
		t.Errorf("%+v", c)
	}
	if _, err := s.Resolve(context.Background(), "file://"+file+"#v3"); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// An archive that is cut off or damaged is called so, wherever that shows.
func TestArchive_Damaged(t *testing.T) {
	whole := pack(t, entry{name: "x", body: strings.Repeat("0123456789", 1000), mode: 0o644}, entry{name: "y", body: "y", mode: 0o644})
	zipped := zip(t, whole)
	other := bytes.Clone(zipped)
	other[len(other)-8] ^= 1
	flipped := bytes.Clone(zipped)
	flipped[len(flipped)/2] ^= 0x55
	for what, b := range map[string][]byte{
		"a tar within a file":    whole[:4096],
		"a tar within a header":  whole[:700],
		"a gzip":                 zipped[:len(zipped)/2],
		"a gzip in its header":   zipped[:5],
		"a gzip, flipped":        flipped,
		"a gzip, of another sum": other,
		"a gzip without its sum": zipped[:len(zipped)-8],
	} {
		s := newStore(t, Config{})
		put(t, filepath.Join(s.cfg.Components, "a@1.tar"), b)
		if _, err := s.Resolve(context.Background(), "a@1"); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What is behind a gzip is nothing of it, unless it begins as a further member does.
func TestArchive_Trailing(t *testing.T) {
	whole := pack(t, entry{name: "x", body: strings.Repeat("0123456789", 1000), mode: 0o644}, entry{name: "y", body: "y", mode: 0o644})
	zipped := zip(t, whole)
	inTwo := append(zip(t, whole[:5000]), zip(t, whole[5000:])...)
	other := bytes.Clone(inTwo)
	other[len(other)-8] ^= 1
	for what, c := range map[string]struct {
		archive, behind []byte
		want            error
	}{
		"nothing":                  {archive: zipped},
		"a newline":                {archive: zipped, behind: []byte("\n")},
		"nine bytes":               {archive: zipped, behind: make([]byte, 9)},
		"ten bytes":                {archive: zipped, behind: make([]byte, 10)},
		"a tape's padding":         {archive: zipped, behind: make([]byte, 512)},
		"half of a gzip's mark":    {archive: zipped, behind: []byte{0x1f}},
		"another method":           {archive: zipped, behind: []byte{0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0, 0}},
		"nothing, two members":     {archive: inTwo},
		"a newline, two members":   {archive: inTwo, behind: []byte("\n")},
		"an empty member, and one": {archive: append(zip(t, nil), zipped...), behind: zip(t, nil)},
		"half a header":            {archive: zipped, behind: zipped[:5], want: ErrFormat},
		"half a member":            {archive: zipped, behind: zipped[:30], want: ErrFormat},
		"no member":                {archive: zipped, behind: []byte("\x1f\x8b\x08 is how one begins"), want: ErrFormat},
		"a header's wrong sum":     {archive: zipped, behind: []byte{0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 0, 1, 1}, want: ErrFormat},
		"a second of another sum":  {archive: other, want: ErrFormat},
		"a second cut off":         {archive: inTwo[:len(inTwo)-9], want: ErrFormat},
	} {
		s := newStore(t, Config{})
		put(t, filepath.Join(s.cfg.Components, "a@1.tgz"), append(bytes.Clone(c.archive), c.behind...))
		got, err := s.Resolve(context.Background(), "a@1")
		if !errors.Is(err, c.want) || err == nil && read(t, got, "y") != "y" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
