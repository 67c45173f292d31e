package state

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// All returns the records of a kind by name. Those that don't check out are set
// aside and missing.
func (s *Store) All(kind Kind) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := s.fs.List()
	if err != nil {
		return nil, fmt.Errorf("list state: %w", err)
	}
	all := make(map[string][]byte)
	for _, f := range files {
		if name, ok := nameOf(kind, f); ok {
			if data, ok := s.read(kind, name); ok {
				all[name] = data
			}
		}
	}
	return all, nil
}

// read returns a record, if it is there and checks out.
func (s *Store) read(kind Kind, name string) ([]byte, bool) {
	file := fileName(kind, name)
	raw, err := s.fs.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	var data []byte
	if err == nil {
		data, err = unseal(file, raw)
	}
	if err != nil {
		s.setAside(file, err)
		return nil, false
	}
	return data, true
}

// Reject sets aside a record whose content its owner cannot read.
func (s *Store) Reject(kind Kind, name string, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setAside(fileName(kind, name), cause)
}

// setAside renames a file so that it is never read again and can be looked at.
func (s *Store) setAside(file string, cause error) {
	s.health.setAside(file)
	s.log.Error("state record set aside", "file", file, "error", cause)
	bad := badPrefix + file
	err := s.fs.Rename(file, bad)
	if err == nil {
		err = s.fs.Sync()
	}
	if err != nil {
		s.log.Error("state record could not be set aside", "file", file, "error", err)
	}
	s.boundBad(bad)
}

// boundBad deletes files set aside beyond the limit, sparing the newest. There
// is one per record at the most, since the name is kept.
func (s *Store) boundBad(newest string) {
	files, err := s.fs.List()
	if err != nil {
		return
	}
	files = slices.DeleteFunc(files, func(f string) bool { return !strings.HasPrefix(f, badPrefix) || f == newest })
	for _, f := range files[:max(0, len(files)-keptBad+1)] {
		_ = s.fs.Remove(f)
	}
}
