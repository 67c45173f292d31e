package wire

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// AddressType says whom a server address means.
type AddressType byte

// The types of server address.
const (
	Single    AddressType = 0
	Wildcard  AddressType = 1 // digits A stand for any
	Group     AddressType = 2
	Broadcast AddressType = 3
)

func (t AddressType) String() string {
	return [...]string{"single", "wildcard", "group", "broadcast"}[t&3]
}

// MaxAddress is the most bytes a server address has.
const MaxAddress = 16

// Address is a server's. It can be compared with ==.
type Address struct {
	Type    AddressType
	Logical byte // 0 to 3; of a device with several servers
	Len     byte // bytes used, 1 to MaxAddress
	Bytes   [MaxAddress]byte
}

// ParseAddress reads an address as it is written on a meter: two digits a byte,
// most significant first. Digits A make it a wildcard.
func ParseAddress(s string) (a Address, err error) {
	n := hex.DecodedLen(len(s))
	if len(s)%2 != 0 || n < 1 || n > MaxAddress {
		return a, fmt.Errorf("%w: %q: must be 2 to 32 digits, an even number of them", ErrAddress, s)
	}
	if strings.Trim(s, "0123456789Aa") != "" {
		return a, fmt.Errorf("%w: %q: must be of decimal digits, or of A for any", ErrAddress, s)
	}
	if _, err := hex.Decode(a.Bytes[:], []byte(s)); err != nil {
		return Address{}, fmt.Errorf("%w: %q", ErrAddress, s)
	}
	a.Len = byte(n)
	if strings.ContainsAny(s, "Aa") {
		a.Type = Wildcard
	}
	return a, nil
}

// Digits are the address as it is written on a meter.
func (a Address) Digits() string { return strings.ToUpper(hex.EncodeToString(a.Bytes[:a.Len])) }

func (a Address) String() string {
	s := a.Digits()
	if a.Type != Single {
		s = a.Type.String() + " " + s
	}
	if a.Logical != 0 {
		s = fmt.Sprintf("%s logical %d", s, a.Logical)
	}
	return s
}

// Covers tells whether a frame for a may be answered by b.
func (a Address) Covers(b Address) bool {
	if b.Type != Single || a.Logical != b.Logical {
		return false
	}
	switch a.Type {
	case Single:
		return a == b
	case Wildcard:
		return a.matches(b)
	}
	return false // groups and broadcasts have no answer
}

// matches compares digit by digit, where A stands for any.
func (a Address) matches(b Address) bool {
	if a.Len != b.Len {
		return false
	}
	for i := range a.Len {
		for shift := 0; shift < 8; shift += 4 {
			want, got := a.Bytes[i]>>shift&15, b.Bytes[i]>>shift&15
			if want != 0xa && want != got {
				return false
			}
		}
	}
	return true
}
