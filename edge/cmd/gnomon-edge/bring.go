package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// delivery is a component on its way into the directory that the agent looks
// components up in.
type delivery struct {
	component string // name@version
	from      string // a file or directory
	to        string // the directory
}

// bring copies a component, so that it is there whole or not at all. One that is
// there already must be of the same size: versions don't change. A file whose copy
// was broken off is gone on with, as far as what there is of it is the same.
func bring(ctx context.Context, w io.Writer, d delivery) error {
	if !strings.Contains(d.component, "@") || strings.Contains(d.component, "..") || strings.HasPrefix(d.component, "/") {
		return usageError{fmt.Errorf("--archive brings a component that is called name@version, not %q", d.component)}
	}
	total, err := sizeOf(d.from)
	if err != nil {
		return fmt.Errorf("--archive: %w", err)
	}
	target := filepath.Join(d.to, filepath.FromSlash(d.component)) + ending(d.from)
	if there, err := sizeOf(target); err == nil {
		if there == total {
			fmt.Fprintf(w, "%s is there already\n", target)
			return nil
		}
		return fmt.Errorf("%s is there already, with %d bytes, not %d: what a version is doesn't change; give it another version", target, there, total)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	// The place is beside the target, so that the last step is a rename.
	partial := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".partial")
	if st, err := os.Stat(d.from); err != nil || !st.Mode().IsRegular() {
		if err := os.RemoveAll(partial); err != nil {
			return err
		}
	}
	progress := &progress{w: w, what: d.component, total: total}
	if err := copyTree(ctx, d.from, partial, progress); err != nil {
		return fmt.Errorf("copy %s: %w; asked again it goes on from there", d.from, err)
	}
	progress.end()
	if err := os.Rename(partial, target); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	dir, err := os.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// ending is what tells archives from directories.
func ending(path string) string {
	for _, e := range []string{".tar.gz", ".tgz", ".tar"} {
		if strings.HasSuffix(path, e) {
			return e
		}
	}
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
		return ".tar" // compression is told by the content
	}
	return ""
}

func sizeOf(path string) (total int64, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, err
	}
	err = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

// copyTree copies a file or a directory with files, directories and links in it.
func copyTree(ctx context.Context, from, to string, p *progress) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		target := filepath.Join(to, rest)
		switch {
		case e.Type()&fs.ModeSymlink != 0 && rest != ".":
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case err != nil:
			return err
		case info.IsDir():
			return os.Mkdir(target, info.Mode().Perm()|0o700)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is neither file, directory nor link", path)
		}
		return copyFile(ctx, path, target, info.Mode().Perm(), p)
	})
}

func copyFile(ctx context.Context, from, to string, mode fs.FileMode, p *progress) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE, mode)
	if err != nil {
		return err
	}
	same, err := sameSoFar(ctx, in, out)
	if err == nil {
		_, err = in.Seek(same, io.SeekStart)
	}
	if err == nil {
		_, err = out.Seek(same, io.SeekStart)
	}
	if err == nil {
		err = out.Truncate(same)
	}
	p.resume(same)
	for buf := make([]byte, 1<<20); err == nil; {
		var n int
		if n, err = in.Read(buf); n > 0 {
			if _, werr := out.Write(buf[:n]); werr != nil {
				err = werr
			}
			p.add(int64(n))
		}
		if err == nil {
			err = ctx.Err()
		}
	}
	if errors.Is(err, io.EOF) {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// sameSoFar is how many bytes of a copy that was broken off are those of the
// original.
func sameSoFar(ctx context.Context, original, partial io.Reader) (same int64, err error) {
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(partial, b)
		if n == 0 {
			return same, nil
		}
		m, oerr := io.ReadFull(original, a[:n])
		for i := range m {
			if a[i] != b[i] {
				return same + int64(i), nil
			}
		}
		same += int64(m)
		switch {
		case err != nil || oerr != nil: // the end of the one or the other
			return same, nil
		case ctx.Err() != nil:
			return same, ctx.Err()
		}
	}
}

// progress tells how far something long has come, at most twice a second.
type progress struct {
	w           io.Writer
	what        string
	done, total int64
	told        time.Time
}

func (p *progress) add(n int64) {
	p.done += n
	if p.total > 0 && time.Since(p.told) > 500*time.Millisecond {
		p.told = time.Now()
		fmt.Fprintf(p.w, "%s: %d of %d KiB, %d%%\n", p.what, p.done>>10, p.total>>10, 100*p.done/p.total)
	}
}

// resume counts what is there already.
func (p *progress) resume(n int64) {
	if p.done += n; n > 0 {
		fmt.Fprintf(p.w, "%s: %d bytes are there already\n", p.what, n)
	}
}

func (p *progress) end() { fmt.Fprintf(p.w, "%s: %d KiB copied\n", p.what, p.done>>10) }
