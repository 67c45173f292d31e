package dlt698

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/schema"
)

// recall reads what the meter keeps of some times into rows, one for each.
func (q *reading) recall(ctx context.Context, r collect.Recall, rows []map[string]collect.Value) error {
	m := q.meter
	h := &history{reading: q, Recall: r, rows: rows, of: attribute(schema.MinuteFreeze), found: make(map[uint64]map[wire.ObjectAttribute]found)}
	if r.Daily {
		h.of = attribute(schema.DayFreeze)
	}
	for _, at := range r.Times {
		h.times = append(h.times, at.UTC().Add(r.Zone))
	}
	if err := m.Absence.Err(time.Now()); err != nil {
		h.fill(err)
		return err
	}
	scalers, failed, gone := h.scalers(ctx)
	for _, part := range schema.FreezeColumns(h.columns(), q.maxFrame) {
		oads := make([]wire.ObjectAttribute, len(part))
		for i, oad := range part {
			oads[i] = wire.ObjectAttribute(oad)
		}
		if gone == nil {
			gone = h.read(ctx, oads)
		}
	}
	h.fill(gone)
	h.values(scalers)
	m.note(cmp.Or(gone, failed), time.Now())
	return cmp.Or(gone, failed)
}

// history is one recall at work.
type history struct {
	*reading
	collect.Recall
	rows  []map[string]collect.Value
	of    wire.ObjectAttribute
	times []time.Time                               // by the meter's clock
	found map[uint64]map[wire.ObjectAttribute]found // by the digits of the time
	alone error                                     // what the meter says of the record with no column but the time
	asked bool                                      // whether it was asked that
}

// columns are the attributes of the items, each once.
func (h *history) columns() (oads []uint32) {
	for _, it := range h.Items {
		oads = append(oads, uint32(attribute(it.OAD)))
	}
	slices.Sort(oads)
	return slices.Compact(oads)
}

// scalers reads the powers of ten that aren't known yet.
func (h *history) scalers(ctx context.Context) (all map[slot]found, failed, gone error) {
	wanted := make(map[batchKey][]wire.ObjectAttribute)
	for _, it := range h.Items {
		if _, known := h.meter.scalers[attribute(it.Scaler)]; it.Scaler != "" && !known {
			wanted[batchKey{}] = append(wanted[batchKey{}], attribute(it.Scaler))
		}
	}
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	return h.reading.read(ctx, wanted)
}

// put says what became of a column of a time.
func (h *history) put(at time.Time, oad wire.ObjectAttribute, f found) {
	n := digits(at)
	if h.found[n] == nil {
		h.found[n] = make(map[wire.ObjectAttribute]found)
	}
	h.found[n][oad] = f
}

// read asks for some columns of all times: of as many times at once as are a step
// apart, and as go into an answer. The error is why the meter isn't asked any more.
func (h *history) read(ctx context.Context, oads []wire.ObjectAttribute) error {
	raw := make([]uint32, len(oads))
	for i, oad := range oads {
		raw[i] = uint32(oad)
	}
	most := schema.FreezeRows(raw, h.maxFrame)
	for todo := h.times; len(todo) > 0; {
		n := 1
		for n < len(todo) && n < most && h.ranged() && todo[n].Sub(todo[n-1]) == h.Step {
			n++
		}
		err := h.run(ctx, oads, todo[:n])
		if err != nil {
			return err
		}
		todo = todo[n:]
	}
	return nil
}

// ranged tells whether to ask for intervals.
func (h *history) ranged() bool {
	const most = 1<<16 - 1
	return !h.meter.points && h.Step%time.Minute == 0 && h.Step/time.Minute <= most
}

// place says what became of columns of some times.
func (h *history) place(oads []wire.ObjectAttribute, times []time.Time, s *span) {
	now := time.Now()
	for n := range s.rows {
		if at := timeOf(n); at.After(h.meter.passed) {
			h.meter.passed = at
		}
	}
	for _, at := range times {
		row := s.rows[digits(at)]
		for _, oad := range oads {
			f := found{at: now, err: h.absent(at, len(times) == 1 || h.meter.ranges)}
			if d, there := row[oad]; there && d.kind != wire.Null {
				f = found{at: now, value: d}
			} else if there {
				f.err = fmt.Errorf("%w: %s is left open", collect.ErrNoData, oad)
			}
			h.put(at, oad, f)
		}
	}
}

// absent says why there is no record of a time by the meter's clock. Only a meter that
// has a later one never will have it: the node's clock doesn't tell, as it may be
// ahead; and only one that is asked in a way that it knows.
func (h *history) absent(at time.Time, known bool) error {
	if known && at.Before(h.meter.passed) {
		return fmt.Errorf("%w: no record of %s", collect.ErrNoData, at.Format(time.DateTime))
	}
	return fmt.Errorf("%w: no record of %s, which may be to come", collect.ErrNoValue, at.Format(time.DateTime))
}

// refusal deals with columns that the meter refuses: if it has the record, then some
// of them are why, and they are asked for in parts.
func (h *history) refusal(ctx context.Context, oads []wire.ObjectAttribute, times []time.Time, why error) error {
	if len(oads) > 1 {
		if !h.asked {
			s, err := h.ask(ctx, nil, times[:1])
			if err != nil && !errors.Is(err, collect.ErrException) {
				return err
			}
			if h.asked = true; err != nil {
				h.alone = err
			} else {
				h.alone = s.refused
			}
		}
		if h.alone == nil {
			for _, half := range [][]wire.ObjectAttribute{oads[:len(oads)/2], oads[len(oads)/2:]} {
				if err := h.run(ctx, half, times); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var code *Refused
	if errors.As(why, &code) && (code.Code == darUndefined || code.Code == darAbsent) {
		why = fmt.Errorf("%w: %w", collect.ErrNoData, why)
	}
	for _, at := range times {
		for _, oad := range oads {
			h.put(at, oad, found{at: time.Now(), err: why})
		}
	}
	return nil
}

// What a meter says that has no such record, or no such column.
const (
	darUndefined wire.DAR = 4
	darAbsent    wire.DAR = 6
)

// ask asks once, and follows the answer through its parts.
func (h *history) ask(ctx context.Context, oads []wire.ObjectAttribute, times []time.Time) (*span, error) {
	s := &span{times: times, step: h.Step, early: h.meter.begin == excluded, rows: make(map[uint64]map[wire.ObjectAttribute]datum)}
	b := batch{batchKey{record: h.of}, append([]wire.ObjectAttribute{wire.RecordTime}, oads...)}
	r := &reader{batch: b, span: s, got: make(map[slot]found)}
	for more := true; more; {
		var err error
		if more, err = h.exchange(ctx, r); err != nil {
			return s, err
		}
	}
	return s, nil
}

// fill says of what wasn't asked why.
func (h *history) fill(why error) {
	for _, at := range h.times {
		for _, it := range h.Items {
			if _, said := h.found[digits(at)][attribute(it.OAD)]; !said {
				h.put(at, attribute(it.OAD), found{at: time.Now(), err: cmp.Or(why, errUnanswered)})
			}
		}
	}
	h.values(nil)
}

// values makes rows of what was found.
func (h *history) values(scalers map[slot]found) {
	for i, at := range h.times {
		h.rows[i] = make(map[string]collect.Value, len(h.Items))
		for _, it := range h.Items {
			f := h.found[digits(at)][attribute(it.OAD)]
			if f.err == nil && it.Scaler != "" {
				f.value.exponent, f.err = h.meter.scaler(attribute(it.Scaler), scalers)
			}
			v := collect.Value{At: f.at, Err: f.err}
			if f.err == nil {
				v.Value, v.Err = f.value.scaled(it.Scale)
			}
			h.rows[i][it.Name] = v
		}
	}
}
