package dlt698

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
)

// span asks for the records of one time, or of several that are a step apart.
type span struct {
	times   []time.Time // by the meter's clock
	step    time.Duration
	early   bool                                      // intervals begin a step before the first time
	rows    map[uint64]map[wire.ObjectAttribute]datum // by the digits of their times
	refused error                                     // of the record as such
}

// digits are a time as rows are told apart by it.
func digits(t time.Time) uint64 {
	n, _ := strconv.ParseUint(t.Format("20060102150405"), 10, 64) // always digits
	return n
}

// timeOf is the time of digits; that of a row may be none, and is the zero one then.
func timeOf(n uint64) time.Time {
	t, err := time.Parse("20060102150405", strconv.FormatUint(n, 10))
	if err != nil {
		return time.Time{}
	}
	return t
}

// has tells whether there is a row of a time.
func (s *span) has(at time.Time) bool { _, there := s.rows[digits(at)]; return there }

// request encodes what is asked. An interval has its beginning and not its end by the
// standard; meters that take the end in send a row more, which nobody looks for, and so
// do those that take in what comes a step early.
func (s *span) request(dst []byte, service byte, b batch) []byte {
	if len(s.times) == 1 {
		return wire.AppendGetRecordAt(dst, service, b.record, s.times[0], b.oads)
	}
	first, last := s.times[0], s.times[len(s.times)-1]
	if s.early {
		first = first.Add(-s.step)
	}
	return wire.AppendGetRecords(dst, service, b.record, first, last.Add(s.step), uint16(s.step/time.Minute), b.oads)
}

// take takes all rows of an answer; the first column is their time.
func (s *span) take(m *wire.Message, result int, r *reader) {
	rows := result + 1
	if m.Nodes[result].Num == 0 {
		s.refused = &Refused{OAD: r.batch.record, Code: wire.DAR(m.Nodes[rows].Num)}
		return
	}
	for row := range m.Children(rows) {
		k := 0
		var columns map[wire.ObjectAttribute]datum
		for c := range m.Children(row) {
			d := datumOf(m, c)
			if k == 0 {
				if d.kind != wire.DateTimeS && d.kind != wire.DateTime || !d.whole {
					break // of no time that could be told
				}
				columns = make(map[wire.ObjectAttribute]datum, len(r.batch.oads))
				s.rows[d.num] = columns
			} else {
				columns[r.batch.oads[k]] = d
			}
			k++
		}
	}
}

// run asks for the records of some times. What an interval lacks isn't believed at
// once: of a meter of which it isn't known whether intervals have their first time, that
// is asked for alone, and the last if nothing came; and after the last record that came
// the meter is asked again, for it may have cut its answer off. Each is once for an
// interval, so that a hole costs no more, however long it is.
func (h *history) run(ctx context.Context, oads []wire.ObjectAttribute, times []time.Time) error {
	if len(times) > 1 && h.meter.points {
		return h.singly(ctx, oads, times)
	}
	s, err := h.ask(ctx, oads, times)
	if hard(err) != nil {
		return err
	}
	if err == nil {
		err = s.refused
	}
	if len(times) > 1 {
		if gone := h.learn(ctx, oads, s, err != nil); gone != nil {
			return gone
		}
		if h.meter.points {
			return h.singly(ctx, oads, times)
		}
	}
	if err != nil {
		return h.refusal(ctx, oads, times, err)
	}
	n := len(times)
	for n > 0 && !s.has(times[n-1]) {
		n--
	}
	if n == 0 || n == len(times) {
		h.place(oads, times, s)
		return nil
	}
	h.place(oads, times[:n], s)
	return h.run(ctx, oads, times[n:])
}

// learn finds out how the meter takes intervals, from what came of one: rows, or a
// refusal. Where that can't tell, the first time is asked for alone; the meter has it,
// and an interval that begins a step early has it as well, or it doesn't know
// intervals. The error is why the meter isn't asked any more.
func (h *history) learn(ctx context.Context, oads []wire.ObjectAttribute, s *span, refused bool) error {
	h.meter.ranges = h.meter.ranges || !refused && len(s.rows) > 0
	switch {
	case !refused && s.has(s.times[0]):
		if h.meter.begin == notKnown {
			h.meter.begin = included
		}
		return nil
	case refused && h.meter.ranges, h.meter.begin != notKnown:
		return nil
	}
	first, err := h.ask(ctx, oads, s.times[:1])
	if err != nil || first.refused != nil {
		return hard(err)
	}
	if refused { // the interval as such
		h.meter.points = true
		return nil
	}
	if !first.has(s.times[0]) {
		return h.learnByLast(ctx, oads, s)
	}
	h.meter.begin = excluded
	again, err := h.ask(ctx, oads, s.times)
	switch {
	case err != nil, again.refused != nil: // that tells nothing
		h.meter.begin = notKnown
		maps.Copy(s.rows, first.rows)
		return hard(err)
	case !again.has(s.times[0]):
		h.meter.begin, h.meter.points = notKnown, true
		return nil
	}
	maps.Copy(s.rows, again.rows)
	h.meter.ranges = true
	return nil
}

// learnByLast has another look where neither the first time nor any of the interval
// came, as ever before: if the last is there, the meter doesn't know intervals.
func (h *history) learnByLast(ctx context.Context, oads []wire.ObjectAttribute, s *span) error {
	if h.meter.ranges {
		return nil
	}
	at := s.times[len(s.times)-1:]
	last, err := h.ask(ctx, oads, at)
	h.meter.points = err == nil && last.has(at[0])
	return hard(err)
}

// hard is an error after which the meter isn't asked any more; that it refuses is none.
func hard(err error) error {
	if errors.Is(err, collect.ErrException) {
		return nil
	}
	return err
}

// singly asks for one time after the other.
func (h *history) singly(ctx context.Context, oads []wire.ObjectAttribute, times []time.Time) error {
	for _, at := range times {
		if err := h.run(ctx, oads, []time.Time{at}); err != nil {
			return err
		}
	}
	return nil
}
