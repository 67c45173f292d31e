package slot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxProgram bounds a program of a version, in bytes.
const MaxProgram = 256 << 20

// Manifest says what a version's directory holds.
type Manifest struct {
	Version   string `json:"version"`
	Component string `json:"component,omitempty"` // it was made from
	Digest    string `json:"digest,omitempty"`    // of that
	Hash      string `json:"hash"`                // of the programs
}

// Source is where the programs of a version are copied from.
type Source struct {
	Agent, Shim string // paths
	Manifest    Manifest
}

// NameOf names the directory of a version: of equal version numbers with other
// programs each has its own.
func NameOf(version, hash string) (string, error) {
	n := version + "-" + strings.TrimPrefix(hash, "sha256:")[:12]
	if !name.MatchString(n) {
		return "", fmt.Errorf("version %q can't name a directory", version)
	}
	return n, nil
}

// HashOf hashes programs in their order.
func HashOf(paths ...string) (string, error) {
	h := sha256.New()
	for _, p := range paths {
		one, err := hashFile(p)
		if err != nil {
			return "", err
		}
		h.Write(one)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, MaxProgram+1))
	if err == nil && n > MaxProgram {
		err = fmt.Errorf("%s has more than %d bytes", path, MaxProgram)
	}
	return h.Sum(nil), err
}

// Install copies a version into its directory, where it appears whole or not at
// all, and returns the directory's name. One that is there already and checks
// out is left as it is.
func (d *Dir) Install(s Source) (string, error) {
	n, err := NameOf(s.Manifest.Version, s.Manifest.Hash)
	if err != nil {
		return "", err
	}
	if m, err := d.ManifestOf(d.Version(n)); err == nil && m.Hash == s.Manifest.Hash {
		if have, err := HashOf(filepath.Join(d.Version(n), Agent), filepath.Join(d.Version(n), Shim)); err == nil && have == m.Hash {
			return n, nil
		}
	}
	work := d.at(versions, n+working)
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o755)); err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }() // gone already if all went well
	for _, p := range []struct{ from, to string }{{s.Agent, Agent}, {s.Shim, Shim}} {
		d.before("copy " + p.to)
		if err := copyFile(p.from, filepath.Join(work, p.to)); err != nil {
			return "", err
		}
	}
	if have, err := HashOf(filepath.Join(work, Agent), filepath.Join(work, Shim)); err != nil || have != s.Manifest.Hash {
		return "", errors.Join(fmt.Errorf("%s changed while it was copied", s.Agent), err)
	}
	text, err := json.Marshal(s.Manifest)
	if err != nil {
		return "", err
	}
	d.before("write manifest")
	if err := writeFile(filepath.Join(work, "agent.json"), text, 0o644); err != nil {
		return "", err
	}
	// A left-over of this name that doesn't check out is no version.
	if err := errors.Join(syncDir(work), os.RemoveAll(d.Version(n))); err != nil {
		return "", err
	}
	return n, errors.Join(d.rename(work, d.Version(n)), syncDir(d.Path))
}

// ManifestOf reads what a version's directory says of itself.
func (d *Dir) ManifestOf(dir string) (m Manifest, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "agent.json"))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, io.LimitReader(src, MaxProgram))
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// Collect deletes the versions that no link points to and no process runs from,
// and what a crash left of others. Those named stay.
func (d *Dir) Collect(names ...string) error {
	entries, err := os.ReadDir(d.at(versions))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	used := d.running()
	for _, l := range []Link{Current, Old, New, Broken} {
		used[d.Target(l)] = true
	}
	for _, n := range names {
		used[d.Version(n)] = true
	}
	var errs []error
	for _, e := range entries {
		if dir := d.Version(e.Name()); !used[dir] {
			d.before("collect " + e.Name())
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// running are the directories of versions that a process runs from, such as the
// shims of workloads that have been running for longer than this agent.
func (d *Dir) running() map[string]bool {
	used := map[string]bool{}
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")
	root, err := filepath.EvalSymlinks(d.Path)
	if err != nil {
		return used
	}
	for _, p := range programs {
		exe, err := os.Readlink(p)
		if err != nil {
			continue // it ended
		}
		if rel, ok := strings.CutPrefix(exe, root+"/"); ok {
			used[d.at(filepath.Dir(rel))] = true
		}
	}
	return used
}
