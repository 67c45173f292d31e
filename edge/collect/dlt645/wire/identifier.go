package wire

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// DI is a data identifier, DI3 in the top byte. On the wire DI0 comes first.
type DI uint32

// ParseDI reads 8 hex digits, DI3 first.
func ParseDI(s string) (DI, error) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil || len(s) != 8 {
		return 0, fmt.Errorf("data identifier %q: must be 8 hex digits", s)
	}
	return DI(n), nil
}

// DIOf takes the identifier off the front of a frame's data.
func DIOf(data []byte) (di DI, rest []byte, err error) {
	if len(data) < 4 {
		return 0, nil, fmt.Errorf("%w: %d bytes, a data identifier has 4", ErrLength, len(data))
	}
	return DI(binary.LittleEndian.Uint32(data)), data[4:], nil
}

// Append appends the identifier as it is on the wire.
func (d DI) Append(dst []byte) []byte { return binary.LittleEndian.AppendUint32(dst, uint32(d)) }

func (d DI) String() string { return fmt.Sprintf("%08X", uint32(d)) }

// part returns DI3, DI2, DI1 or DI0.
func (d DI) part(n int) byte { return byte(d >> (8 * n)) }

// all stands for a whole block of identifiers.
const whole = 0xff

// Part is one value within the data of an identifier: a number, a time, an
// address, or bytes that mean nothing here.
type Part struct {
	Name   string
	Unit   string
	Format Format // of a number
	Layout Layout // of a time
	Bytes  int    // of anything else
}

// Size is how many bytes the part takes.
func (p Part) Size() int {
	switch {
	case p.Format.Digits > 0:
		return p.Format.Size()
	case p.Layout != "":
		return len(p.Layout)
	}
	return p.Bytes
}

// Item is what an identifier stands for.
type Item struct {
	Name   string
	Parts  []Part
	Labels []string // of a block: what each repetition of the parts is; they may be fewer in the data
}

// Size is how many bytes the parts take, once.
func (it Item) Size() int {
	n := 0
	for _, p := range it.Parts {
		n += p.Size()
	}
	return n
}

// Block returns the identifier of the block that an identifier's data is also
// in, and as the how-manieth. Of blocks themselves, and of identifiers that are
// in none, ok is false.
func (d DI) Block() (block DI, index int, ok bool) {
	member := d.part(1)
	first, last := byte(1), byte(3) // phases
	switch kind := d.part(2); d.part(3) {
	case 0x00, 0x01: // energies, demands: total and tariffs
		first, last = 0, 63
		if kind > 0x0a {
			return 0, 0, false
		}
	case 0x02:
		if kind < 0x01 || kind > 0x07 || d.part(0) != 0 {
			return 0, 0, false
		}
		if kind >= 0x03 && kind <= 0x06 {
			first = 0 // the total comes before the phases
		}
	default:
		return 0, 0, false
	}
	if member < first || member > last {
		return 0, 0, false
	}
	return d | whole<<8, int(member - first), true
}
