package dlt698

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/schema"
)

// found is what has become of an attribute.
type found struct {
	value datum
	at    time.Time
	err   error
}

// slot is an attribute as it is asked for.
type slot struct {
	batchKey
	oad wire.ObjectAttribute
}

// reading is how one meter is read. The port must be taken.
func (p *port) reading(a wire.Address) *reading {
	return &reading{p.meter(a), p.source.MaxFrame, func(ctx context.Context, r *reader) (bool, error) { return p.exchange(ctx, a, r) }}
}

// reading is a poll of one meter, whatever way its requests take.
type reading struct {
	meter    *meter
	maxFrame int
	exchange func(ctx context.Context, r *reader) (more bool, err error)
}

// poll reads all items.
func (q *reading) poll(ctx context.Context, items []schema.Item, values map[string]collect.Value) error {
	m := q.meter
	if err := m.Absence.Err(time.Now()); err != nil {
		collect.NoValues(values, items, err, time.Now())
		return err
	}
	wanted := make(map[batchKey][]wire.ObjectAttribute)
	for _, it := range items {
		k, oad := where(it)
		wanted[k] = append(wanted[k], oad)
		if scaler := attribute(it.Scaler); it.Scaler != "" {
			if _, known := m.scalers[scaler]; !known {
				wanted[batchKey{}] = append(wanted[batchKey{}], scaler)
			}
		}
	}
	all, failed, gone := q.read(ctx, wanted)
	for _, it := range items {
		k, oad := where(it)
		f := all[slot{k, oad}]
		if f.err == nil && it.Scaler != "" {
			f.value.exponent, f.err = m.scaler(attribute(it.Scaler), all)
		}
		v := collect.Value{At: f.at, Err: f.err}
		if f.err == nil {
			v.Value, v.Err = f.value.scaled(it.Scale)
		}
		values[it.Name] = v
	}
	m.note(cmp.Or(gone, failed), time.Now())
	return failed
}

// maxScalers bounds what is remembered of a meter.
const maxScalers = schema.MaxItems

// scaler returns the power of ten that an attribute holds, from what was just
// read or from what was read before.
func (m *meter) scaler(oad wire.ObjectAttribute, all map[slot]found) (int, error) {
	if n, ok := m.scalers[oad]; ok {
		return n, nil
	}
	f := all[slot{batchKey{}, oad}]
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.value.power()
	if err == nil && len(m.scalers) < maxScalers {
		m.scalers[oad] = n
	}
	return n, err
}

// read asks for everything wanted. failed is the first thing that went wrong;
// gone is what the meter wasn't asked any more after.
func (q *reading) read(ctx context.Context, wanted map[batchKey][]wire.ObjectAttribute) (all map[slot]found, failed, gone error) {
	all = make(map[slot]found)
	m := q.meter
	work := m.group(wanted, q.maxFrame)
	for len(work) > 0 {
		b := work[0]
		work = work[1:]
		err := gone
		if err == nil {
			err = q.ask(ctx, b, all)
		}
		var refused *ServiceError
		if errors.As(err, &refused) {
			if parts := m.split(b); parts != nil {
				work = append(parts, work...)
				continue
			}
		}
		at := time.Now()
		for _, oad := range b.oads {
			s := slot{b.batchKey, oad}
			f, answered := all[s]
			if !answered {
				f = found{at: at, err: cmp.Or(err, errUnanswered)}
				all[s] = f
			}
			if failed == nil {
				failed = f.err
			}
		}
		failed = cmp.Or(failed, err)
		if err != nil && gone == nil && !errors.Is(err, collect.ErrException) {
			gone = err
		}
	}
	return all, failed, gone
}

// split returns what to ask for in place of a batch that was refused as such,
// and remembers it: that so many are too much, until it turns out that a single
// one was the reason.
func (m *meter) split(b batch) []batch {
	if len(b.oads) > 1 {
		parts := b.halves()
		m.most[b.batchKey] = len(parts[0].oads)
		return parts
	}
	if _, ok := m.most[b.batchKey]; ok && len(m.alone) < schema.MaxItems {
		m.alone[slot{b.batchKey, b.oads[0]}] = true
		delete(m.most, b.batchKey)
	}
	return nil
}
