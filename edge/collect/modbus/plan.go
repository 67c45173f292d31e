package modbus

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// plan is what is read of a meter in one poll: its items, at the addresses where
// they are, the registers that scale some of them, and those that say that SunSpec
// models are still where they were.
type plan struct {
	items []schema.Item // as asked for
	at    []schema.Item // the same, with the addresses on the wire
	all   []schema.Item
	signs map[schema.Item]int // registers that hold the number of a SunSpec model
	got   map[place]reading
}

// place is where an item is: others there have the same reading.
type place struct{ block, function, address, size int }

func placeOf(it *schema.Item) place { return place{it.Block, it.Function, it.Address, size(*it)} }

// reading is what became of an item: the block that it is in, or why there is none.
type reading struct {
	block block
	data  []byte
	err   error
	at    time.Time
}

// plan finds out where items are. Those of SunSpec models that can't be found, or lie
// where nothing can be asked for, have a reading already, and the error says why.
func (p *port) plan(ctx context.Context, id byte, items []schema.Item) (*plan, error) {
	pl := &plan{items: items, at: items, all: items, got: make(map[place]reading, len(items))}
	if plain(items) {
		return pl, nil
	}
	var failed error
	pl.at, pl.all, pl.signs = make([]schema.Item, len(items)), nil, make(map[schema.Item]int)
	for i, it := range items {
		if it.Block != 0 {
			base, err := 0, serious(failed) // a meter that keeps silent isn't asked where each model is
			if err == nil {
				base, err = p.find(ctx, id, it)
			}
			if err == nil {
				err = p.unit(id).reach(it, base)
			}
			if err != nil {
				pl.at[i] = it
				pl.got[placeOf(&it)] = reading{err: err, at: time.Now()}
				if failed == nil {
					failed = err
				}
				continue
			}
			pl.signs[signOf(it, base)] = it.Block
			it.Address += base
			for k := range it.ScaleFrom {
				it.ScaleFrom[k].Address += base // of those that aren't there, too: nobody reads them
			}
			it.Block = 0
		}
		pl.at[i] = it
		pl.all = append(pl.all, it)
	}
	pl.all = schema.WithFactors(pl.all)
	for sign := range pl.signs {
		pl.all = append(pl.all, sign)
	}
	return pl, failed
}

// plain tells whether items are just what they say.
func plain(items []schema.Item) bool {
	for _, it := range items {
		if it.Block != 0 || it.ScaleFrom != (schema.Factors{}) {
			return false
		}
	}
	return true
}

func (pl *plan) missed(b block, err error) {
	for i := range b.items {
		pl.got[placeOf(&b.items[i])] = reading{err: err, at: time.Now()}
	}
}

func (pl *plan) answered(b block, data []byte) {
	at := time.Now()
	for i := range b.items {
		pl.got[placeOf(&b.items[i])] = reading{block: b, data: data, at: at}
	}
}

// take makes values of what was read. If a SunSpec model is no longer where it was
// found, nothing of it is believed.
func (pl *plan) take(u *unit, values map[string]collect.Value) (failed error) {
	for sign, number := range pl.signs {
		r := pl.got[placeOf(&sign)]
		if r.err != nil {
			continue // and so nothing is known of those that lie beside it
		}
		if v, err := decode(r.block, r.data, sign); err != nil || v.Text() != strconv.Itoa(number) {
			u.blocks = nil
			failed = fmt.Errorf("%w: SunSpec model %d is not at %d any more", collect.ErrGarbled, number, sign.Address)
		}
	}
	for i := range pl.at {
		it := pl.at[i]
		r := pl.got[placeOf(&it)]
		if r.err == nil && pl.items[i].Block != 0 && failed != nil {
			r.err = failed
		}
		v := collect.Value{At: r.at, Err: r.err}
		if v.Err == nil {
			if it, v.Err = pl.scale(it); v.Err == nil {
				v.Value, v.Err = decode(r.block, r.data, it)
			}
		}
		values[it.Name] = v
	}
	return failed
}

// maxPower is the largest power of ten that a register may scale by.
const maxPower = 20

// scale works the registers into an item that multiply it.
func (pl *plan) scale(it schema.Item) (schema.Item, error) {
	if it.ScaleFrom == (schema.Factors{}) {
		return it, nil
	}
	for _, f := range it.ScaleFrom.All() {
		of := f.Item(it)
		r := pl.got[placeOf(&of)]
		if r.err != nil {
			return it, r.err
		}
		n, err := number(r, of)
		if err != nil {
			return it, fmt.Errorf("scaled by the register at %d: %w", f.Address, err)
		}
		if !f.Power {
			it.Scale *= n
			continue
		}
		if n != math.Trunc(n) || math.Abs(n) > maxPower {
			return it, fmt.Errorf("%w: scaled by 10 to the power of %v", collect.ErrNoValue, n)
		}
		it.Scale *= math.Pow10(int(n))
	}
	return it, nil
}

// number is a register that scales.
func number(r reading, of schema.Item) (float64, error) {
	v, err := decode(r.block, r.data, of)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(v.Text(), 64)
}
