// Package storetest has a collect.Store in memory, for tests of whatever reads
// meters: of the engine, of drivers, of whole areas.
//
// It promises what the port says of a store, but that anything outlives the
// process. It bounds nothing, and is never part of an agent.
package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema/reading"
)

// Point is one value's place.
type Point struct {
	Policy, Meter, Item string
	At                  time.Time // UTC
}

// Kept is a value as it is kept.
type Kept struct {
	reading.Value
	Source  reading.Source
	Arrived time.Time
	Version uint64
	Tried   int // how often it was put as missing
	Put     int // how often it was put at all
}

// Memory is a collect.Store.
type Memory struct {
	mu     sync.Mutex
	points map[Point]Kept
	err    error
}

// NewMemory returns a store without rows.
func NewMemory() *Memory { return &Memory{points: make(map[Point]Kept)} }

// Fail makes the store refuse everything from now on; nil ends that.
func (s *Memory) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Put implements collect.Store.
func (s *Memory) Put(rows collect.Rows) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, r := range rows.Rows {
		if len(r.Values) != len(rows.Items) {
			return fmt.Errorf("row of %s has %d values for %d items", r.Meter, len(r.Values), len(rows.Items))
		}
		for i, v := range r.Values {
			at := Point{rows.Policy, r.Meter, rows.Items[i], r.At.UTC()}
			had := s.points[at]
			if v.State == reading.Absent {
				continue
			}
			had.Put++
			if v.State == reading.Missing {
				had.Tried++
			}
			if had.State != reading.Good && (v.State == reading.Good || had.Reason != collect.NoData) {
				had.Value, had.Source, had.Arrived, had.Version = v, r.Source, r.Arrived, rows.Version
			}
			s.points[at] = had
		}
	}
	return nil
}

// Gaps implements collect.Store.
func (s *Memory) Gaps(w collect.Want) (gaps []collect.Gap, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	for meter, items := range w.Meters {
		for _, at := range w.Slots {
			g := collect.Gap{Meter: meter, At: at}
			for _, item := range items {
				v := s.points[Point{w.Policy, meter, item, at.UTC()}]
				if v.State == reading.Good || v.Reason == collect.NoData {
					continue
				}
				g.Items = append(g.Items, item)
				g.Tried = max(g.Tried, v.Tried)
			}
			if len(g.Items) > 0 {
				gaps = append(gaps, g)
			}
		}
	}
	slices.SortFunc(gaps, func(a, b collect.Gap) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Meter, b.Meter)) })
	return gaps[:min(len(gaps), w.Limit)], nil
}

// At returns what is kept of a value.
func (s *Memory) At(p Point) (Kept, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.At = p.At.UTC()
	v, ok := s.points[p]
	return v, ok
}

// All calls f for every value that is kept.
func (s *Memory) All(f func(Point, Kept)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, v := range s.points {
		f(p, v)
	}
}

var _ collect.Store = (*Memory)(nil)
