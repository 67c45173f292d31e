package dlt698

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/shadow"
)

// datum is a value that a meter has sent, free of the bytes it came in.
type datum struct {
	kind     wire.Kind
	num      uint64 // as in wire.Node; of times, their digits
	exponent int    // of ten, from a Scaler_Unit
	power10  int    // what a Scaler_Unit says itself
	count    int    // of elements
	whole    bool   // every part of a time is given
}

// datumOf takes node i out of a message.
func datumOf(m *wire.Message, i int) datum {
	n := &m.Nodes[i]
	d := datum{kind: n.Kind, num: n.Num}
	switch n.Kind {
	case wire.DateTimeS, wire.DateTime:
		d.num, d.whole = timeDigits(n)
	case wire.ScalerUnit:
		d.power10 = int(int8(m.Nodes[i+1].Num))
	case wire.Array, wire.Structure:
		d.count = int(n.Num)
		if d.count == 2 && n.Kind == wire.Structure && m.Nodes[i+1].Kind == wire.Integer && m.Nodes[i+2].Kind == wire.Enum {
			d.kind, d.power10 = wire.ScalerUnit, int(int8(m.Nodes[i+1].Num)) // as some write it
		}
	}
	return d
}

// timeDigits makes a number of a time that reads as it does: 20260629104500.
func timeDigits(n *wire.Node) (num uint64, whole bool) {
	p := n.Bytes
	clock := p[4:]
	if n.Kind == wire.DateTime {
		clock = p[5:] // behind the day of the week
	}
	num = uint64(binary.BigEndian.Uint16(p))
	whole = num != 0xffff
	for _, b := range [...]byte{p[2], p[3], clock[0], clock[1], clock[2]} {
		num = num*100 + uint64(b)
		whole = whole && b != 0xff
	}
	return num, whole
}

// power returns what a Scaler_Unit says.
func (d datum) power() (int, error) {
	if d.kind != wire.ScalerUnit {
		return 0, fmt.Errorf("%w: %s where a Scaler_Unit is due", collect.ErrNotNumber, d.kind)
	}
	return d.power10, nil
}

// scaled makes a reading of the datum: a Number or a Bool.
func (d datum) scaled(scale float64) (*shadow.Value, error) {
	switch d.kind {
	case wire.Null:
		return nil, collect.ErrNoValue
	case wire.Bool:
		return shadow.Flag(d.num != 0), nil
	case wire.Integer, wire.Long, wire.DoubleLong, wire.Long64:
		if scale == 1 && d.exponent == 0 {
			return shadow.Int(int64(d.num)), nil
		}
		return d.number(float64(int64(d.num)), scale)
	case wire.Unsigned, wire.LongUnsigned, wire.DoubleLongUnsigned, wire.Long64Unsigned, wire.Enum:
		if scale == 1 && d.exponent == 0 {
			return shadow.Uint(d.num), nil
		}
		return d.number(float64(d.num), scale)
	case wire.Float32:
		f, err := strconv.ParseFloat(strconv.FormatFloat(float64(math.Float32frombits(uint32(d.num))), 'g', -1, 32), 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", collect.ErrNotNumber, err)
		}
		return d.number(f, scale)
	case wire.Float64:
		return d.number(math.Float64frombits(d.num), scale)
	case wire.DateTimeS, wire.DateTime:
		if d.whole {
			return shadow.Uint(d.num), nil
		}
		return nil, fmt.Errorf("%w: parts of the time are left open", collect.ErrNoValue)
	case wire.Array, wire.Structure:
		return nil, fmt.Errorf("%w: %s of %d; an attribute ending in 01 is its first element", collect.ErrNotNumber, d.kind, d.count)
	}
	return nil, fmt.Errorf("%w: %s", collect.ErrNotNumber, d.kind)
}

// number multiplies, and rounds to the digits that a float64 has for sure, so
// that 229832 × 0.01 is 2298.32.
func (d datum) number(f, scale float64) (*shadow.Value, error) {
	if scale != 1 || d.exponent != 0 {
		f, _ = strconv.ParseFloat(strconv.FormatFloat(f*scale*math.Pow10(d.exponent), 'g', 15, 64), 64) // what was just formatted parses
	}
	v := shadow.Float(f)
	if v == nil {
		return nil, fmt.Errorf("%w: %v", collect.ErrNotNumber, f)
	}
	return v, nil
}
