package readings

import (
	"math"
	"time"

	"gnomon/edge/state"
)

// Status is how the store is.
type Status struct {
	Points  int       `json:"points"`            // kept, missing values included
	Unsent  int       `json:"unsent"`            // of them, what the cloud isn't known to have
	Oldest  time.Time `json:"oldest,omitzero"`   // when the oldest of those was put
	Bytes   int       `json:"bytes"`             // of all that is kept
	Bound   int       `json:"bound"`             // at which the oldest are dropped
	Held    int       `json:"held,omitempty"`    // of them, bytes in memory alone, because nothing can be written
	Dropped int64     `json:"dropped,omitempty"` // points that the cloud never had, since the start
	Refused int64     `json:"refused,omitempty"` // points that the cloud will never take, of what was kept at the start and since

	Refusal  *Refusal     `json:"refusal,omitempty"`  // the last, since the start
	SetAside int          `json:"setAside,omitempty"` // files that did not check out, since the start
	Fault    *state.Fault `json:"fault,omitempty"`    // why nothing can be written
}

// Refusal is why the cloud will never take a batch.
type Refusal struct {
	Policy  string    `json:"policy"`
	Code    int       `json:"code"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// Status tells how the store is.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Bytes: s.size(), Bound: s.bytes, Dropped: s.counts.dropped, Refused: s.counts.refused,
		Refusal: s.counts.refusal, SetAside: s.counts.setAside, Fault: s.fault}
	if s.fault != nil {
		st.Held = s.held()
	}
	for _, seg := range s.segments {
		st.Points += seg.points
		st.Unsent += seg.openPoints
		if seg.open > 0 && st.Oldest.IsZero() {
			st.Oldest = s.oldest(seg)
		}
	}
	return st
}

// oldest is when the oldest of a segment's frames that wait was put.
func (s *Store) oldest(seg *segment) time.Time {
	least := int64(math.MaxInt64)
	for number, i := range s.infos(seg) {
		if i.size > 0 && !seg.done.has(number) {
			least = min(least, i.put)
		}
	}
	if least == math.MaxInt64 {
		return seg.first
	}
	return time.UnixMilli(least).UTC()
}
