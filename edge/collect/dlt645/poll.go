package dlt645

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/schema"
	"gnomon/shadow"
)

// placed is an item with its identifier, and where in the data its value is.
type placed struct {
	schema.Item
	di     wire.DI
	at     int // in the data of the identifier that is asked for
	format wire.Format
}

// work is one identifier to ask for, with the items in its answer.
type work struct {
	di    wire.DI
	items []placed
}

// poll reads all items of one meter. The port must be taken.
func (p *port) poll(ctx context.Context, a wire.Address, items []schema.Item, values map[string]collect.Value) error {
	m, now := p.meter(a), time.Now()
	if err := m.Err(now); err != nil {
		collect.NoValues(values, items, err, now)
		return err
	}
	good := placeAll(items, values, now)
	var failed, gone error // the first failure; the one after which the meter isn't asked any more
	for todo := m.group(good, now); len(todo) > 0; {
		w := todo[0]
		todo = todo[1:]
		if gone != nil {
			w.missing(values, gone)
			continue
		}
		again, err := p.ask(ctx, a, w, values)
		todo = append(todo, again...)
		if err == nil {
			continue
		}
		failed = cmp.Or(failed, err)
		if !errors.Is(err, collect.ErrException) {
			gone = err
		}
	}
	m.Note(cmp.Or(gone, failed), time.Now())
	return failed
}

// ask reads one identifier, and takes the items out of the answer. What a block
// doesn't have is to be asked for singly.
func (p *port) ask(ctx context.Context, a wire.Address, w work, values map[string]collect.Value) ([]work, error) {
	m := p.meter(a)
	if known, ok := m.lacks[w.di]; ok {
		w.missing(values, known.err)
		return nil, known.err
	}
	data, err := p.read(ctx, a, w.di)
	if err != nil {
		return m.failed(w, err, values)
	}
	return m.take(w, data, values), nil
}

// failed learns from an identifier that could not be read. What a block could
// have held is to be asked for singly.
func (m *meter) failed(w work, err error, values map[string]collect.Value) ([]work, error) {
	if lacking(err) {
		m.lack(w.di, err, time.Now())
	}
	if w.isBlock() && errors.Is(err, collect.ErrException) {
		return singly(w.items), nil
	}
	w.missing(values, err)
	return nil, err
}

// take takes the items out of the data of an identifier, and returns what is
// still to be asked for.
func (m *meter) take(w work, data []byte, values map[string]collect.Value) []work {
	if w.isBlock() {
		m.entries[w.di] = len(data)
	}
	now := time.Now()
	var short []placed
	for _, it := range w.items {
		if w.isBlock() && it.at+it.format.Size() > len(data) {
			short = append(short, it)
			continue
		}
		v, err := it.value(data)
		values[it.Name] = collect.Value{Value: v, At: now, Err: err}
	}
	return singly(short)
}

// lack remembers that a meter doesn't have an identifier.
func (m *meter) lack(di wire.DI, err error, now time.Time) {
	if len(m.lacks) >= schema.MaxItems {
		clear(m.lacks)
	}
	m.lacks[di] = refusal{err, now.Add(lacksFor)}
}

func (w work) missing(values map[string]collect.Value, err error) {
	now := time.Now()
	for _, it := range w.items {
		values[it.Name] = collect.Value{At: now, Err: err}
	}
}

// isBlock tells whether the identifier stands in for those of the items.
func (w work) isBlock() bool { return w.di != w.items[0].di }

// placeAll places items. One that has no place is missing: schema refuses such
// items before they get here.
func placeAll(items []schema.Item, values map[string]collect.Value, now time.Time) []placed {
	good := make([]placed, 0, len(items))
	for _, it := range items {
		at, err := place(it)
		if err != nil {
			collect.NoValues(values, []schema.Item{it}, err, now)
			continue
		}
		good = append(good, at)
	}
	return good
}

func place(it schema.Item) (placed, error) {
	di, err := wire.ParseDI(it.DI)
	if err != nil {
		return placed{}, err
	}
	f, err := wire.ParseFormat(it.Format, it.Signed)
	return placed{it, di, it.Offset, f}, err
}

// group joins items into as few identifiers to ask for as it can: those of one
// identifier, and two or more of one block, unless the meter is known to have
// no such block, or too short a one.
func (m *meter) group(items []placed, now time.Time) []work {
	for di, r := range m.lacks {
		if !now.Before(r.till) {
			delete(m.lacks, di)
			delete(m.entries, di)
		}
	}
	distinct := map[wire.DI]map[wire.DI]bool{} // by block
	for _, it := range items {
		if block, _, ok := m.block(it); ok {
			if distinct[block] == nil {
				distinct[block] = map[wire.DI]bool{}
			}
			distinct[block][it.di] = true
		}
	}
	var all []work
	for _, it := range items {
		di := it.di
		if block, at, ok := m.block(it); ok && len(distinct[block]) > 1 {
			di, it.at = block, at
		}
		if i := slices.IndexFunc(all, func(w work) bool { return w.di == di && (w.items[0].di == di) == (it.di == di) }); i >= 0 {
			all[i].items = append(all[i].items, it)
		} else {
			all = append(all, work{di, []placed{it}})
		}
	}
	return all
}

// block returns the block that an item can be read with, and where its value is.
func (m *meter) block(it placed) (di wire.DI, at int, ok bool) {
	di, index, ok := it.di.Block()
	if _, lacks := m.lacks[di]; !ok || lacks {
		return 0, 0, false
	}
	entry, ok := wire.Lookup(di)
	size := entry.Size()
	if !ok || it.Offset+it.format.Size() > size {
		return 0, 0, false
	}
	at = index*size + it.Offset
	if length, known := m.entries[di]; known && at+it.format.Size() > length {
		return 0, 0, false
	}
	return di, at, true
}

// singly makes work of items that each is asked for by its own identifier.
func singly(items []placed) []work {
	var all []work
	for _, it := range items {
		it.at = it.Offset
		if i := slices.IndexFunc(all, func(w work) bool { return w.di == it.di }); i >= 0 {
			all[i].items = append(all[i].items, it)
		} else {
			all = append(all, work{it.di, []placed{it}})
		}
	}
	return all
}

// value takes an item's value out of the data of an answer.
func (it placed) value(data []byte) (*shadow.Value, error) {
	end := it.at + it.format.Size()
	if end > len(data) {
		return nil, fmt.Errorf("%w: %s has %d bytes, %s needs %d", collect.ErrNotNumber, it.di, len(data), it.Name, end)
	}
	n, err := it.format.Decode(data[it.at:end])
	if errors.Is(err, wire.ErrMissing) {
		return nil, fmt.Errorf("%w: %s of %s", collect.ErrNoValue, it.Name, it.di)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s of %s: %w", collect.ErrNotNumber, it.Name, it.di, err)
	}
	if it.Scale == 1 && n.Decimals == 0 {
		return shadow.Int(n.Mantissa), nil
	}
	f := n.Float()
	if it.Scale != 1 { // a scaled value keeps 12 digits, so that 230.1 × 0.1 is 23.01
		f, _ = strconv.ParseFloat(strconv.FormatFloat(f*it.Scale, 'g', 12, 64), 64) // what was just formatted parses
	}
	v := shadow.Float(f)
	if v == nil {
		return nil, fmt.Errorf("%w: %s × %v", collect.ErrNotNumber, n, it.Scale)
	}
	return v, nil
}
