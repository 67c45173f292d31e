package readings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/filesys"
	"gnomon/edge/state"
	"gnomon/schema/reading"
)

// Limits of a Store.
const (
	segmentBytes = 256 << 10 // of a segment, about
	frameValues  = 1024      // rows times items of one frame, about
	maxHeld      = 1 << 20   // bytes held in memory while nothing can be written
	maxIndex     = 12 << 20  // bytes of the index
	DefaultBytes = 128 << 20 // of all segments
	keptBad      = 8         // files set aside
)

// ErrHeld is what Put says of rows that could not be written. They are in memory,
// told from there, and written as soon as the disk lets them.
var ErrHeld = errors.New("readings are not on disk, but held in memory")

// Terms are what a policy says of its readings.
type Terms struct {
	Batch    int           // rows that go up together
	MaxDelay time.Duration // that a row waits for others
	Keep     time.Duration // how long rows are kept when the cloud has them
}

// DefaultTerms are those of policies that aren't known any more.
var DefaultTerms = Terms{Batch: 200, MaxDelay: time.Minute, Keep: 7 * 24 * time.Hour}

// Config of a Store.
type Config struct {
	Dir   string
	FS    filesys.FS                // default: Dir
	Bytes int                       // bound of what is kept; default DefaultBytes
	Terms func(policy string) Terms // not called by Open
	Now   func() time.Time          // default time.Now
	Log   *slog.Logger
}

// Store is the readings of a node. Its methods may be called concurrently.
type Store struct {
	fs    filesys.FS
	bytes int
	terms func(string) Terms
	now   func() time.Time
	log   *slog.Logger
	put   chan struct{} // there may be something to send

	mu       sync.Mutex
	segments []*segment   // ascending; the last is written to
	file     filesys.File // of the last; nil: it is to be written anew
	index    *index
	first    uint64 // number of the first segment, where there is none
	horizon  int64  // times up to it were dropped for want of room: they are not gaps
	away     map[ref]bool
	marks    []run // that the cloud has, not yet in a segment
	refused  []run
	counts   counts
	fault    *state.Fault
	pruned   time.Time // when the index was looked through
	inVain   time.Time // when segments were dropped, and a full disk took no more for it
	closed   bool
}

type counts struct {
	dropped  int64 // points that the cloud never had
	refused  int64 // points that it will never take
	setAside int
	refusal  *Refusal
}

// Open reads what there is. Whatever it finds there it can live with, also that
// nothing can be read or written for now (see Status).
func Open(cfg Config) *Store {
	s := &Store{fs: cfg.FS, bytes: cfg.Bytes, terms: cfg.Terms, now: cfg.Now, log: cfg.Log,
		put: make(chan struct{}, 1), index: newIndex(), first: 1, horizon: math.MinInt64, away: make(map[ref]bool)}
	if s.bytes == 0 {
		s.bytes = DefaultBytes
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.terms == nil {
		s.terms = func(string) Terms { return DefaultTerms }
	}
	if s.fs == nil {
		s.fs = directory{filesys.OS(cfg.Dir), cfg.Dir}
	}
	s.load()
	return s
}

// Close writes what isn't on disk yet, as far as that is possible.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.write()
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}

// Changed signals that there may be something to send. It is a level.
func (s *Store) Changed() <-chan struct{} { return s.put }

// Put implements collect.Store. What can't be written is held, and the error is
// ErrHeld; any other says what is wrong with the rows, of which none is taken.
func (s *Store) Put(rows collect.Rows) error {
	batches, err := batchesOf(rows)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	put := reading.Milli(s.now())
	added := false
	for _, b := range batches {
		fresh, tried := s.news(b)
		if len(fresh) > 0 {
			of := *b
			of.Rows = fresh
			s.add(kindRows, put, &of)
		}
		if len(tried) > 0 {
			of := *b
			of.Rows = tried
			s.add(kindTried, put, &of)
		}
		added = added || len(fresh) > 0 || len(tried) > 0
	}
	if !added && s.held() == 0 { // else what it is about may be among what is held
		return nil
	}
	defer func() {
		select {
		case s.put <- struct{}{}:
		default:
		}
	}()
	err = s.write()
	s.bound()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHeld, err)
	}
	return nil
}

// batchesOf makes batches for frames of rows: not too large, and of each meter and
// time one row. Nothing in them is the caller's.
func batchesOf(rows collect.Rows) (all []*reading.Batch, err error) {
	sorted := make([]reading.Row, len(rows.Rows))
	for i, r := range rows.Rows {
		r.At, r.Arrived = reading.Milli(r.At), reading.Milli(r.Arrived)
		r.Values = slices.Clone(r.Values)
		sorted[i] = r
	}
	slices.SortStableFunc(sorted, func(a, b reading.Row) int { return a.Compare(&b) })
	most := min(max(frameValues/max(len(rows.Items), 1), 1), reading.MaxRows)
	var b *reading.Batch
	for _, r := range sorted {
		if b == nil || len(b.Rows) == most || b.Rows[len(b.Rows)-1].Compare(&r) == 0 {
			b = &reading.Batch{Policy: rows.Policy, Version: rows.Version, Items: slices.Clone(rows.Items)}
			all = append(all, b)
		}
		b.Rows = append(b.Rows, r)
	}
	for _, b := range all {
		if err := b.Check(); err != nil {
			return nil, fmt.Errorf("put readings of %s: %w", rows.Policy, err)
		}
	}
	return all, nil
}

// news sorts rows into those with something new, and what was asked for again in
// vain; mu is held.
func (s *Store) news(b *reading.Batch) (fresh, tried []reading.Row) {
	items := s.index.itemsOf(s.index.policy(b.Policy), b.Items)
	for _, r := range b.Rows {
		vain := slices.Clone(r.Values)
		isNew, again := s.index.news(b.Policy, items, &r)
		if isNew {
			fresh = append(fresh, r)
		}
		missing := func(v reading.Value) bool { return v.State == reading.Missing }
		if again && !slices.ContainsFunc(r.Values, missing) {
			for i := range vain {
				if vain[i].State != reading.Missing {
					vain[i] = reading.Value{}
				}
			}
			r.Values = vain
			tried = append(tried, r)
		}
	}
	return fresh, tried
}

// head is the segment to write to; mu is held.
func (s *Store) head() *segment {
	number := s.first
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		if last.size() < segmentBytes {
			return last
		}
		number = last.number + 1
	}
	if s.file != nil {
		_ = s.file.Close() // all of it is synced
		s.file = nil
	}
	seg := newSegment(number)
	seg.mem = appendFrame(nil, kindHead, headFrame(number, s.horizon))
	seg.info = []rowsInfo{}
	s.segments = append(s.segments, seg)
	if at := len(s.segments) - 1 - freshSegments; at >= 0 {
		s.segments[at].info = nil // it is read again if need be
	}
	return seg
}

// add appends a frame of rows; mu is held.
func (s *Store) add(k kind, put time.Time, b *reading.Batch) {
	seg := s.head()
	var payload []byte
	if k == kindRows {
		payload = binary.AppendUvarint(payload, uint64(seg.frames))
	}
	payload, err := b.Append(binary.AppendVarint(payload, put.UnixMilli()))
	if err != nil { // it was checked, and is far smaller than the limit
		s.log.Error("readings can't be encoded", "policy", b.Policy, "error", err)
		return
	}
	if k == kindRows {
		i := infoOf(frame{at: seg.size(), payload: payload}, put, b)
		seg.count(seg.frames, i, b)
		if seg.info != nil {
			if n := len(seg.info); n > 0 && seg.info[n-1].group == i.group {
				i.group, i.policy = seg.info[n-1].group, seg.info[n-1].policy
			}
			seg.info = append(seg.info, i)
		}
	} else {
		seg.cover(b, put.UnixMilli())
	}
	seg.mem = appendFrame(seg.mem, k, payload)
}

// isBad tells whether a file is one set aside.
func isBad(name string) bool { return strings.HasPrefix(name, badPrefix) }
