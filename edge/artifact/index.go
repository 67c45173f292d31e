package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// refIndex is where it is kept which tree a reference stands for, so that one
// whose source has gone can be run from all the same, and that of two trees it is
// known which was used later:
//
//	DATA/components/refs/HEX.json
const refIndex = "refs"

// refRecord is what is known of one reference.
type refRecord struct {
	Reference string    `json:"reference"`
	Digest    string    `json:"digest"`
	Used      time.Time `json:"used"` // resolved last, to within an hour
}

// stale is how old Used may be: a write per start would wear the disk for nothing.
const stale = time.Hour

func (s *Store) refFile(reference string) string {
	sum := sha256.Sum256([]byte(reference))
	return s.dir(refIndex, hex.EncodeToString(sum[:])+".json")
}

func (s *Store) ref(reference string) (r refRecord, ok bool) {
	return readRef(s.refFile(reference))
}

func readRef(path string) (r refRecord, ok bool) {
	b, err := os.ReadFile(path)
	return r, err == nil && json.Unmarshal(b, &r) == nil && strings.HasPrefix(r.Digest, "sha256:")
}

// remember notes what a reference stands for. Nothing hangs on it at once, so
// that a full disk is no reason to refuse what could be run.
func (s *Store) remember(reference, digest string) {
	now := s.cfg.Now()
	if known, ok := s.ref(reference); ok && known.Digest == digest && now.Sub(known.Used).Abs() < stale {
		return
	}
	b, err := json.Marshal(refRecord{reference, digest, now})
	if err == nil {
		err = writeWhole(s.refFile(reference), b)
	}
	if err != nil {
		s.cfg.Log.Warn("what a component stands for cannot be written down", "component", reference, "error", err)
	}
}

// writeWhole replaces a file. It isn't synced: a record that is lost is made anew,
// and half of one is read as none.
func writeWhole(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".tmp"
	err := os.WriteFile(tmp, b, 0o644)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// kept returns the tree that a reference was unpacked to, if it is there.
func (s *Store) kept(reference string) (Component, bool) {
	r, ok := s.ref(reference)
	if !ok {
		return Component{}, false
	}
	c, err := readKept(s.keptAt(r.Digest), r.Digest)
	c.Reference = reference
	return c, err == nil
}

// Presence is how far a component is there without any network.
type Presence string

// The presences.
const (
	Absent   Presence = "absent"
	Packed   Presence = "packed"   // its source is there; it isn't unpacked yet
	Unpacked Presence = "unpacked" // it can be run from
)

// Present tells how far a component is there. It unpacks and deletes nothing.
func (s *Store) Present(reference string) Presence {
	if _, ok := s.kept(reference); ok {
		return Unpacked
	}
	src, err := s.find(reference)
	switch {
	case err != nil:
		return Absent
	case src.kind == plain:
		return Unpacked
	default:
		return Packed
	}
}

// refs reads the whole index. Records that can't be read are left out.
func (s *Store) refs() (all map[string]refRecord, err error) {
	entries, err := os.ReadDir(s.dir(refIndex))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	all = make(map[string]refRecord, len(entries))
	for _, e := range entries {
		if r, ok := readRef(s.dir(refIndex, e.Name())); ok {
			all[e.Name()] = r
		}
	}
	return all, err
}
