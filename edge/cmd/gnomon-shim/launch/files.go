package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// Placed is a file with its content on the node.
type Placed struct {
	Source   string // where the content is
	Path     string // where the workload wants it
	Dir      bool
	ReadOnly bool
}

// PlaceFiles writes the Spec's files below Request.Files, as they are asked for
// if tree is set and numbered if not. What was there before is gone.
func (j Job) PlaceFiles(u User, tree bool) ([]Placed, error) {
	base := j.Request.Files
	if err := os.RemoveAll(base); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	p := placer{root: root, user: u.From(j.Start()), tree: tree, bytes: workload.MaxFromBytes, entries: workload.MaxFromEntries}
	var placed []Placed
	for i, f := range j.Request.Spec.Files {
		name := placeOf(i, f, tree)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		dir, err := p.place(j.root(), name, f)
		if err != nil {
			return nil, fmt.Errorf("run.files %s: %w", f.Path, err)
		}
		placed = append(placed, Placed{Source: filepath.Join(base, name), Path: f.Path, Dir: dir, ReadOnly: f.ReadOnly})
	}
	return placed, nil
}

// ReplaceFiles writes the files whose content differs from the former ones anew,
// each as a whole: whoever opens one sees all of the old content or all of the new.
// In a tree that is done with it; else the new file is beside the former one, which
// is mounted somewhere and must keep its name for as long.
func (j Job) ReplaceFiles(u User, former []schema.File, tree bool) ([]Placed, error) {
	root, err := os.OpenRoot(j.Request.Files)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	p := placer{root: root, user: u.From(j.Start()), tree: tree}
	var placed []Placed
	for i, f := range j.Request.Spec.Files {
		if f.Content == former[i].Content {
			continue
		}
		name, err := p.replace(i, f)
		if err != nil {
			return nil, fmt.Errorf("run.files %s: %w", f.Path, err)
		}
		placed = append(placed, Placed{Source: filepath.Join(j.Request.Files, name), Path: f.Path, ReadOnly: f.ReadOnly})
	}
	return placed, nil
}

// replace writes one file anew and returns its name.
func (p *placer) replace(i int, f schema.File) (string, error) {
	name, fresh := placeOf(i, f, p.tree), ".new-"+strconv.Itoa(i)
	if !p.tree {
		for n := 1; ; n++ { // the next that isn't there
			name = strconv.Itoa(i) + "-" + strconv.Itoa(n)
			if _, err := p.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
				break
			} else if err != nil {
				return "", err
			}
		}
	}
	if err := p.root.RemoveAll(fresh); err != nil {
		return "", err
	}
	if _, err := p.place("", fresh, f); err != nil {
		return "", err
	}
	return name, p.root.Rename(fresh, name)
}

// placeOf is where a file lies below Request.Files.
func placeOf(i int, f schema.File, tree bool) string {
	if tree {
		return filepath.Clean(f.Path)[1:]
	}
	return strconv.Itoa(i)
}

// placer writes files below a directory.
type placer struct {
	root    *os.Root
	user    User
	tree    bool  // read-only is a matter of permissions, not of mounts
	bytes   int64 // that may still be copied
	entries int
}

// place writes one file, or copies what it is made from.
func (p *placer) place(component, name string, f schema.File) (dir bool, err error) {
	mode := os.FileMode(0o644)
	if f.Mode != "" {
		m, err := strconv.ParseUint(f.Mode, 8, 9)
		if err != nil {
			return false, fmt.Errorf("%w: mode %q is not octal permission bits", workload.ErrInvalid, f.Mode)
		}
		mode = os.FileMode(m)
	}
	if f.From == "" {
		return false, p.write(name, mode, f.ReadOnly, func(out *os.File) error {
			_, err := out.WriteString(f.Content)
			return err
		})
	}
	from, err := os.OpenRoot(component)
	if err != nil {
		return false, fmt.Errorf("%w: from %s: %w", workload.ErrInvalid, f.From, err)
	}
	defer func() { _ = from.Close() }()
	return p.copy(from, name, f)
}

// copy copies a file or directory of the component. Links are copied as links
// where they are below a directory, and may not lead out of the component where
// they are what is asked for.
func (p *placer) copy(from *os.Root, name string, f schema.File) (dir bool, err error) {
	info, err := from.Stat(f.From)
	if err != nil {
		return false, fmt.Errorf("%w: from %s: %w", workload.ErrInvalid, f.From, err)
	}
	mode := func(i fs.FileInfo) os.FileMode {
		if m, err := strconv.ParseUint(f.Mode, 8, 9); f.Mode != "" && err == nil {
			return os.FileMode(m)
		}
		return i.Mode().Perm()
	}
	if !info.IsDir() {
		return false, p.file(from, f.From, name, mode(info), f.ReadOnly)
	}
	err = fs.WalkDir(from.FS(), f.From, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(f.From, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(name, rel)
		switch {
		case e.IsDir():
			return p.dir(to, info.Mode().Perm(), f.ReadOnly)
		case e.Type()&fs.ModeSymlink != 0:
			return p.link(from, path, to)
		default:
			return p.file(from, path, to, mode(info), f.ReadOnly)
		}
	})
	return true, err
}

func (p *placer) dir(name string, mode os.FileMode, readOnly bool) error {
	if err := p.take(0); err != nil {
		return err
	}
	if err := p.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	return p.own(name, mode|0o100, readOnly)
}

func (p *placer) link(from *os.Root, path, name string) error {
	if err := p.take(0); err != nil {
		return err
	}
	target, err := from.Readlink(path)
	if err != nil {
		return err
	}
	return p.root.Symlink(target, name)
}

func (p *placer) file(from *os.Root, path, name string, mode os.FileMode, readOnly bool) error {
	in, err := from.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: from %s: neither file nor directory", workload.ErrInvalid, path)
	}
	if err := p.take(info.Size()); err != nil {
		return err
	}
	return p.write(name, mode, readOnly, func(out *os.File) error {
		_, err := io.CopyN(out, in, info.Size())
		return err
	})
}

// take counts what is copied.
func (p *placer) take(size int64) error {
	p.bytes -= size
	p.entries--
	if p.bytes < 0 || p.entries < 0 {
		return fmt.Errorf("%w: from: more than %d MiB or %d files and directories in all",
			workload.ErrInvalid, workload.MaxFromBytes>>20, workload.MaxFromEntries)
	}
	return nil
}

func (p *placer) write(name string, mode os.FileMode, readOnly bool, fill func(*os.File) error) error {
	out, err := p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(fill(out), out.Close())
	if err != nil {
		return err
	}
	return p.own(name, mode, readOnly)
}

// own gives a file to the user. In a tree, which no mount protects, one that is
// read-only belongs to root, and the user's group may do what the user might but
// write.
func (p *placer) own(name string, mode os.FileMode, readOnly bool) error {
	uid := p.user.UID
	if readOnly && p.tree {
		uid, mode = 0, mode&^0o222|mode>>3&0o050
	}
	return errors.Join(p.root.Lchown(name, uid, p.user.GID), p.root.Chmod(name, mode))
}
