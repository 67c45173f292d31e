package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	digest "github.com/opencontainers/go-digest"
)

// entry is one entry of an archive under test.
type entry struct {
	name, body, link string
	kind             byte // default: a file, or a directory if name ends in /
	mode             int64
	uid              int
	pax              map[string]string
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Uid: e.uid, Size: int64(len(e.body)), PAXRecords: e.pax}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if strings.HasSuffix(e.name, "/") {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if h.Typeflag == tar.TypeChar {
			h.Devmajor, h.Devminor = 1, 3
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func put(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// oci is an image layout under construction.
type oci struct {
	t     testing.TB
	dir   string
	index ocispec.Index
}

func newLayout(t testing.TB, dir string) *oci {
	return &oci{t: t, dir: dir, index: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}}
}

func (l *oci) blob(mediaType string, b []byte) ocispec.Descriptor {
	sum := sha256.Sum256(b)
	d := "sha256:" + hex.EncodeToString(sum[:])
	put(l.t, filepath.Join(l.dir, "blobs/sha256", d[7:]), b)
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(d), Size: int64(len(b))}
}

func (l *oci) json(mediaType string, v any) ocispec.Descriptor {
	b, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, b)
}

// image adds an image of layers and returns its descriptor.
func (l *oci) image(arch string, layers ...[]byte) ocispec.Descriptor {
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}}
	cfg.Config = ocispec.ImageConfig{Entrypoint: []string{"/run"}, Cmd: []string{"-x"}, Env: []string{"A=" + arch}, WorkingDir: "/w", User: "7"}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, layer := range layers {
		sum := sha256.Sum256(layer)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.Digest("sha256:"+hex.EncodeToString(sum[:])))
		m.Layers = append(m.Layers, l.blob(ocispec.MediaTypeImageLayerGzip, zip(l.t, layer)))
	}
	m.Config = l.json(ocispec.MediaTypeImageConfig, cfg)
	d := l.json(ocispec.MediaTypeImageManifest, m)
	d.Platform = &cfg.Platform
	return d
}

func (l *oci) tag(d ocispec.Descriptor, tag string) {
	if tag != "" {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	}
	l.index.Manifests = append(l.index.Manifests, d)
}

func (l *oci) write() {
	b, err := json.Marshal(l.index)
	if err != nil {
		l.t.Fatal(err)
	}
	put(l.t, filepath.Join(l.dir, "index.json"), b)
	put(l.t, filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

func newStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Components == "" {
		cfg.Components = t.TempDir()
	}
	cfg.Data, cfg.Arch = t.TempDir(), "amd64"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func resolve(t testing.TB, s *Store, ref string) Component {
	t.Helper()
	c, err := s.Resolve(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t testing.TB, c Component, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.Root, path))
	if err != nil {
		return "none"
	}
	return string(b)
}

func TestResolve_FindsEveryForm(t *testing.T) {
	s := newStore(t, Config{})
	body := pack(t, entry{name: "bin/"}, entry{name: "bin/x", body: "x", mode: 0o755})
	put(t, filepath.Join(s.cfg.Components, "dir@1/bin/x"), []byte("x"))
	put(t, filepath.Join(s.cfg.Components, "a@1.tar"), body)
	put(t, filepath.Join(s.cfg.Components, "b@1.tar.gz"), zip(t, body))
	put(t, filepath.Join(s.cfg.Components, "grid/c@1.0-rc.1.tgz"), zip(t, body))
	l := newLayout(t, filepath.Join(s.cfg.Components, "img@1"))
	l.tag(l.image("amd64", body), "")
	l.write()
	for _, ref := range []string{"dir@1", "a@1", "b@1", "grid/c@1.0-rc.1", "img@1", "file://" + s.cfg.Components + "/b@1.tar.gz", "file://" + s.cfg.Components + "/img@1"} {
		c := resolve(t, s, ref)
		if read(t, c, "bin/x") != "x" || c.Reference != ref {
			t.Errorf("%s: %+v", ref, c)
		}
		if isImage := strings.Contains(ref, "img"); isImage != (len(c.Image.Entrypoint) > 0) {
			t.Errorf("%s: image %+v", ref, c.Image)
		}
		if again := resolve(t, s, ref); again.Root != c.Root || again.Digest != c.Digest {
			t.Errorf("%s is not stable: %+v, %+v", ref, c, again)
		}
	}
	if got := resolve(t, s, "img@1").Image; got.Cmd[0] != "-x" || got.Env[0] != "A=amd64" || got.WorkingDir != "/w" || got.User != "7" {
		t.Errorf("image %+v", got)
	}
}

func TestResolve_Refuses(t *testing.T) {
	s := newStore(t, Config{})
	put(t, filepath.Join(s.cfg.Components, "broken@1.tar"), []byte("this is no tar archive, but it is longer than nothing"))
	put(t, filepath.Join(s.cfg.Components, "cut@1.tar.gz"), zip(t, pack(t, entry{name: "a", body: strings.Repeat("x", 5000)}))[:40])
	put(t, filepath.Join(s.cfg.Components, "zstd@1.tar"), []byte{0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3})
	for ref, want := range map[string]error{
		"none@1": ErrComponentNotFound, "file:///no/such": ErrComponentNotFound,
		"broken@1": ErrFormat, "cut@1": ErrFormat, "zstd@1": ErrFormat,
		"none": ErrReference, "../x@1": ErrReference, "a/../../x@1": ErrReference, "file://rel": ErrReference, "file:///a/../b": ErrReference, "http://x/y@1": ErrReference,
	} {
		if _, err := s.Resolve(context.Background(), ref); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", ref, err, want)
		}
	}
	_, err := s.Resolve(context.Background(), "none@1")
	if !strings.Contains(err.Error(), s.cfg.Components+"/none@1, neither") || !strings.Contains(err.Error(), ".tar.gz") {
		t.Errorf("error does not say where it looked: %v", err)
	}
	if left, _ := filepath.Glob(s.dir("*")); len(left) != 1 || filepath.Base(left[0]) != fileIndex {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnpack_LayersAndWhiteouts(t *testing.T) {
	s := newStore(t, Config{})
	l := newLayout(t, filepath.Join(s.cfg.Components, "img@1"))
	l.tag(l.image("amd64",
		pack(t, entry{name: "etc/"}, entry{name: "etc/old", body: "1"}, entry{name: "etc/keep", body: "1"},
			entry{name: "var/cache/a", body: "1"}, entry{name: "var/cache/sub/b", body: "1"}, entry{name: "gone/deep/x", body: "1"},
			entry{name: "tool", body: "1", mode: 0o4755}, entry{name: "hard", kind: tar.TypeLink, link: "tool"}, entry{name: "dir-to-file/x", body: "1"}),
		pack(t, entry{name: "etc/.wh.old"}, entry{name: "var/cache/new", body: "2"}, entry{name: "var/cache/sub/c", body: "2"}, entry{name: "var/cache/.wh..wh..opq"},
			entry{name: ".wh.gone"}, entry{name: "tool", body: "2"}, entry{name: "dir-to-file", body: "2"}, entry{name: "etc/.wh.never"},
			entry{name: "run", kind: tar.TypeSymlink, link: "/var/run"}, entry{name: "var/run/"}, entry{name: "run/pid", body: "2"}),
	), "")
	l.write()
	c := resolve(t, s, "img@1")
	for path, want := range map[string]string{
		"etc/old": "none", "etc/keep": "1", "var/cache/a": "none", "var/cache/sub/b": "none", "var/cache/new": "2", "var/cache/sub/c": "2",
		"gone/deep/x": "none", "tool": "2", "hard": "1", "dir-to-file": "2", "var/run/pid": "2", "etc/.wh.old": "none",
	} {
		if got := read(t, c, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if st, err := os.Stat(filepath.Join(c.Root, "hard")); err != nil || st.Mode()&os.ModeSetuid == 0 {
		t.Errorf("mode %v %v", st, err)
	}
}

func TestUnpack_KeepsWhatTheArchiveSays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("owners and devices need root: sudo -E go test ./edge/artifact/...")
	}
	s := newStore(t, Config{})
	put(t, filepath.Join(s.cfg.Components, "a@1.tar"), pack(t,
		entry{name: "./"}, entry{name: "./null", kind: tar.TypeChar, mode: 0o666}, entry{name: "./pipe", kind: tar.TypeFifo},
		entry{name: "./own", body: "x", uid: 1234, mode: 0o2750}, entry{name: "l", kind: tar.TypeSymlink, link: "../../etc/passwd"},
		entry{name: "cap", body: "x", pax: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}}))
	c := resolve(t, s, "a@1")
	st, err := os.Lstat(filepath.Join(c.Root, "null"))
	if err != nil || st.Mode()&os.ModeCharDevice == 0 || st.Sys().(*syscall.Stat_t).Rdev != 0x103 {
		t.Errorf("null: %v %v", st, err)
	}
	if st, err = os.Lstat(filepath.Join(c.Root, "own")); err != nil || st.Sys().(*syscall.Stat_t).Uid != 1234 || st.Mode() != 0o750|os.ModeSetgid {
		t.Errorf("own: %v %v", st, err)
	}
	if l, err := os.Readlink(filepath.Join(c.Root, "l")); l != "../../etc/passwd" {
		t.Errorf("link: %q %v", l, err)
	}
	if n, err := syscall.Getxattr(filepath.Join(c.Root, "cap"), "security.capability", make([]byte, 64)); n != 20 {
		t.Errorf("capability: %d %v", n, err)
	}
}

func TestUnpack_StaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	put(t, filepath.Join(outside, "file"), []byte("untouched"))
	for name, entries := range map[string][]entry{
		"climb":              {{name: "../../x", body: "x"}},
		"climb inside":       {{name: "a/../../x", body: "x"}},
		"hard link out":      {{name: "h", kind: tar.TypeLink, link: "../../../etc/passwd"}},
		"hard link to link":  {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "h", kind: tar.TypeLink, link: "l/file"}},
		"tree is no dir":     {{name: ".", kind: tar.TypeSymlink, link: "/"}},
		"through dangling":   {{name: "l", kind: tar.TypeSymlink, link: "../../nowhere"}, {name: "l/x", body: "x"}},
		"through file":       {{name: "f", body: "x"}, {name: "f/x", body: "x"}},
		"through link loop":  {{name: "l", kind: tar.TypeSymlink, link: "l"}, {name: "l/x", body: "x"}},
		"whiteout of nobody": {{name: ".wh..."}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, Config{})
			l := newLayout(t, filepath.Join(s.cfg.Components, "a@1"))
			l.tag(l.image("amd64", pack(t, entries...)), "")
			l.write()
			_, err := s.Resolve(context.Background(), "a@1")
			if !errors.Is(err, ErrUnsafePath) && !errors.Is(err, ErrFormat) {
				t.Errorf("error %v", err)
			}
		})
	}
	// An absolute link is taken as the tree means it.
	s := newStore(t, Config{})
	put(t, filepath.Join(s.cfg.Components, "a@1.tar"), pack(t,
		entry{name: "l", kind: tar.TypeSymlink, link: outside}, entry{name: strings.TrimPrefix(outside, "/") + "/"},
		entry{name: "l/file", body: "inside"}, entry{name: "l", body: "replaced"}))
	c := resolve(t, s, "a@1")
	if read(t, c, outside+"/file") != "inside" || read(t, c, "l") != "replaced" {
		t.Error("the link was not taken as inside the tree")
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "file")); string(b) != "untouched" {
		t.Errorf("outside was written: %s", b)
	}
	if e, _ := os.ReadDir(outside); len(e) != 1 {
		t.Errorf("outside holds %v", e)
	}
}

func TestUnpack_Limits(t *testing.T) {
	big := pack(t, entry{name: "a", body: strings.Repeat("x", 6000)}, entry{name: "b", body: strings.Repeat("x", 6000)})
	padded := append(pack(t, entry{name: "a", body: "x"}), make([]byte, 1<<20)...)
	for name, c := range map[string]struct {
		cfg   Config
		layer []byte
	}{
		"bytes":   {Config{MaxBytes: 10_000}, big},
		"entries": {Config{MaxEntries: 1}, big},
		"padding": {Config{MaxBytes: 10_000}, padded},
	} {
		c.cfg.Components = t.TempDir()
		s := newStore(t, c.cfg)
		l := newLayout(t, filepath.Join(s.cfg.Components, "a@1"))
		l.tag(l.image("amd64", c.layer), "")
		l.write()
		if _, err := s.Resolve(context.Background(), "a@1"); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(s.dir("*")); len(left) != 0 {
			t.Errorf("%s: left behind %v", name, left)
		}
	}
}

func TestLayout_ChoosesPlatformAndTag(t *testing.T) {
	s := newStore(t, Config{})
	l := newLayout(t, filepath.Join(s.cfg.Components, "a@1"))
	arm, amd := l.image("arm64", pack(t, entry{name: "x", body: "arm"})), l.image("amd64", pack(t, entry{name: "x", body: "amd"}))
	l.tag(l.json(ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: []ocispec.Descriptor{arm, amd}}), "1")
	l.tag(l.image("amd64", pack(t, entry{name: "x", body: "two"})), "repo/a:2")
	l.write()
	if got := read(t, resolve(t, s, "a@1"), "x"); got != "amd" {
		t.Error(got)
	}
	if got := read(t, resolve(t, s, "file://"+l.dir+"#2"), "x"); got != "two" {
		t.Error(got)
	}
	if _, err := s.Resolve(context.Background(), "file://"+l.dir+"#3"); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	s.cfg.Arch = "riscv64"
	if _, err := s.Resolve(context.Background(), "a@1"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "linux/arm64") && !strings.Contains(err.Error(), "riscv64") {
		t.Error(err)
	}
}

// Whatever blob is tampered with, nothing of the image is used.
func TestLayout_DigestsAreVerified(t *testing.T) {
	dir := t.TempDir()
	l := newLayout(t, dir)
	l.tag(l.image("amd64", pack(t, entry{name: "x", body: "one"}), pack(t, entry{name: "y", body: "two"})), "")
	l.write()
	blobs, _ := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if len(blobs) != 4 {
		t.Fatal(blobs)
	}
	for _, b := range blobs {
		good, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{
			"flipped": append(append([]byte{}, good[:len(good)-1]...), good[len(good)-1]^1),
			"longer":  append(append([]byte{}, good...), ' '),
			"shorter": good[:len(good)-1],
		} {
			put(t, b, bad)
			s := newStore(t, Config{})
			if _, err := s.Resolve(context.Background(), "file://"+dir); !errors.Is(err, ErrDigestMismatch) {
				t.Errorf("%s %s: %v", what, filepath.Base(b), err)
			}
			if left, _ := filepath.Glob(s.dir("sha256-*")); len(left) != 0 {
				t.Errorf("kept %v", left)
			}
		}
		put(t, b, good)
	}
	if err := os.Remove(blobs[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := newStore(t, Config{}).Resolve(context.Background(), "file://"+dir); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func TestArchive_OfALayout(t *testing.T) {
	s := newStore(t, Config{})
	l := newLayout(t, t.TempDir())
	l.tag(l.image("amd64", pack(t, entry{name: "x", body: "one"})), "")
	l.write()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(l.dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.cfg.Components, "a@1.tar"), b.Bytes())
	c := resolve(t, s, "a@1")
	if read(t, c, "x") != "one" || c.Image.Entrypoint[0] != "/run" {
		t.Errorf("%+v", c)
	}
}

func TestStore_UnpacksOnceAndAnew(t *testing.T) {
	s := newStore(t, Config{})
	file := filepath.Join(s.cfg.Components, "a@1.tar")
	put(t, file, pack(t, entry{name: "x", body: "one"}))
	one := resolve(t, s, "a@1")
	mark := filepath.Join(filepath.Dir(one.Root), "mark")
	put(t, mark, nil)
	// What a crash leaves of an unpacking is never taken for a tree.
	put(t, s.dir(working, rootfs, "x"), []byte("half"))
	other, err := New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if again := resolve(t, other, "a@1"); again.Root != one.Root || read(t, again, "../mark") != "" {
		t.Errorf("unpacked again: %+v", again)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(one.Root), imageFile)); err != nil {
		t.Fatal(err)
	}
	if again := resolve(t, other, "a@1"); read(t, again, "../mark") != "none" || read(t, again, "x") != "one" {
		t.Error("an incomplete tree was used")
	}
	put(t, file, pack(t, entry{name: "x", body: "two!"}))
	two := resolve(t, s, "a@1")
	if two.Digest == one.Digest || read(t, two, "x") != "two!" {
		t.Errorf("changed file was not noticed: %+v", two)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := os.RemoveAll(filepath.Dir(two.Root)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(ctx, "a@1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzUnpack feeds arbitrary archives: nothing may be written beside the tree.
func FuzzUnpack(f *testing.F) {
	f.Add(pack(f, entry{name: "a/b", body: "x"}, entry{name: "l", kind: tar.TypeSymlink, link: "../.."}, entry{name: "l/out", body: "x"}))
	f.Add(pack(f, entry{name: "a", body: "x"}, entry{name: "h", kind: tar.TypeLink, link: "a"}, entry{name: ".wh.a"}, entry{name: ".wh..wh..opq"}))
	f.Add(pack(f, entry{name: "l", kind: tar.TypeSymlink, link: "/"}, entry{name: "l/tmp/x", body: "x"}, entry{name: "../x", body: "x"}))
	f.Add(zip(f, pack(f, entry{name: "d/"})))
	f.Fuzz(func(t *testing.T, b []byte) {
		base := t.TempDir()
		root := filepath.Join(base, "a/b/root")
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		r, err := decompress(bytes.NewReader(b))
		if err != nil {
			return
		}
		u, err := newUnpacker(root, Config{MaxBytes: 1 << 20, MaxEntries: 100})
		if err != nil {
			t.Fatal(err)
		}
		defer u.close()
		u.whiteouts = true
		_ = u.apply(context.Background(), r)
		for dir, want := range map[string]string{base: "a", filepath.Join(base, "a"): "b", filepath.Join(base, "a/b"): "root"} {
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || entries[0].Name() != want {
				t.Fatalf("%s holds %v: %v", dir, entries, err)
			}
		}
	})
}
