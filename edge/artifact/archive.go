package artifact

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// unpackFile unpacks an archive file: a tree, or an OCI layout with a tree in it. The
// digest it returns is that of the file, or of the image where that is one of several.
func (s *Store) unpackFile(ctx context.Context, src source, digest, work string) (Image, string, error) {
	f, err := os.Open(src.path)
	if err != nil {
		return Image{}, "", err
	}
	defer f.Close()
	root := filepath.Join(work, rootfs)
	u, err := newUnpacker(root, s.cfg)
	if err != nil {
		return Image{}, "", err
	}
	defer u.close()
	// The file may have been replaced since its digest was taken.
	packed := newVerifier(f)
	r, err := decompress(readerFor(ctx, packed))
	if err != nil {
		return Image{}, "", err
	}
	if err := u.apply(ctx, r); err != nil {
		return Image{}, "", err
	}
	if _, zipped := r.(*gunzip); zipped { // its checksum comes last
		if err := drain(r, u.bytesLeft); err != nil {
			return Image{}, "", damaged(err)
		}
	}
	if _, err := io.Copy(io.Discard, readerFor(ctx, packed)); err != nil {
		return Image{}, "", err
	}
	if err := packed.verify(digest); err != nil {
		return Image{}, "", fmt.Errorf("%w (the file changed while it was read)", err)
	}
	if !isLayout(root) {
		return Image{}, digest, nil
	}
	inner := filepath.Join(work, "layout")
	if err := errors.Join(os.Rename(root, inner), os.Mkdir(root, 0o755)); err != nil {
		return Image{}, "", err
	}
	if err := filesOnly(inner); err != nil {
		return Image{}, "", err
	}
	img, err := openImage(inner, src.tag, s.cfg.Arch)
	if err != nil {
		return Image{}, "", err
	}
	if img.several {
		digest = img.digest
	} else if err := os.WriteFile(filepath.Join(work, onlyFile), nil, 0o644); err != nil {
		return Image{}, "", err
	}
	result, err := s.unpackImage(ctx, img, work)
	return result, digest, errors.Join(err, os.RemoveAll(inner))
}

// decompress tells gzip by its first bytes, as media types and file names lie.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		z.Multistream(false)
		return &gunzip{z, b}, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return nil, fmt.Errorf("%w: zstd compression is not supported, use gzip", ErrFormat)
	default:
		return b, nil
	}
}

// gunzip reads the members of a gzip one after the other. What is behind the last and
// doesn't begin as one is nothing of it: tapes pad, and a transfer may add a newline.
type gunzip struct {
	z      *gzip.Reader
	packed *bufio.Reader // what z reads from, and no further than its member
}

func (g *gunzip) Read(p []byte) (int, error) {
	for {
		n, err := g.z.Read(p)
		if n > 0 && errors.Is(err, io.EOF) {
			err = nil // is told again
		}
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		head, err := g.packed.Peek(3)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if !bytes.Equal(head, []byte{0x1f, 0x8b, 8}) {
			return 0, io.EOF
		}
		if err := g.z.Reset(g.packed); err != nil {
			return 0, err
		}
		g.z.Multistream(false)
	}
}

// damaged gives what a damaged archive fails with its name.
func damaged(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return fmt.Errorf("%w: damaged: %w", ErrFormat, err)
	}
	return err
}
