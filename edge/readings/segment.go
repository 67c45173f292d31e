package readings

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"gnomon/schema/reading"
)

// segment is one file, or what will be one.
type segment struct {
	number uint64
	synced int    // bytes that are on disk for certain
	mem    []byte // what follows them and is not

	frames     int // of rows: one more than the highest number
	kept       int // of them, those of which the content is on disk
	done       set // of them, those that the cloud has, or will never take
	open       int // of them, the others
	points     int
	openPoints int
	spans      map[string]span // by policy, the times that its rows are of
	first      time.Time       // when its first and last rows were put
	last       time.Time

	info   []rowsInfo // by number; nil: it has to be read again
	unread time.Time  // when it couldn't be read
	why    error      // it couldn't; nil: it could
}

// span is from one time to another, in milliseconds.
type span struct{ from, to int64 }

// rowsInfo is what is to be known of a frame of rows before it is read.
type rowsInfo struct {
	at, size int // of the whole frame; size 0: it is lost
	put      int64
	group    string // policy, version and items: what goes into one batch
	policy   string
	rows     int
	points   int
}

const (
	filePrefix = "seg-"
	tmpSuffix  = ".tmp"
	badPrefix  = "bad."
)

func newSegment(number uint64) *segment {
	return &segment{number: number, spans: make(map[string]span)}
}

func (s *segment) name() string { return fmt.Sprintf("%s%016x", filePrefix, s.number) }

func (s *segment) size() int { return s.synced + len(s.mem) }

// numberOf reads the name of a segment.
func numberOf(name string) (n uint64, ok bool) {
	hex, ok := strings.CutPrefix(name, filePrefix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	_, err := fmt.Sscanf(hex, "%016x", &n)
	return n, err == nil
}

// count takes in a frame of rows.
func (s *segment) count(number int, i rowsInfo, b *reading.Batch) {
	s.frames = max(s.frames, number+1)
	s.open++
	s.points += i.points
	s.openPoints += i.points
	s.cover(b, i.put)
}

// cover takes note of the times of rows.
func (s *segment) cover(b *reading.Batch, put int64) {
	at, known := s.spans[b.Policy]
	if !known {
		at = span{math.MaxInt64, math.MinInt64}
	}
	for i := range b.Rows {
		ms := b.Rows[i].At.UnixMilli()
		at.from, at.to = min(at.from, ms), max(at.to, ms)
	}
	s.spans[b.Policy] = at
	t := time.UnixMilli(put).UTC()
	if s.first.IsZero() {
		s.first = t
	}
	s.last = t
}

// settle notes that a frame needs not be told any more.
func (s *segment) settle(number, points int) bool {
	if number >= s.frames || s.done.has(number) {
		return false
	}
	for number>>6 >= len(s.done) {
		s.done = append(s.done, 0)
	}
	s.done[number>>6] |= 1 << (number & 63)
	s.open--
	s.openPoints -= points
	return true
}

// infoOf is what is to be known of a frame of rows.
func infoOf(f frame, put time.Time, b *reading.Batch) rowsInfo {
	return rowsInfo{at: f.at, size: frameHead + len(f.payload), put: put.UnixMilli(), group: groupOf(b), policy: b.Policy, rows: len(b.Rows), points: pointsOf(b)}
}

func groupOf(b *reading.Batch) string {
	return fmt.Sprint(b.Policy, " ", b.Version, " ", strings.Join(b.Items, " "))
}

// pointsOf counts the values of a batch, missing ones included.
func pointsOf(b *reading.Batch) (n int) {
	for i := range b.Rows {
		for j := range b.Rows[i].Values {
			if b.Rows[i].Values[j].State != reading.Absent {
				n++
			}
		}
	}
	return n
}

// content is all of a segment.
func (s *Store) content(seg *segment) ([]byte, error) {
	if seg.synced == 0 {
		return seg.mem, nil
	}
	text, err := s.fs.Read(seg.name())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", seg.name(), err)
	}
	return append(text[:min(seg.synced, len(text)):min(seg.synced, len(text))], seg.mem...), nil
}

// errUnread: a segment can't be read for now.
var errUnread = errors.New("can't be read and waits")

// text is all of a segment. Where that can't be read it is tried again after a while:
// a disk that fails takes long to say so. The error is errUnread.
func (s *Store) text(seg *segment) ([]byte, error) {
	if !s.retry(seg).IsZero() {
		return nil, seg.why
	}
	text, err := s.content(seg)
	if err == nil {
		seg.why = nil
		return text, nil
	}
	if seg.why == nil {
		s.log.Error("readings can't be read, and wait", "error", err)
	}
	seg.unread, seg.why, seg.info = s.now(), fmt.Errorf("%w: %w", errUnread, err), nil
	return nil, seg.why
}

// retry is when a segment is to be read again that couldn't be; zero: at once.
func (s *Store) retry(seg *segment) time.Time {
	if since := s.now().Sub(seg.unread); seg.why == nil || since < 0 || since >= unreadable {
		return time.Time{}
	}
	return seg.unread.Add(unreadable)
}

// infos is what is to be known of a segment's frames of rows.
func (s *Store) infos(seg *segment) []rowsInfo {
	if seg.info != nil || seg.frames == 0 {
		return seg.info
	}
	text, err := s.text(seg)
	if err != nil {
		return nil // it was said
	}
	seg.info = make([]rowsInfo, seg.frames)
	groups := make(map[string]string)
	all, _, _ := framesOf(text)
	for _, f := range all {
		number, put, b, ok := decodeRows(f)
		if !ok || f.kind != kindRows || number >= len(seg.info) {
			continue
		}
		i := infoOf(f, put, b)
		if known, ok := groups[i.group]; ok {
			i.group = known
		} else {
			groups[i.group] = i.group
		}
		i.policy = i.group[:len(i.policy)]
		seg.info[number] = i
	}
	return seg.info
}

// decodeRows reads a frame of rows, without numbers.
func decodeRows(f frame) (number int, put time.Time, b *reading.Batch, ok bool) {
	if f.kind != kindRows && f.kind != kindTried {
		return 0, put, nil, false
	}
	number, put, text, ok := f.rowsOf()
	if !ok {
		return 0, put, nil, false
	}
	b, err := reading.DecodeStates(text)
	return number, put, b, err == nil
}
