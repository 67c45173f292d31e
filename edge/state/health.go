package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Codes of what is wrong with the disk.
const (
	CodeFull     = "store-full"      // there is no room; another attempt may find some
	CodeReadOnly = "store-read-only" // the kernel made it so, after an error mostly
	CodeFailing  = "store-failing"   // anything else
)

// Health is how the store is: what an operator should hear of.
type Health struct {
	SetAside int      // records that did not check out, since Open; the cloud has what they said
	Records  []string // their files, the latest last; at most keptNames
	Fault    *Fault   // of the last write; nil once one succeeds
}

// Fault is why nothing can be written.
type Fault struct {
	Code    string
	Message string
	Since   time.Time // the first failure in a row
}

// keptNames bounds the names in a Health.
const keptNames = 8

// Health tells how the store is.
func (s *Store) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.health
	h.Records = slices.Clone(h.Records)
	return h
}

func (h *Health) setAside(file string) {
	h.SetAside++
	if h.Records = append(h.Records, file); len(h.Records) > keptNames {
		h.Records = h.Records[1:]
	}
}

// note remembers how the last change went; mu is held.
func (s *Store) note(err error) {
	if err == nil {
		s.health.Fault = nil
		return
	}
	f := Fault{Code: CodeFailing, Message: err.Error(), Since: s.now()}
	switch {
	case full(err):
		f.Code = CodeFull
	case errors.Is(err, unix.EROFS):
		f.Code = CodeReadOnly
	}
	if before := s.health.Fault; before != nil && before.Code == f.Code {
		f.Since = before.Since
	}
	s.health.Fault = &f
}

// unwritable tells that the disk takes nothing for now, and is fine otherwise.
func unwritable(err error) bool { return full(err) || errors.Is(err, unix.EROFS) }

func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// clearWay makes the directory. Something else in its place is set aside.
func clearWay(dir string) error {
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		if err := os.Rename(dir, filepath.Join(filepath.Dir(dir), badPrefix+filepath.Base(dir))); err != nil {
			return fmt.Errorf("%s is no directory and cannot be set aside: %w", dir, err)
		}
	}
	return os.MkdirAll(dir, 0o700)
}
