package reading

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// version is the first byte of a batch.
const version = 1

// A batch is encoded by columns, since values of one kind are alike:
//
//	version, ID, policy, version of the policy, items, number of rows
//	times:     the first, the greatest common step, and how many steps each is apart
//	meters:    see meters.go
//	places:    which pairs of time and meter have a row; nothing where all have
//	arrived:   a series (see series.go)
//	sources
//	reasons:   each once
//	patterns:  the states of a row's values, each pattern once
//	pattern of each row
//	columns:   of each item the good values, a series each with a common exponent
//
// Numbers are variable-length integers as in encoding/binary, text is its length
// and its bytes, and what there are many of are Rice codes (see bits.go). Plain
// compression on top makes it larger.

// Append appends the encoded batch. The error is ErrInvalid or ErrTooLarge, and
// then dst is as it was.
func (b *Batch) Append(dst []byte) ([]byte, error) {
	if err := b.Check(); err != nil {
		return dst, err
	}
	e := &encoder{Batch: b, out: slices.Grow(dst, 64+8*len(b.Rows))}
	e.header()
	e.places()
	e.arrivals()
	e.sources()
	e.states()
	for i := range b.Items {
		e.column(i)
	}
	if n := len(e.out) - len(dst); n > MaxBytes {
		return dst, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, MaxBytes)
	}
	return e.out, nil
}

type encoder struct {
	*Batch
	out    []byte
	of     []int // place of each row's meter among all
	meters int
}

func (e *encoder) uvarint(u uint64) { e.out = binary.AppendUvarint(e.out, u) }
func (e *encoder) varint(v int64)   { e.out = binary.AppendVarint(e.out, v) }
func (e *encoder) text(s string)    { e.out = appendText(e.out, s) }

func (e *encoder) header() {
	e.out = append(e.out, version)
	e.uvarint(e.ID)
	e.text(e.Policy)
	e.uvarint(e.Version)
	e.uvarint(uint64(len(e.Items)))
	for _, item := range e.Items {
		e.text(item)
	}
	e.uvarint(uint64(len(e.Rows)))
}

// places appends times, meters, and which of their pairs are rows.
func (e *encoder) places() {
	var times []int64
	at := make(map[string]int, len(e.Rows))
	meters := make([]string, 0, len(e.Rows))
	for i := range e.Rows {
		r := &e.Rows[i]
		if ms := r.At.UnixMilli(); len(times) == 0 || ms != times[len(times)-1] {
			times = append(times, ms)
		}
		if _, known := at[r.Meter]; !known {
			at[r.Meter] = 0
			meters = append(meters, r.Meter)
		}
	}
	slices.Sort(meters)
	for i, m := range meters {
		at[m] = i
	}
	e.meters = len(meters)
	e.times(times)
	e.out = appendMeters(e.out, meters)
	e.of = make([]int, len(e.Rows))
	pairs := make([]uint64, len(e.Rows))
	time := 0
	for i := range e.Rows {
		if e.Rows[i].At.UnixMilli() != times[time] {
			time++
		}
		e.of[i] = at[e.Rows[i].Meter]
		pairs[i] = uint64(time*len(meters) + e.of[i])
	}
	if len(pairs) < len(times)*len(meters) {
		e.uvarint(pairs[0])
		e.out = appendSteps(e.out, pairs)
	}
}

func (e *encoder) times(times []int64) {
	e.uvarint(uint64(len(times)))
	e.varint(times[0])
	if len(times) == 1 {
		return
	}
	step := int64(0)
	for i := 1; i < len(times); i++ {
		for a, b := times[i]-times[i-1], step; ; a, b = b, a%b {
			if step = a; b == 0 {
				break
			}
		}
	}
	e.uvarint(uint64(step))
	numbers := make([]uint64, len(times))
	for i, t := range times {
		numbers[i] = uint64((t - times[0]) / step)
	}
	e.out = appendSteps(e.out, numbers)
}

// arrivals appends when rows arrived, the first by its own time.
func (e *encoder) arrivals() {
	arrived := make([]int64, len(e.Rows))
	for i := range e.Rows {
		arrived[i] = e.Rows[i].Arrived.UnixMilli() - e.Rows[0].At.UnixMilli()
	}
	e.out = appendSeries(e.out, arrived, e.of, e.meters)
}

// sources appends the sources there are, and then which of them each row has.
func (e *encoder) sources() {
	var known []byte
	each := make([]int, len(e.Rows))
	for i := range e.Rows {
		s := byte(e.Rows[i].Source)
		at := slices.Index(known, s)
		if at < 0 {
			at = len(known)
			known = append(known, s)
		}
		each[i] = at
	}
	e.out = append(append(e.out, byte(len(known))), known...)
	e.out = appendSymbols(e.out, each, len(known))
}

// Symbols of states. From symbolReason on they are reasons.
const (
	symbolAbsent = iota
	symbolGood
	symbolReason
)

// states appends of each row which values are there, and why the others aren't.
func (e *encoder) states() {
	reasons, patterns := make(map[string]int), make(map[string]int)
	var words []string
	var all []int
	each := make([]int, len(e.Rows))
	key := make([]byte, 0, 4*len(e.Items))
	for i := range e.Rows {
		key = key[:0]
		symbols := len(all)
		for j := range e.Rows[i].Values {
			v := &e.Rows[i].Values[j]
			symbol := int(v.State)
			if v.State == Missing {
				at, known := reasons[v.Reason]
				if !known {
					at = len(words)
					reasons[v.Reason], words = at, append(words, v.Reason)
				}
				symbol = symbolReason + at
			}
			key = binary.AppendUvarint(key, uint64(symbol))
			all = append(all, symbol)
		}
		at, known := patterns[string(key)]
		if known {
			all = all[:symbols]
		} else {
			at = len(patterns)
			patterns[string(key)] = at
		}
		each[i] = at
	}
	e.uvarint(uint64(len(words)))
	for _, w := range words {
		e.text(w)
	}
	e.uvarint(uint64(len(patterns)))
	e.out = appendSymbols(e.out, all, symbolReason+len(words))
	e.out = appendSymbols(e.out, each, len(patterns))
}

// wide marks a column whose numbers have no common exponent, or none with which
// they would be whole numbers of 18 digits: their exponents are a series of their own.
const wide = maxExponent + 1

// column appends the good values of one item.
func (e *encoder) column(item int) {
	var mantissas, exponents []int64
	var of []int
	least := int64(wide)
	for i := range e.Rows {
		v := &e.Rows[i].Values[item]
		if v.State != Good {
			continue
		}
		mantissas, exponents, of = append(mantissas, v.Number.Mantissa), append(exponents, int64(v.Number.Exponent)), append(of, e.of[i])
		if v.Number.Mantissa != 0 {
			least = min(least, int64(v.Number.Exponent))
		}
	}
	if len(of) == 0 {
		return
	}
	if least == wide {
		least = 0 // zeros alone
	}
	if scaled, ok := scale(mantissas, exponents, least); ok {
		e.varint(least)
		e.out = appendSeries(e.out, scaled, of, e.meters)
		return
	}
	e.varint(wide)
	e.out = appendSeries(e.out, exponents, of, e.meters)
	e.out = appendSeries(e.out, mantissas, of, e.meters)
}

// scale returns mantissas with one exponent.
func scale(mantissas, exponents []int64, to int64) ([]int64, bool) {
	out := make([]int64, len(mantissas))
	for i, m := range mantissas {
		for e := exponents[i]; m != 0 && e > to; e-- {
			if m *= 10; m >= mantissaEnd || m <= -mantissaEnd {
				return nil, false
			}
		}
		out[i] = m
	}
	return out, true
}

// timeOf is a time of so many milliseconds.
func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
