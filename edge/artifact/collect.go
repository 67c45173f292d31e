package artifact

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Keep is what must not be deleted, however full the disk is.
type Keep struct {
	References []string // components that are wanted, were applied last, or are needed to start again without a cloud
	Roots      []string // trees that instances run from
}

// justUsed is how long a tree that was resolved is spared: whoever asked for it
// may not be known to need it yet.
const justUsed = 10 * time.Minute

// check is how often the disk is looked at.
const check = 30 * time.Second

// Run looks after the disk until ctx ends: with less free than Rules ask for it
// deletes what nobody needs, the longest unused first.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(check)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if _, err := s.Tidy(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("disk cannot be tidied", "error", err)
		}
		timer.Reset(check)
	}
}

// Tidy deletes what nobody needs if there is less free than Rules ask for, and
// returns the bytes it freed.
func (s *Store) Tidy(ctx context.Context) (freed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := spaceAt(s.dir())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // nothing was ever unpacked
	}
	if err != nil {
		return 0, err
	}
	rules := s.cfg.Care.Rules(p.all)
	if p.free >= rules.Below && (p.inodes == 0 || p.spare >= fewInodes) {
		return 0, nil
	}
	return s.collect(ctx, func(p space) bool {
		return p.free >= max(rules.Until, rules.Below) && (p.inodes == 0 || p.spare >= fewInodes)
	})
}

// candidate is something that may be deleted.
type candidate struct {
	path string
	used time.Time
}

// collect deletes what nobody needs, the longest unused first, until there is
// enough; mu is held.
func (s *Store) collect(ctx context.Context, enough func(space) bool) (freed int64, err error) {
	keep, known := s.cfg.Care.Keep()
	if !known {
		return 0, nil
	}
	// Worthless after a crash, and nothing is being unpacked now.
	errs := []error{os.RemoveAll(s.dir(working))}
	trees, err := s.unneeded(keep)
	errs = append(errs, err)
	if p, err := spaceAt(s.dir()); err == nil && s.cfg.Care.Rules(p.all).Sources {
		sources, err := s.unneededSources(keep)
		trees, errs = append(trees, sources...), append(errs, err)
	}
	for _, c := range trees {
		p, err := spaceAt(s.dir())
		if err != nil || enough(p) || ctx.Err() != nil {
			errs = append(errs, err)
			break
		}
		size := sizeOf(c.path)
		if err := discard(c.path); err != nil {
			errs = append(errs, err)
			continue
		}
		s.cfg.Log.Info("component deleted to make room", "path", c.path, "bytes", size, "lastUsed", c.used)
		freed += size
	}
	s.forgetRefs()
	return freed, errors.Join(errs...)
}

// discard deletes a tree or a source. A tree without its image.json counts as not
// there, however far this gets.
func discard(path string) error {
	err := os.Remove(filepath.Join(path, imageFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return err
	}
	return os.RemoveAll(path)
}

// unneeded lists the kept trees that are in no one's way to be deleted, the
// longest unused first. A tree of which no record tells what it is stays as long
// as the tree of anything that must stay isn't known: it may be that one.
func (s *Store) unneeded(keep Keep) ([]candidate, error) {
	refs, err := s.refs()
	if err != nil {
		return nil, err
	}
	used := map[string]time.Time{} // by digest
	digests := map[string]string{} // by reference
	for _, r := range refs {
		digests[r.Reference] = r.Digest
		if r.Used.After(used[r.Digest]) {
			used[r.Digest] = r.Used
		}
	}
	needed, unknown := map[string]bool{}, false
	for _, reference := range keep.References {
		digest, known := digests[reference]
		needed[nameOf(digest)] = true
		unknown = unknown || !known
	}
	for _, root := range keep.Roots {
		needed[filepath.Base(filepath.Dir(root))] = true
	}
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "sha256-") || needed[e.Name()] {
			continue
		}
		when, recorded := used[strings.Replace(e.Name(), "-", ":", 1)]
		if !recorded {
			when = modified(e)
		}
		if unknown && !recorded || s.cfg.Now().Sub(when).Abs() < justUsed {
			continue
		}
		all = append(all, candidate{s.dir(e.Name()), when})
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.path, b.path))
	})
	return all, nil
}

// mostSources bounds the sources that are looked at.
const mostSources = 1000

// unneededSources lists what lies in the components directory and is not needed,
// the longest there first. Only what a reference could name is looked at.
func (s *Store) unneededSources(keep Keep) ([]candidate, error) {
	if s.cfg.Components == "" {
		return nil, nil
	}
	needed := map[string]bool{}
	for _, reference := range keep.References {
		if src, err := s.find(reference); err == nil {
			needed[src.path] = true
		}
	}
	for _, root := range keep.Roots {
		needed[root] = true // of a plain directory
	}
	entries, err := os.ReadDir(s.cfg.Components)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, e := range entries[:min(len(entries), mostSources)] {
		path := filepath.Join(s.cfg.Components, e.Name())
		when := modified(e)
		if !isSource(e.Name()) || needed[path] || s.cfg.Now().Sub(when).Abs() < justUsed {
			continue
		}
		all = append(all, candidate{path, when})
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.used.Compare(b.used) })
	return all, nil
}

// isSource tells whether a name in the components directory is one that name@version
// leads to.
func isSource(file string) bool {
	for _, ending := range []string{".tar.gz", ".tgz", ".tar"} {
		file = strings.TrimSuffix(file, ending)
	}
	return name.MatchString(file)
}

// forgetRefs drops the records of trees that are gone. What is still wanted is
// recorded anew when it is unpacked.
func (s *Store) forgetRefs() {
	refs, err := s.refs()
	if err != nil {
		return
	}
	for file, r := range refs {
		if _, err := os.Lstat(s.keptAt(r.Digest)); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(s.dir(refIndex, file))
		}
	}
}

// nameOf is the directory of a digest.
func nameOf(digest string) string { return strings.ReplaceAll(digest, ":", "-") }

func modified(e os.DirEntry) time.Time {
	info, err := e.Info()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
