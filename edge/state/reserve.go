package state

import (
	"crypto/rand"
)

// A file of reserveSize is kept for the day the disk is full: it makes room for
// the boot epoch, without which no agent starts, and for some hundred records.
const (
	reserveName = "reserve"
	reserveSize = 256 << 10
	// refillEvery is how many changes pass between attempts to fill it again, which
	// on a full disk are in vain.
	refillEvery = 16
)

// reserve is what is known of the file.
type reserve struct {
	held bool
	rest int // changes until the next attempt
}

// release gives the reserve up; mu is held. It tells whether that made room.
func (s *Store) release() bool {
	if !s.reserve.held || s.fs.Remove(reserveName) != nil {
		return false
	}
	s.reserve.held, s.reserve.rest = false, refillEvery
	s.log.Warn("the disk is full: the reserve is used up", "bytes", reserveSize)
	return s.fs.Sync() == nil
}

// refill lays the reserve in again; mu is held. Nothing depends on it. Its
// content can't be compressed, or it would be no room at all.
func (s *Store) refill() {
	if s.reserve.held {
		return
	}
	if s.reserve.rest--; s.reserve.rest > 0 {
		return
	}
	s.reserve.rest = refillEvery
	content := make([]byte, reserveSize)
	_, _ = rand.Read(content)
	f, err := s.fs.Create(reserveName + tmpSuffix)
	if err != nil {
		return
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.fs.Rename(reserveName+tmpSuffix, reserveName)
	}
	if err == nil {
		s.reserve.held = true
		return
	}
	_ = s.fs.Remove(reserveName + tmpSuffix)
}
