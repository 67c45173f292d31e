package wire

import "fmt"

// Address is an address of 12 digits as it is on the wire, the last two digits
// first: of a meter, or of the main node (the CCO).
type Address [6]byte

const addressSize = len(Address{})

// Broadcast is everybody.
var Broadcast = Address{0x99, 0x99, 0x99, 0x99, 0x99, 0x99}

// ParseAddress reads 12 digits.
func ParseAddress(s string) (Address, error) {
	var a Address
	if len(s) != 2*addressSize {
		return a, fmt.Errorf("%w: %q has %d digits, an address has 12", ErrAddress, s, len(s))
	}
	for i := range a {
		high, low := s[2*i]-'0', s[2*i+1]-'0'
		if high > 9 || low > 9 {
			return Address{}, fmt.Errorf("%w: %q: must be 12 digits", ErrAddress, s)
		}
		a[addressSize-1-i] = high<<4 | low
	}
	return a, nil
}

// Check makes sure that an address is made of digits.
func (a Address) Check() error {
	if !a.decimal() {
		return fmt.Errorf("%w: %s: must be 12 digits", ErrAddress, a)
	}
	return nil
}

func (a Address) decimal() bool {
	for _, b := range a {
		if b>>4 > 9 || b&15 > 9 {
			return false
		}
	}
	return true
}

// Reversed has the bytes the other way round: some modules send addresses so.
func (a Address) Reversed() Address {
	return Address{a[5], a[4], a[3], a[2], a[1], a[0]}
}

// AppendText appends the address as people write it.
func (a Address) AppendText(dst []byte) ([]byte, error) {
	const digits = "0123456789ABCDEF"
	for i := range a {
		b := a[addressSize-1-i]
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst, nil
}

func (a Address) String() string {
	var text [2 * addressSize]byte
	out, _ := a.AppendText(text[:0]) // never fails
	return string(out)
}

// Addresses are addresses one after the other, in the bytes they were found in.
type Addresses []byte

// Len is how many there are.
func (l Addresses) Len() int { return len(l) / addressSize }

// At returns the ith.
func (l Addresses) At(i int) Address { return Address(l[i*addressSize:]) }

// AppendAddress appends an address to a list. Only digits are taken.
func (l Addresses) AppendAddress(a Address) (Addresses, error) {
	if err := a.Check(); err != nil {
		return l, err
	}
	return append(l, a[:]...), nil
}
