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
	"reflect"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a kept component consists of:
//
//	DATA/components/sha256-HEX/rootfs      the tree
//	DATA/components/sha256-HEX/image.json  how it wants to be run
//	DATA/components/sha256-HEX/only        of an archive: that it holds no other image
//	DATA/components/files/HEX.json         digest of an archive file, and of images in it, so that it is read only once
//	DATA/components/refs/HEX.json          what a reference stands for, and when it was used
//	DATA/components/unpacking              work in progress; worthless after a crash
const (
	rootfs    = "rootfs"
	imageFile = "image.json"
	onlyFile  = "only"
	working   = "unpacking"
	fileIndex = "files"
)

func (s *Store) dir(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.Data, "components"}, parts...)...)
}

func (s *Store) keptAt(digest string) string {
	return s.dir(nameOf(digest))
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
		return s.keep(ctx, img.digest, img.packed(), func(work string) (Image, string, error) {
			run, err := s.unpackImage(ctx, img, work)
			return run, img.digest, err
		})
	default:
		return s.unpackArchive(ctx, src)
	}
}

// unpackArchive does it for an archive file. Of one that holds several images each is
// kept by its own digest.
func (s *Store) unpackArchive(ctx context.Context, src source) (Component, error) {
	file, err := s.look(ctx, src.path)
	if err != nil {
		return Component{}, err
	}
	digest, chosen := file.Images[src.tag]
	if !chosen {
		digest = file.Digest
	}
	take := s.keep
	if !chosen && s.doubtful(digest) {
		take = s.settle
	}
	c, err := take(ctx, digest, sizeOf(src.path), func(work string) (Image, string, error) {
		return s.unpackFile(ctx, src, file.Digest, work)
	})
	if err == nil && c.Digest != digest {
		if file.Images == nil {
			file.Images = map[string]string{}
		}
		file.Images[src.tag] = c.Digest
		s.note(file)
	}
	return c, err
}

// doubtful tells whether the tree kept by an archive's digest may be any of several
// images: stores without the mark kept whichever was asked for first.
func (s *Store) doubtful(digest string) bool {
	c, err := readKept(s.keptAt(digest), digest)
	if err != nil || reflect.DeepEqual(c.Image, Image{}) {
		return false // none, or no image
	}
	_, err = os.Stat(filepath.Join(s.keptAt(digest), onlyFile))
	return errors.Is(err, os.ErrNotExist)
}

// settle unpacks an archive once more whose tree is doubtful. That one is not touched,
// as instances may run from it: it turns out to be the only image, and gets its mark, or
// stays until nobody needs it. On a disk that takes nothing it is gone on with.
func (s *Store) settle(ctx context.Context, digest string, packed int64, unpack unpacking) (Component, error) {
	kept := s.keptAt(digest)
	c, err := s.add(ctx, packed, unpack)
	if err = named(err); errors.Is(err, ErrDiskFull) || errors.Is(err, ErrDiskReadOnly) {
		old, oerr := readKept(kept, digest)
		if oerr != nil {
			return c, err
		}
		s.cfg.Log.Warn("archive cannot be unpacked to see which image of it is kept", "path", kept, "error", err)
		return old, nil
	}
	if err == nil && c.Digest == digest {
		if err := os.WriteFile(filepath.Join(kept, onlyFile), nil, 0o644); err != nil {
			s.cfg.Log.Warn("component cannot be marked", "path", kept, "error", err)
		}
	}
	return c, err
}

// unpacking unpacks into a directory, and returns how what is there wants to be run,
// and its digest.
type unpacking func(work string) (Image, string, error)

// keep returns the tree of a digest, unpacking it if there is none.
func (s *Store) keep(ctx context.Context, digest string, packed int64, unpack unpacking) (Component, error) {
	if c, err := readKept(s.keptAt(digest), digest); err == nil {
		return c, nil
	}
	return s.add(ctx, packed, unpack)
}

// add unpacks. It takes packed bytes at the least, so with less room it isn't begun; if
// it turns out to take more than there is, what nobody needs is deleted, and it is tried
// once more.
func (s *Store) add(ctx context.Context, packed int64, unpack unpacking) (Component, error) {
	if err := os.MkdirAll(s.dir(), 0o755); err != nil {
		return Component{}, err
	}
	if err := s.room(ctx, float64(packed)); err != nil {
		return Component{}, err
	}
	c, err := s.unpack(unpack)
	if !errors.Is(named(err), ErrDiskFull) {
		return c, err
	}
	before, serr := spaceAt(s.dir())
	if serr != nil {
		return c, errors.Join(err, serr)
	}
	// How much it takes isn't known: with twice the room it is worth another try.
	freed, cerr := s.collect(ctx, func(p space) bool {
		if errors.Is(err, errInodes) {
			return p.spare >= 2*before.spare
		}
		return p.free >= 2*before.free
	})
	if freed == 0 {
		return c, errors.Join(err, cerr)
	}
	return s.unpack(unpack)
}

// unpack makes a tree appear whole, by renaming it into place once all of it is on
// disk. One that is there already, under the digest that it turns out to have, stays.
func (s *Store) unpack(unpack unpacking) (Component, error) {
	work := s.dir(working)
	if err := os.RemoveAll(work); err != nil {
		return Component{}, err
	}
	if err := os.MkdirAll(filepath.Join(work, rootfs), 0o755); err != nil {
		return Component{}, err
	}
	defer func() { _ = os.RemoveAll(work) }() // gone already if all went well
	img, digest, err := unpack(work)
	if err != nil {
		return Component{}, err
	}
	kept := s.keptAt(digest)
	if c, err := readKept(kept, digest); err == nil {
		return c, nil
	}
	b, err := json.Marshal(img)
	if err != nil {
		return Component{}, err
	}
	if err := os.WriteFile(filepath.Join(work, imageFile), b, 0o644); err != nil {
		return Component{}, err
	}
	if err := s.sync(work); err != nil {
		return Component{}, err
	}
	if err := os.RemoveAll(kept); err != nil { // one that is not readable is no tree of ours
		return Component{}, err
	}
	if err := os.Rename(work, kept); err != nil {
		return Component{}, err
	}
	if err := syncDir(s.dir()); err != nil {
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
	fileLook
	Digest string            `json:"digest"`
	Images map[string]string `json:"images,omitempty"` // by tag, where it holds several: their digests
}

// fileLook is what a file that changes changes in.
type fileLook struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"modTime"` // nanoseconds
	Inode   uint64 `json:"inode"`
}

// look returns the record of a file, which is read at most once while it is unchanged.
func (s *Store) look(ctx context.Context, path string) (fileRecord, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileRecord{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fileRecord{}, err
	}
	now := fileRecord{fileLook: fileLook{Path: path, Size: st.Size(), ModTime: st.ModTime().UnixNano()}}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		now.Inode = sys.Ino
	}
	var known fileRecord
	if b, err := os.ReadFile(s.recordOf(path)); err == nil && json.Unmarshal(b, &known) == nil &&
		known.fileLook == now.fileLook && strings.HasPrefix(known.Digest, "sha256:") {
		return known, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, readerFor(ctx, f)); err != nil {
		return fileRecord{}, err
	}
	now.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	s.note(now)
	return now, nil
}

func (s *Store) recordOf(path string) string {
	sum := sha256.Sum256([]byte(path))
	return s.dir(fileIndex, hex.EncodeToString(sum[:])+".json")
}

// note writes the record of a file down.
func (s *Store) note(r fileRecord) {
	b, err := json.Marshal(r)
	if err == nil {
		err = writeWhole(s.recordOf(r.Path), b)
	}
	if err != nil { // it will be read again, no more
		s.cfg.Log.Warn("digest of an archive cannot be written down", "file", r.Path, "error", err)
	}
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
