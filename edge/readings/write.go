package readings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/filesys"
	"gnomon/edge/state"
)

// Others may take the room on a full disk, too.
const (
	maxInVain = 2 * segmentBytes // dropped without anything being written for it
	vainPause = time.Hour        // until something is dropped again
)

// write brings all that is in memory alone to the disk; mu is held. On a full disk
// the oldest that the cloud has makes room, and, once more is held than may be, the
// oldest.
func (s *Store) write() error {
	s.mark()
	err := s.writeAll()
	inVain := 0
	if since := s.now().Sub(s.inVain); since >= 0 && since < vainPause {
		inVain = maxInVain
	}
	for full(err) && inVain < maxInVain {
		held, size := s.held(), s.size()
		if !s.drop((*segment).told) && (held <= maxHeld || !s.drop((*segment).onDisk)) {
			break
		}
		inVain += size - s.size()
		if err = s.writeAll(); s.held() < held {
			inVain = 0
		}
		if inVain >= maxInVain {
			s.inVain = s.now()
		}
	}
	if err == nil {
		s.inVain = time.Time{}
	}
	s.note(err)
	return err
}

func (s *Store) writeAll() (err error) {
	for i, seg := range s.segments {
		if len(seg.mem) == 0 {
			continue
		}
		last := i == len(s.segments)-1
		one := s.writeOne(seg, last)
		if one != nil {
			err = errors.Join(err, fmt.Errorf("write %s: %w", seg.name(), one))
		}
		if one != nil && !errors.Is(one, errUnread) { // others would meet the same
			break
		}
	}
	return err
}

// writeOne appends to the file that is open, or writes a file anew: one that could
// not be written to may hold anything after what was synced.
func (s *Store) writeOne(seg *segment, last bool) error {
	if !last || s.file == nil {
		return s.rewrite(seg, last)
	}
	_, err := s.file.Write(seg.mem)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		_ = s.file.Close()
		s.file = nil
		return err
	}
	s.synced(seg)
	return nil
}

func (s *Store) synced(seg *segment) {
	seg.synced, seg.mem, seg.kept = seg.size(), nil, seg.frames
}

func (s *Store) rewrite(seg *segment, keep bool) error {
	text, err := s.text(seg)
	if err != nil {
		return err
	}
	f, err := s.replace(seg.name(), text)
	if err != nil {
		return err
	}
	s.synced(seg)
	if keep {
		s.file = f
		return nil
	}
	return f.Close()
}

// replace makes a file what it shall be, and leaves it open.
func (s *Store) replace(name string, text []byte) (filesys.File, error) {
	f, err := s.fs.Create(name + tmpSuffix)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.fs.Rename(name+tmpSuffix, name)
	}
	if err == nil {
		err = s.fs.Sync()
	}
	if err != nil {
		_ = f.Close()
		_ = s.fs.Remove(name + tmpSuffix)
		return nil, err
	}
	return f, nil
}

// mark puts into a segment what became of others' frames; mu is held.
func (s *Store) mark() {
	for _, m := range []struct {
		kind kind
		runs *[]run
	}{{kindAcked, &s.marks}, {kindRefused, &s.refused}} {
		if len(*m.runs) > 0 {
			seg := s.head()
			seg.mem = appendFrame(seg.mem, m.kind, appendRuns(nil, *m.runs))
			*m.runs = nil
		}
	}
}

// Save writes what isn't on disk yet: what the cloud has acknowledged, and what
// could not be written before.
func (s *Store) Save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	held := len(s.marks) + len(s.refused)
	for _, seg := range s.segments {
		held += len(seg.mem)
	}
	var err error
	if held > 0 {
		err = s.write()
	}
	s.bound()
	return err
}

// note remembers how the last change went; mu is held.
func (s *Store) note(err error) {
	if err == nil {
		if s.fault != nil {
			s.log.Info("readings can be written again")
		}
		s.fault = nil
		return
	}
	f := state.Fault{Code: state.CodeFailing, Message: err.Error(), Since: s.now()}
	switch {
	case full(err):
		f.Code = state.CodeFull
	case errors.Is(err, unix.EROFS):
		f.Code = state.CodeReadOnly
	}
	if s.fault == nil {
		s.log.Error("readings can't be written and are held in memory", "error", err)
	} else if s.fault.Code == f.Code {
		f.Since = s.fault.Since
	}
	s.fault = &f
}

func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// directory is one that is made when something is written to it: until then the
// disk may not let that be.
type directory struct {
	filesys.FS
	path string
}

// List implements filesys.FS.
func (d directory) List() ([]string, error) {
	names, err := d.FS.List()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// Create implements filesys.FS. Something else in the directory's place is set aside.
func (d directory) Create(name string) (filesys.File, error) {
	f, err := d.FS.Create(name)
	switch {
	case errors.Is(err, unix.ENOTDIR):
		if err := os.Rename(d.path, filepath.Join(filepath.Dir(d.path), badPrefix+filepath.Base(d.path))); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return f, err
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, err
	}
	return d.FS.Create(name)
}
