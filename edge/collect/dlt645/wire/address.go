package wire

import (
	"bytes"
	"fmt"
)

// Address is a meter's address of 12 digits as it is on the wire, the last two
// digits first.
type Address [6]byte

// The addresses that are nobody's own.
var (
	Wildcard  = Address{0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa} // whoever hears it; for a single meter
	Broadcast = Address{0x99, 0x99, 0x99, 0x99, 0x99, 0x99} // everybody, and nobody answers
)

// ParseAddress reads 12 digits. Leading pairs may be AA: such an address is
// abbreviated, and means every meter whose address ends in the digits.
func ParseAddress(s string) (Address, error) {
	var a Address
	if len(s) != 2*len(a) {
		return a, fmt.Errorf("%w: %q has %d digits, an address has 12", ErrAddress, s, len(s))
	}
	for i := range a {
		high, low := nibble(s[2*i]), nibble(s[2*i+1])
		if high > 0xa || low > 0xa {
			return Address{}, fmt.Errorf("%w: %q: must be 12 digits, of which leading pairs may be AA", ErrAddress, s)
		}
		a[len(a)-1-i] = high<<4 | low
	}
	return a, a.Check()
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c == 'A' || c == 'a':
		return 0xa
	}
	return 0xff
}

// Check makes sure that an address is made of digits, and of AA in place of
// leading pairs of them.
func (a Address) Check() error {
	padding := false
	for _, b := range a {
		switch {
		case b == 0xaa:
			padding = true
		case padding || b>>4 > 9 || b&15 > 9:
			return fmt.Errorf("%w: %s: must be digits, of which leading pairs may be AA", ErrAddress, a)
		}
	}
	return nil
}

// Padding tells how many leading pairs are AA: 0 = a full address, 6 = Wildcard.
func (a Address) Padding() int {
	n := 0
	for ; n < len(a) && a[len(a)-1-n] == 0xaa; n++ {
	}
	return n
}

// Matches tells whether a request to a may be answered by the meter m.
func (a Address) Matches(m Address) bool {
	n := len(a) - a.Padding()
	return m.Padding() == 0 && m != Broadcast && bytes.Equal(a[:n], m[:n])
}

// AppendText appends the address as people write it.
func (a Address) AppendText(dst []byte) ([]byte, error) {
	const digits = "0123456789ABCDEF"
	for i := range a {
		b := a[len(a)-1-i]
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst, nil
}

func (a Address) String() string {
	var text [12]byte
	out, _ := a.AppendText(text[:0]) // never fails
	return string(out)
}
