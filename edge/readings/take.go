package readings

import (
	"cmp"
	"slices"
	"time"

	"gnomon/schema/reading"
)

const (
	freshFor      = time.Hour        // after it was put a row goes up before those that have waited longer
	freshSegments = 8                // the newest, in which fresh rows are looked for
	unreadable    = 10 * time.Second // a segment isn't read again after it couldn't be
)

// ref names a frame of rows.
type ref struct {
	segment uint64
	number  int
}

// Parcel is some of what the cloud doesn't have: a batch without its ID, and what
// frames it is made of.
type Parcel struct {
	Batch  *reading.Batch
	Points int
	refs   []taken
}

type taken struct {
	ref
	points int
}

// Take takes rows that are due to go up, so many bytes of them as they are on disk,
// but one frame at least. It is nil if none are; next is when some will be, if
// nothing is put before, zero if only a Put can bring some. What is taken must be
// given to Done or Return.
func (s *Store) Take(bytes int) (p *Parcel, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for {
		of, next := s.dueFresh(now)
		if of == nil {
			of = s.backlog(now)
		}
		if of == nil {
			return nil, s.nextRead(next)
		}
		if p = s.parcel(of, bytes); p != nil {
			return p, next
		}
		// Nothing of it checks out any more, or can be read for now: others can.
	}
}

// nextRead is when a segment is to be read again that couldn't be, if that is sooner.
func (s *Store) nextRead(next time.Time) time.Time {
	for _, seg := range s.segments {
		if at := s.retry(seg); seg.open > 0 && !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// lot is frames of one group that wait, in order.
type lot struct {
	policy, group string
	rows          int
	oldest        int64
	frames        []waiting
	whole         bool // rows go up as many as there is room for
}

type waiting struct {
	ref
	rowsInfo
}

// fresh tells whether rows were put lately. Where the clock was set back since
// they were.
func fresh(put int64, now time.Time) bool { return put > now.Add(-freshFor).UnixMilli() }

// recent tells whether fresh rows are looked for in the segment at that place. Those
// of others go up with what has waited.
func (s *Store) recent(at int, now time.Time) bool {
	return at >= len(s.segments)-freshSegments && fresh(s.segments[at].last.UnixMilli(), now)
}

// dueFresh returns fresh rows that have waited for as long as they may, or that are
// enough for a message.
func (s *Store) dueFresh(now time.Time) (due *lot, next time.Time) {
	lots := make(map[string]*lot)
	for at, seg := range s.segments {
		if seg.open == 0 || !s.recent(at, now) {
			continue
		}
		for number, i := range s.infos(seg) {
			if !s.waits(seg, number, i) || !fresh(i.put, now) {
				continue
			}
			l := lots[i.group]
			if l == nil {
				l = &lot{policy: i.policy, group: i.group, oldest: i.put}
				lots[i.group] = l
			}
			l.rows += i.rows
			l.frames = append(l.frames, waiting{ref{seg.number, number}, i})
		}
	}
	for _, l := range lots {
		terms := s.terms(l.policy)
		at := time.UnixMilli(l.oldest).Add(terms.MaxDelay)
		if l.rows < terms.Batch && now.Before(at) && now.UnixMilli() >= l.oldest {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		if due == nil || cmp.Or(cmp.Compare(l.oldest, due.oldest), cmp.Compare(l.group, due.group)) < 0 {
			due = l
		}
	}
	return due, next
}

// waits tells whether a frame of rows is to be told and not on its way.
func (s *Store) waits(seg *segment, number int, i rowsInfo) bool {
	return i.size > 0 && !seg.done.has(number) && !s.away[ref{seg.number, number}]
}

// backlog returns the oldest of all rows that dueFresh doesn't look at.
func (s *Store) backlog(now time.Time) *lot {
	for at, seg := range s.segments {
		var l *lot
		recent := s.recent(at, now)
		for number, i := range s.openOf(seg) {
			if !s.waits(seg, number, i) || recent && fresh(i.put, now) {
				continue
			}
			if l == nil {
				l = &lot{policy: i.policy, group: i.group, oldest: i.put, whole: true}
			}
			if i.group == l.group {
				l.frames = append(l.frames, waiting{ref{seg.number, number}, i})
			}
		}
		if l != nil {
			return l
		}
		if at < len(s.segments)-freshSegments {
			seg.info = nil // all of it is told or on its way
		}
	}
	return nil
}

// openOf is what is to be known of a segment's frames, if any of them is to be told.
func (s *Store) openOf(seg *segment) []rowsInfo {
	if seg.open == 0 {
		return nil
	}
	return s.infos(seg)
}

// parcel takes frames of a lot, and makes one batch of them.
func (s *Store) parcel(l *lot, bytes int) *Parcel {
	p := new(Parcel)
	most := s.terms(l.policy).Batch
	size := 0
	rows := make(map[string]int) // by meter and time, place in the batch
	var text []byte
	var of *segment
	var err error
	for _, w := range l.frames {
		if p.Batch != nil && (size+w.size > bytes || !l.whole && len(p.Batch.Rows) >= most ||
			len(p.Batch.Rows)+w.rows > reading.MaxRows || (len(p.Batch.Rows)+w.rows)*len(p.Batch.Items) > reading.MaxValues) {
			break
		}
		if of == nil || of.number != w.segment {
			of = s.find(w.segment)
			text, err = s.text(of)
		}
		if err != nil {
			continue
		}
		b := batchAt(text, w.rowsInfo)
		if b == nil {
			s.log.Error("readings on disk don't check out any more", "segment", w.segment, "frame", w.number)
			of.settle(w.number, w.points)
			s.counts.setAside++
			s.lose(w.points, "damaged on disk")
			continue
		}
		if p.Batch == nil {
			p.Batch = &reading.Batch{Policy: b.Policy, Version: b.Version, Items: b.Items}
		}
		p.add(b, rows)
		s.away[w.ref] = true
		p.refs = append(p.refs, taken{w.ref, w.points})
		p.Points += w.points
		size += w.size
	}
	if p.Batch == nil {
		return nil
	}
	p.Batch.Sort()
	return p
}

// batchAt decodes a frame of rows of a segment; nil if it doesn't check out.
func batchAt(text []byte, i rowsInfo) *reading.Batch {
	if i.at > len(text) {
		return nil
	}
	f, _, ok := frameAt(text[i.at:])
	if !ok {
		return nil
	}
	_, _, body, ok := f.rowsOf()
	if !ok {
		return nil
	}
	b, err := reading.Decode(body)
	if err != nil {
		return nil
	}
	return b
}

// add puts rows into the batch. What of a row was told in two frames is one row.
func (p *Parcel) add(b *reading.Batch, rows map[string]int) {
	for _, r := range b.Rows {
		key := r.At.String() + " " + r.Meter
		at, there := rows[key]
		if !there {
			rows[key] = len(p.Batch.Rows)
			p.Batch.Rows = append(p.Batch.Rows, r)
			continue
		}
		merge(&p.Batch.Rows[at], r)
	}
}

// merge lays a later row over an earlier one of the same meter and time.
func merge(into *reading.Row, r reading.Row) {
	into.Arrived, into.Source = r.Arrived, r.Source
	for i, v := range r.Values {
		if v.State != reading.Absent && into.Values[i].State != reading.Good {
			into.Values[i] = v
		}
	}
}

// Done notes that the cloud has what was taken, or will never take it.
func (s *Store) Done(p *Parcel, refused *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(p.refs, func(a, b taken) int {
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.number, b.number))
	})
	var runs []run
	for _, t := range p.refs {
		delete(s.away, t.ref)
		seg := s.find(t.segment)
		if seg == nil || !seg.settle(t.number, t.points) {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].segment == t.segment && runs[n-1].first+runs[n-1].count == t.number {
			runs[n-1].count++
		} else {
			runs = append(runs, run{t.segment, t.number, 1})
		}
	}
	if refused != nil {
		s.refused = append(s.refused, runs...)
		s.counts.refused += int64(p.Points)
		s.counts.refusal = refused
		return
	}
	s.marks = append(s.marks, runs...)
}

// Return gives back what was taken and is not known to have arrived.
func (s *Store) Return(p *Parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range p.refs {
		delete(s.away, t.ref)
	}
}

// Frames is how many frames it is made of, each of which can be told alone.
func (p *Parcel) Frames() int { return len(p.refs) }
