package slot

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Link is the name of a link.
type Link string

// The links.
const (
	Current Link = "current"
	Old     Link = "old"
	New     Link = "new"
	Broken  Link = "broken"
)

// Names of what a version consists of.
const (
	Agent    = "gnomon-edge"
	Shim     = "gnomon-shim"
	versions = "versions"
	working  = ".tmp" // ending of what is not whole
)

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

// Dir is DATA/agent. Agent and launcher may use it at the same time.
type Dir struct {
	Path string
	// Before, if it is set, is told of every change to the disk before it is
	// made: a seam for tests, which end the process there.
	Before func(op string)
}

// At returns the directory of an agent that keeps its things in data.
func At(data string) *Dir { return &Dir{Path: filepath.Join(data, "agent")} }

func (d *Dir) at(parts ...string) string { return filepath.Join(append([]string{d.Path}, parts...)...) }

func (d *Dir) before(op string) {
	if d.Before != nil {
		d.Before(op)
	}
}

// Version returns the directory of a version.
func (d *Dir) Version(name string) string { return d.at(versions, name) }

// Target returns the directory that a link points to, "" if there is no link.
// Whether anything is there is another matter.
func (d *Dir) Target(l Link) string {
	to, err := os.Readlink(d.at(string(l)))
	if err != nil {
		return ""
	}
	if !filepath.IsAbs(to) {
		to = d.at(to)
	}
	return to
}

// Usable tells whether a directory holds an agent that can be started.
func Usable(dir string) error {
	st, err := os.Stat(filepath.Join(dir, Agent))
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0:
		return &fs.PathError{Op: "start", Path: filepath.Join(dir, Agent), Err: fs.ErrPermission}
	}
	return nil
}

// Stage puts a version on trial.
func (d *Dir) Stage(name string) error { return d.link(New, filepath.Join(versions, name)) }

// Commit makes the version on trial the current one, and the current one the old
// one. factory is what is current while nothing else is.
func (d *Dir) Commit(factory string) error {
	before := d.Target(Current)
	if before == "" {
		before = factory
	}
	if before == d.Target(New) { // a version that was put on trial again
		return d.remove(New)
	}
	if err := d.link(Old, d.relative(before)); err != nil {
		return err
	}
	return d.move(New, Current)
}

// Abandon ends a trial without a verdict.
func (d *Dir) Abandon() error { return d.remove(New) }

// Reject gives the version on trial up.
func (d *Dir) Reject() error { return d.move(New, Broken) }

// Return gives the current version up for the old one.
func (d *Dir) Return() error {
	if err := d.link(Broken, d.relative(d.Target(Current))); err != nil {
		return err
	}
	return d.move(Old, Current)
}

// Factory gives the current version up for the factory's.
func (d *Dir) Factory() error { return d.move(Current, Broken) }

// relative keeps links valid when the whole directory is moved.
func (d *Dir) relative(dir string) string {
	if rel, ok := strings.CutPrefix(dir, d.Path+string(filepath.Separator)); ok {
		return rel
	}
	return dir
}

func (d *Dir) link(l Link, to string) error {
	tmp := d.at(string(l) + working)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.before("symlink " + string(l))
	if err := os.Symlink(to, tmp); err != nil {
		return err
	}
	return d.rename(tmp, d.at(string(l)))
}

func (d *Dir) move(from, to Link) error { return d.rename(d.at(string(from)), d.at(string(to))) }

func (d *Dir) rename(from, to string) error {
	d.before("rename " + filepath.Base(to))
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d.before("sync " + filepath.Base(to))
	return syncDir(filepath.Dir(to))
}

func (d *Dir) remove(l Link) error {
	d.before("remove " + string(l))
	if err := os.Remove(d.at(string(l))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(d.Path)
}

// write makes a record durable: the former or the new one is there, whole.
func (d *Dir) write(record string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return err
	}
	tmp := d.at(record + working)
	d.before("write " + record)
	if err := writeFile(tmp, text, 0o600); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return d.rename(tmp, d.at(record))
}

// read reads a record; false when there is none that can be read.
func (d *Dir) read(record string, v any) bool {
	text, err := os.ReadFile(d.at(record))
	return err == nil && json.Unmarshal(text, v) == nil
}

func writeFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
