package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxMetadata bounds an index, manifest or configuration.
const maxMetadata = 4 << 20

// image is one image of a layout, its manifest and configuration verified.
type image struct {
	layout   string
	digest   string // of the manifest
	several  bool   // the layout holds others under other tags
	manifest ocispec.Manifest
	config   ocispec.Image
}

// packed is how many bytes its layers have as they are.
func (img image) packed() (bytes int64) {
	for _, d := range img.manifest.Layers {
		bytes += max(0, d.Size)
	}
	return bytes
}

// openImage chooses the image of a layout for this architecture: the one tagged
// tag if there are several.
func openImage(dir, tag, arch string) (image, error) {
	b, err := readFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return image{}, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return image{}, fmt.Errorf("%w: index.json: %w", ErrFormat, err)
	}
	return choose(dir, index, tag, arch, 0)
}

// choose descends an index. Nesting is bounded since an index can hold itself
// only by breaking SHA-256, but can be deep.
func choose(dir string, index ocispec.Index, tag, arch string, depth int) (image, error) {
	if depth > 5 {
		return image{}, fmt.Errorf("%w: indexes nested deeper than 4", ErrFormat)
	}
	found := index.Manifests
	if depth == 0 {
		match, several, err := tagged(found, tag)
		if err != nil {
			return image{}, err
		}
		img, err := choose(dir, ocispec.Index{Manifests: match}, tag, arch, 1)
		img.several = several
		return img, err
	}
	var others []string
	for _, d := range found {
		if p := d.Platform; p != nil && (p.OS != "linux" || p.Architecture != arch) {
			others = append(others, p.OS+"/"+p.Architecture)
			continue
		}
		switch d.MediaType {
		case ocispec.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json":
			b, err := readBlob(dir, d)
			if err != nil {
				return image{}, err
			}
			var inner ocispec.Index
			if err := json.Unmarshal(b, &inner); err != nil {
				return image{}, fmt.Errorf("%w: index %s: %w", ErrFormat, d.Digest, err)
			}
			return choose(dir, inner, tag, arch, depth+1)
		case ocispec.MediaTypeImageManifest, "application/vnd.docker.distribution.manifest.v2+json", "":
			img, err := openManifest(dir, d)
			if a := img.config.Architecture; err == nil && a != "" && a != arch {
				others = append(others, img.config.OS+"/"+a)
				continue
			}
			return img, err
		}
	}
	if len(others) > 0 {
		return image{}, fmt.Errorf("%w: no image for linux/%s, only for %s", ErrFormat, arch, strings.Join(others, ", "))
	}
	return image{}, fmt.Errorf("%w: the layout holds no image", ErrFormat)
}

// tagged returns the images of a tag, and whether there are others. A layout whose
// images all have the same tag, or none, is about one component, whatever that calls
// itself.
func tagged(all []ocispec.Descriptor, tag string) (match []ocispec.Descriptor, several bool, err error) {
	var tags []string
	for _, d := range all {
		ref := d.Annotations[ocispec.AnnotationRefName]
		if tagMatches(ref, tag) {
			match = append(match, d)
		}
		if !slices.Contains(tags, ref) {
			tags = append(tags, ref)
		}
	}
	if len(match) == 0 && len(tags) > 1 {
		return nil, true, fmt.Errorf("%w: no image is tagged %q, only %q", ErrFormat, tag, tags)
	}
	if len(match) == 0 {
		match = all
	}
	return match, len(tags) > 1, nil
}

// tagMatches takes a bare tag as well as a full reference that ends in it.
func tagMatches(ref, tag string) bool {
	return tag != "" && (ref == tag || strings.HasSuffix(ref, ":"+tag) || strings.HasSuffix(ref, "@"+tag))
}

func openManifest(dir string, d ocispec.Descriptor) (image, error) {
	img := image{layout: dir, digest: d.Digest.String()}
	b, err := readBlob(dir, d)
	if err != nil {
		return image{}, err
	}
	if err := json.Unmarshal(b, &img.manifest); err != nil {
		return image{}, fmt.Errorf("%w: manifest %s: %w", ErrFormat, d.Digest, err)
	}
	if b, err = readBlob(dir, img.manifest.Config); err != nil {
		return image{}, err
	}
	if err := json.Unmarshal(b, &img.config); err != nil {
		return image{}, fmt.Errorf("%w: configuration %s: %w", ErrFormat, img.manifest.Config.Digest, err)
	}
	if n := len(img.config.RootFS.DiffIDs); n != len(img.manifest.Layers) {
		return image{}, fmt.Errorf("%w: configuration lists %d layers, manifest %d", ErrFormat, n, len(img.manifest.Layers))
	}
	return img, nil
}

// unpackImage applies the layers in order.
func (s *Store) unpackImage(ctx context.Context, img image, work string) (Image, error) {
	u, err := newUnpacker(filepath.Join(work, rootfs), s.cfg)
	if err != nil {
		return Image{}, err
	}
	defer u.close()
	u.whiteouts = true
	for i, d := range img.manifest.Layers {
		if err := applyLayer(ctx, u, img, d, img.config.RootFS.DiffIDs[i].String()); err != nil {
			return Image{}, fmt.Errorf("layer %d of %d: %w", i+1, len(img.manifest.Layers), err)
		}
	}
	c := img.config.Config
	return Image{Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User}, nil
}

// applyLayer unpacks a layer and checks it on the way: what was unpacked is
// thrown away by the caller if the digests turn out wrong at the end.
func applyLayer(ctx context.Context, u *unpacker, img image, d ocispec.Descriptor, diffID string) error {
	f, err := openBlob(img.layout, d)
	if err != nil {
		return err
	}
	defer f.Close()
	packed := newVerifier(io.LimitReader(f, d.Size+1))
	diff, err := u.layer(ctx, readerFor(ctx, packed))
	if errors.Is(err, ErrTooLarge) || ctx.Err() != nil {
		return err
	}
	// A damaged blob can fail in any way: say first what is really wrong with it.
	if _, rerr := io.Copy(io.Discard, readerFor(ctx, packed)); rerr != nil {
		return rerr
	}
	if packed.n != d.Size {
		return fmt.Errorf("%w: blob %s is not of the size %d", ErrDigestMismatch, d.Digest, d.Size)
	}
	if v := packed.verify(d.Digest.String()); v != nil || err != nil {
		return errors.Join(v, err)
	}
	return diff.verify(diffID)
}

// layer unpacks a layer to the end of its stream, which may come after the
// archive's end mark.
func (u *unpacker) layer(ctx context.Context, packed io.Reader) (*verifier, error) {
	plainTar, err := decompress(packed)
	if err != nil {
		return nil, err
	}
	diff := newVerifier(plainTar)
	if err := u.apply(ctx, diff); err != nil {
		return nil, err
	}
	return diff, drain(diff, u.bytesLeft)
}

// drain reads to the end, but not for ever: padding compresses well.
func drain(r io.Reader, room int64) error {
	n, err := io.CopyN(io.Discard, r, room+1)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && n > room {
		err = fmt.Errorf("%w: padding behind the archive", ErrTooLarge)
	}
	return err
}

// verifier hashes what is read through it.
type verifier struct {
	r io.Reader
	h hash.Hash
	n int64
}

func newVerifier(r io.Reader) *verifier { return &verifier{r: r, h: sha256.New()} }

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.h.Write(p[:n])
	v.n += int64(n)
	return n, err
}

func (v *verifier) verify(want string) error {
	if got := "sha256:" + hex.EncodeToString(v.h.Sum(nil)); got != want {
		return fmt.Errorf("%w: want %s, got %s", ErrDigestMismatch, want, got)
	}
	return nil
}

var sha256Digest = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)

func openBlob(dir string, d ocispec.Descriptor) (*os.File, error) {
	digest := d.Digest.String()
	if !sha256Digest.MatchString(digest) {
		return nil, fmt.Errorf("%w: digest %q is not sha256", ErrFormat, digest)
	}
	f, err := openFile(filepath.Join(dir, ocispec.ImageBlobsDir, "sha256", digest[len("sha256:"):]))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: blob %s is missing", ErrFormat, digest)
	}
	return f, err
}

// readBlob reads and verifies a small blob.
func readBlob(dir string, d ocispec.Descriptor) ([]byte, error) {
	f, err := openBlob(dir, d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := newVerifier(f)
	b, err := readBounded(v, d.Digest.String())
	if err != nil {
		return nil, err
	}
	return b, v.verify(d.Digest.String())
}

// openFile opens what is a file: to open a pipe can last for ever.
func openFile(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no file", ErrFormat, path)
	}
	return os.Open(path)
}

// filesOnly checks what an archive brought before it is read as a layout.
func filesOnly(dir string) error {
	return filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			err = fmt.Errorf("%w: %s of the layout in the archive is no file", ErrFormat, rel)
		}
		return err
	})
}

func readFile(path string) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, path)
}

func readBounded(r io.Reader, what string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxMetadata+1))
	if err == nil && len(b) > maxMetadata {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, what, maxMetadata)
	}
	return b, err
}
