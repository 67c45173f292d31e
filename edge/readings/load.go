package readings

import (
	"slices"
	"strings"
)

// load takes in what is there; what doesn't check out is set aside.
func (s *Store) load() {
	names, err := s.fs.List()
	if err != nil {
		s.first = uint64(max(1, s.now().Unix())) // beyond those that may be there
		s.note(err)
		return
	}
	var numbers []uint64
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			_ = s.fs.Remove(name) // nothing in it was promised
		} else if n, ok := numberOf(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	points := make(map[uint64][]int) // of each segment's frames
	for _, n := range numbers {
		if seg := s.loadOne(n, points); seg != nil {
			s.segments = append(s.segments, seg)
		}
	}
	s.clearBad()
}

// loadOne reads a segment. It is nil if there is nothing to be had of it.
func (s *Store) loadOne(number uint64, points map[uint64][]int) *segment {
	seg := newSegment(number)
	text, err := s.fs.Read(seg.name())
	if err != nil {
		s.log.Error("readings can't be read and are set aside", "file", seg.name(), "error", err)
		s.setAside(seg.name())
		return nil
	}
	all, cut, damaged := framesOf(text)
	seg.synced = len(text)
	if n := len(all); cut && n > 0 {
		seg.synced = all[n-1].at + frameHead + len(all[n-1].payload)
	}
	if len(all) == 0 || !s.takeHead(all[0], number) {
		damaged = true
	}
	good := []byte{}
	for _, f := range all {
		if !s.takeFrame(seg, f, points) {
			damaged = true
			continue
		}
		good = appendFrame(good, f.kind, f.payload)
	}
	seg.kept = seg.frames
	if damaged && !s.salvage(seg, text, good) {
		return nil
	}
	return seg
}

// takeHead tells whether a frame is the head of a segment.
func (s *Store) takeHead(f frame, number uint64) bool {
	if f.kind != kindHead {
		return false
	}
	format, n, horizon, ok := headOf(f.payload)
	if !ok || format != formatHead || n != number {
		return false
	}
	s.horizon = max(s.horizon, horizon)
	return true
}

// takeFrame takes in what a frame says.
func (s *Store) takeFrame(seg *segment, f frame, points map[uint64][]int) bool {
	switch f.kind {
	case kindHead:
		return true
	case kindRows, kindTried:
		number, put, b, ok := decodeRows(f)
		if !ok {
			return false
		}
		s.index.note(b)
		if f.kind == kindTried {
			seg.cover(b, put.UnixMilli())
			return true
		}
		i := infoOf(f, put, b)
		all := points[seg.number]
		for len(all) <= number {
			all = append(all, 0)
		}
		all[number] = i.points
		points[seg.number] = all
		seg.count(number, i, b)
	case kindDropped:
		policy, times, ok := f.droppedOf()
		if !ok {
			return false
		}
		s.index.dropped(policy, times)
		seg.coverTimes(policy, times)
	case kindAcked, kindRefused:
		for _, r := range runsOf(f.payload) {
			of := seg
			if r.segment != seg.number {
				of = s.find(r.segment)
			}
			for i := r.first; of != nil && i < min(r.first+r.count, of.frames, len(points[r.segment])); i++ {
				if points[r.segment][i] > 0 && of.settle(i, points[r.segment][i]) && f.kind == kindRefused {
					s.counts.refused += int64(points[r.segment][i])
				}
			}
		}
	}
	return true // also what a later version wrote
}

// find returns the segment with a number; nil if there is none.
func (s *Store) find(number uint64) *segment {
	at, ok := slices.BinarySearchFunc(s.segments, number, func(seg *segment, n uint64) int {
		switch {
		case seg.number < n:
			return -1
		case seg.number > n:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return s.segments[at]
}

// salvage keeps a copy of a damaged segment aside and makes the segment what of it
// checks out. It tells whether there is anything.
func (s *Store) salvage(seg *segment, text, good []byte) bool {
	name := seg.name()
	s.counts.setAside++
	s.log.Error("readings on disk did not check out; the file is set aside", "file", badPrefix+name, "bytes", len(text), "kept", len(good))
	f, err := s.replace(badPrefix+name, text)
	if err == nil {
		_ = f.Close()
		if seg.frames == 0 {
			_ = s.fs.Remove(name)
			return false
		}
		good = append(appendFrame(nil, kindHead, headFrame(seg.number, s.horizon)), good...)
		if f, err = s.replace(name, good); err == nil {
			seg.synced = len(good)
			_ = f.Close()
			return true
		}
	}
	s.log.Error("what is left of it can't be written; it is read as it is", "file", name, "error", err)
	return seg.frames > 0
}

// setAside gives a file that can't even be read another name.
func (s *Store) setAside(name string) {
	s.counts.setAside++
	if err := s.fs.Rename(name, badPrefix+name); err != nil {
		s.log.Error("it can't be set aside either", "file", name, "error", err)
	}
}

// clearBad deletes the oldest files set aside over keptBad.
func (s *Store) clearBad() {
	names, err := s.fs.List()
	if err != nil {
		return
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !isBad(n) })
	slices.Sort(names)
	for _, name := range names[:max(0, len(names)-keptBad)] {
		_ = s.fs.Remove(name)
	}
}
