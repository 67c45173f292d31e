package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"gnomon/edge/collect"
	"gnomon/schema"
	"gnomon/shadow"
)

// decode takes an item's value out of a block's data, which may be less than what was
// asked for.
func decode(b block, data []byte, it schema.Item) (*shadow.Value, error) {
	at := it.Address - int(b.address)
	held := len(data) / 2
	if it.Function <= 2 {
		held = 8 * len(data)
	}
	if at < 0 || at+size(it) > held {
		return nil, fmt.Errorf("%w: it holds nothing of what is at %d", collect.ErrGarbled, it.Address)
	}
	if it.Function <= 2 {
		return shadow.Flag(data[at/8]>>(at%8)&1 == 1), nil
	}
	raw := slices.Clone(data[2*at : 2*(at+size(it))])
	reorder(raw, it.Order)
	switch it.Type {
	case "bool":
		return shadow.Flag(binary.BigEndian.Uint16(raw) != 0), nil
	case "float32":
		return collect.Real(shortest(math.Float32frombits(binary.BigEndian.Uint32(raw))), it)
	case "float64":
		return collect.Real(math.Float64frombits(binary.BigEndian.Uint64(raw)), it)
	}
	return integer(raw, it)
}

// integer takes the number that raw is.
func integer(raw []byte, it schema.Item) (*shadow.Value, error) {
	var u uint64
	for _, c := range raw {
		u = u<<8 | uint64(c)
	}
	if it.Type[0] == 'u' {
		return collect.Whole(u, it)
	}
	unused := 64 - 8*len(raw)
	return collect.Whole(int64(u<<unused)>>unused, it)
}

// shortest is the float64 that is written with the fewest digits that tell f
// from its neighbours: 230.1, not 230.10000610351562.
func shortest(f float32) float64 {
	out, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil {
		return float64(f) // not reached: digits, NaN and Inf all parse
	}
	return out
}

// reorder brings bytes into big-endian order. A and B are the bytes of the
// first register on the wire; wider values go on in the same manner.
func reorder(raw []byte, order string) {
	switch order {
	case "DCBA":
		slices.Reverse(raw)
	case "BADC":
		swapBytes(raw)
	case "CDAB":
		slices.Reverse(raw)
		swapBytes(raw)
	}
}

func swapBytes(raw []byte) {
	for i := 0; i+1 < len(raw); i += 2 {
		raw[i], raw[i+1] = raw[i+1], raw[i]
	}
}
