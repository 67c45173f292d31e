package readings

import (
	"math"
	"slices"
	"time"
)

// pruneEvery is how often the index is looked through for times that are over.
const pruneEvery = 10 * time.Minute

// bound drops what is not to be kept or has no room; mu is held.
func (s *Store) bound() {
	held := s.held()
	for s.held() > maxHeld && s.dropHeld() {
	}
	for s.size() > s.bytes && (s.drop((*segment).told) || s.drop((*segment).any)) {
	}
	if held == 0 && s.held() > 0 {
		_ = s.write() // what is remembered of them; else it goes with what is held
	}
	now := s.now()
	for i := 0; i < len(s.segments)-1; i++ {
		if seg := s.segments[i]; seg.open == 0 && s.over(seg, now) {
			s.remove(i)
			i--
		}
	}
	if since := now.Sub(s.pruned); s.index.bytes > maxIndex || since > pruneEvery || since < 0 {
		s.pruned = now
		s.index.prune(func(policy string) int64 { return now.Add(-s.terms(policy).Keep).UnixMilli() }, maxIndex)
	}
}

// held is how many bytes are in memory alone.
func (s *Store) held() (n int) {
	for _, seg := range s.segments {
		n += len(seg.mem)
	}
	return n
}

func (s *Store) size() (n int) {
	for _, seg := range s.segments {
		n += seg.size()
	}
	return n
}

// over tells whether all rows of a segment have been kept for as long as they shall.
func (s *Store) over(seg *segment, now time.Time) bool {
	longest := time.Duration(0)
	latest := int64(math.MinInt64)
	for policy, at := range seg.spans {
		longest = max(longest, s.terms(policy).Keep)
		latest = max(latest, at.to)
	}
	// Of times to come are rows only where a clock was wrong.
	return seg.last.Add(longest).Before(now) && (latest < now.Add(-longest).UnixMilli() || latest > now.UnixMilli())
}

// What may be dropped for want of room.
func (s *segment) told() bool   { return s.open == 0 }
func (s *segment) onDisk() bool { return s.synced > 0 }
func (s *segment) any() bool    { return true }

// drop drops the oldest such segment for want of room, but never the one that is
// written to.
func (s *Store) drop(such func(*segment) bool) bool {
	at := slices.IndexFunc(s.segments[:max(0, len(s.segments)-1)], such)
	if at < 0 {
		return false
	}
	seg := s.segments[at]
	s.lose(seg.openPoints, "no room")
	latest := int64(math.MinInt64)
	for _, span := range seg.spans {
		latest = max(latest, min(span.to, s.now().UnixMilli()))
	}
	if at == 0 {
		s.horizon = max(s.horizon, latest)
	} else { // what is kept of earlier times may still have gaps
		s.remember(seg)
	}
	s.remove(at)
	return true
}

// lose counts points that the cloud never had.
func (s *Store) lose(points int, why string) {
	if points > 0 {
		s.counts.dropped += int64(points)
		s.log.Error("readings that the cloud doesn't have are dropped", "points", points, "reason", why)
	}
}

// dropHeld drops the oldest of what is in memory alone, but for the segment that is
// written to.
func (s *Store) dropHeld() bool {
	at := slices.IndexFunc(s.segments[:max(0, len(s.segments)-1)], func(seg *segment) bool { return len(seg.mem) > 0 })
	if at < 0 {
		return false
	}
	seg := s.segments[at]
	s.forget(seg, seg.kept)
	if seg.synced == 0 {
		s.lose(seg.openPoints, "nothing can be written, and memory is full")
		s.remove(at)
		return true
	}
	infos := s.infos(seg)
	before := seg.openPoints
	for i := seg.kept; i < len(infos); i++ {
		seg.settle(i, infos[i].points)
		seg.points -= infos[i].points
		infos[i].size = 0
	}
	s.lose(before-seg.openPoints, "nothing can be written, and memory is full")
	seg.mem = nil
	return true
}

// forget takes what a segment says from a frame of rows on out of the index.
func (s *Store) forget(seg *segment, from int) {
	text, err := s.content(seg)
	if err != nil {
		return
	}
	all, _, _ := framesOf(text)
	for _, f := range all {
		if number, _, b, ok := decodeRows(f); ok && f.kind == kindRows && number >= from {
			s.index.forget(b)
		}
	}
}

// remove takes a segment out, and off the disk.
func (s *Store) remove(at int) {
	seg := s.segments[at]
	if seg.synced > 0 {
		_ = s.fs.Remove(seg.name()) // where that can't be done it is there again after the next start
	}
	for r := range s.away {
		if r.segment == seg.number {
			delete(s.away, r)
		}
	}
	s.segments = slices.Delete(s.segments, at, at+1)
}
