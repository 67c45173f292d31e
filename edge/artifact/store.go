package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a kept component consists of:
//
//	DATA/components/sha256-HEX/rootfs      the tree
//	DATA/components/sha256-HEX/image.json  how it wants to be run
//	DATA/components/files/HEX.json         digest of an archive file, so that it is read only once
//	DATA/components/unpacking              work in progress; worthless after a crash
const (
	rootfs    = "rootfs"
	imageFile = "image.json"
	working   = "unpacking"
	fileIndex = "files"
)

func (s *Store) dir(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.Data, "components"}, parts...)...)
}

func (s *Store) keptAt(digest string) string {
	return s.dir(strings.ReplaceAll(digest, ":", "-"))
}

// unpackOnce returns the kept tree of a source, unpacking it if there is none.
func (s *Store) unpackOnce(ctx context.Context, src source) (Component, error) {
	switch src.kind {
	case plain:
		return Component{Root: src.path}, nil
	case layout:
		img, err := openImage(src.path, src.tag, s.cfg.Arch)
		if err != nil {
			return Component{}, err
		}
		return s.keep(img.digest, func(work string) (Image, error) { return s.unpackImage(ctx, img, work) })
	default:
		digest, err := s.digestOf(ctx, src.path)
		if err != nil {
			return Component{}, err
		}
		return s.keep(digest, func(work string) (Image, error) { return s.unpackFile(ctx, src, digest, work) })
	}
}

// keep makes the tree of a digest appear whole, by renaming it into place once
// all of it is on disk.
func (s *Store) keep(digest string, unpack func(work string) (Image, error)) (Component, error) {
	kept := s.keptAt(digest)
	if c, err := readKept(kept, digest); err == nil {
		return c, nil
	}
	work := s.dir(working)
	if err := os.RemoveAll(work); err != nil {
		return Component{}, err
	}
	if err := os.MkdirAll(filepath.Join(work, rootfs), 0o755); err != nil {
		return Component{}, err
	}
	defer func() { _ = os.RemoveAll(work) }() // gone already if all went well
	img, err := unpack(work)
	if err != nil {
		return Component{}, err
	}
	b, err := json.Marshal(img)
	if err != nil {
		return Component{}, err
	}
	if err := os.WriteFile(filepath.Join(work, imageFile), b, 0o644); err != nil {
		return Component{}, err
	}
	// A left-over that is not readable is no tree of ours.
	if err := errors.Join(syncTree(work), os.RemoveAll(kept), os.Rename(work, kept), syncDir(s.dir())); err != nil {
		return Component{}, err
	}
	return readKept(kept, digest)
}

func readKept(dir, digest string) (Component, error) {
	b, err := os.ReadFile(filepath.Join(dir, imageFile))
	if err != nil {
		return Component{}, err
	}
	c := Component{Digest: digest, Root: filepath.Join(dir, rootfs)}
	if err := json.Unmarshal(b, &c.Image); err != nil {
		return Component{}, err
	}
	_, err = os.Stat(c.Root)
	return c, err
}

// Collect deletes kept trees that none of the roots is in, such as those of
// former versions, and returns the bytes freed.
func (s *Store) Collect(roots []string) (freed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := map[string]bool{}
	for _, r := range roots {
		used[filepath.Base(filepath.Dir(r))] = true
	}
	entries, err := os.ReadDir(s.dir())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "sha256-") || used[e.Name()] {
			continue
		}
		size := sizeOf(s.dir(e.Name()))
		// Without its image.json it counts as not there, however far this gets.
		if err := errors.Join(os.Remove(s.dir(e.Name(), imageFile)), os.RemoveAll(s.dir(e.Name()))); err != nil {
			errs = append(errs, err)
			continue
		}
		freed += size
	}
	return freed, errors.Join(append(errs, err)...)
}

func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // an estimate
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	return size
}

// fileRecord remembers the digest of an archive for as long as the file looks
// the same.
type fileRecord struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"modTime"` // nanoseconds
	Inode   uint64 `json:"inode"`
	Digest  string `json:"digest"`
}

// digestOf returns the digest of a file, read at most once while it is unchanged.
func (s *Store) digestOf(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	now := fileRecord{Path: path, Size: st.Size(), ModTime: st.ModTime().UnixNano()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		now.Inode = sys.Ino
	}
	sum := sha256.Sum256([]byte(path))
	record := s.dir(fileIndex, hex.EncodeToString(sum[:])+".json")
	var known fileRecord
	if b, err := os.ReadFile(record); err == nil && json.Unmarshal(b, &known) == nil {
		digest := known.Digest
		if known.Digest = ""; known == now && strings.HasPrefix(digest, "sha256:") {
			return digest, nil
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, readerFor(ctx, f)); err != nil {
		return "", err
	}
	now.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	b, err := json.Marshal(now)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(record), 0o755); err != nil {
		return "", err
	}
	// Not worth a sync: a damaged record is read as none.
	return now.Digest, os.WriteFile(record, b, 0o644)
}

// readerFor ends a long copy when ctx does.
func readerFor(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives for one copy
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// syncTree makes all that was written below dir durable, in one go.
func syncTree(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
