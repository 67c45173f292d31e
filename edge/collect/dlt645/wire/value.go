package wire

import (
	"fmt"
	"strconv"

	"gnomon/schema"
)

// Format is how a number is written in BCD, two digits to a byte, the last two
// digits first.
type Format struct {
	Digits   uint8 // all, an even number up to schema.MaxFormatDigits
	Decimals uint8 // those after the point
	Signed   bool  // the top bit is the sign
}

// ParseFormat reads a format such as XXX.X.
func ParseFormat(s string, signed bool) (Format, error) {
	digits, decimals, ok := schema.FormatDigits(s)
	if !ok || digits > schema.MaxFormatDigits {
		return Format{}, fmt.Errorf("%w: format %q", ErrLength, s)
	}
	return Format{uint8(digits), uint8(decimals), signed}, nil
}

// Size is how many bytes a number takes.
func (f Format) Size() int { return int(f.Digits) / 2 }

func (f Format) String() string {
	text := []byte("XXXXXXXXXXXXXXXX")[:f.Digits-f.Decimals]
	if f.Decimals > 0 {
		text = append(append(text, '.'), "XXXXXXXXXXXXXXXX"[:f.Decimals]...)
	}
	return string(text)
}

// Number is a decimal number: Mantissa / 10^Decimals.
type Number struct {
	Mantissa int64
	Decimals uint8
}

// Decode reads a number from exactly its bytes. What the meter doesn't have is
// ErrMissing; that can't be told from the largest number of no format, since FF
// and EE are no digits.
func (f Format) Decode(b []byte) (Number, error) {
	if len(b) != f.Size() {
		return Number{}, fmt.Errorf("%w: %d bytes for %s", ErrLength, len(b), f)
	}
	if all(b, 0xff) || all(b, 0xee) {
		return Number{}, ErrMissing
	}
	var m int64
	negative := false
	for i := len(b) - 1; i >= 0; i-- {
		c := b[i]
		if f.Signed && i == len(b)-1 {
			negative, c = c&0x80 != 0, c&0x7f
		}
		if c>>4 > 9 || c&15 > 9 {
			return Number{}, fmt.Errorf("%w: byte %d of the value is %02XH", ErrBCD, i, b[i])
		}
		m = m*100 + int64(c>>4)*10 + int64(c&15)
	}
	if negative {
		m = -m
	}
	return Number{m, f.Decimals}, nil
}

func all(b []byte, c byte) bool {
	for _, x := range b {
		if x != c {
			return false
		}
	}
	return len(b) > 0
}

// Append appends a number of the format's decimals.
func (f Format) Append(dst []byte, n Number) ([]byte, error) {
	rest, sign := n.Mantissa, byte(0)
	if rest < 0 && f.Signed {
		rest, sign = -rest, 0x80
	}
	if n.Decimals != f.Decimals || rest < 0 {
		return dst, fmt.Errorf("%w: %s is no %s", ErrRange, n, f)
	}
	from := len(dst)
	for range f.Size() {
		two := rest % 100
		rest /= 100
		dst = append(dst, byte(two/10<<4|two%10))
	}
	top := &dst[len(dst)-1]
	if rest > 0 || f.Signed && *top&0x80 != 0 {
		return dst[:from], fmt.Errorf("%w: %s is no %s", ErrRange, n, f)
	}
	*top |= sign
	return dst, nil
}

// AppendText appends the number with all its decimals, as in 100.10.
func (n Number) AppendText(dst []byte) ([]byte, error) {
	m := n.Mantissa
	if m < 0 {
		dst, m = append(dst, '-'), -m
	}
	from := len(dst)
	dst = strconv.AppendInt(dst, m, 10)
	if n.Decimals == 0 {
		return dst, nil
	}
	for len(dst)-from <= int(n.Decimals) { // 0.05 has zeros that an integer lacks
		dst = append(dst, 0)
		copy(dst[from+1:], dst[from:])
		dst[from] = '0'
	}
	point := len(dst) - int(n.Decimals)
	dst = append(dst, 0)
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst, nil
}

func (n Number) String() string {
	var text [32]byte
	out, _ := n.AppendText(text[:0]) // never fails
	return string(out)
}

// Float is the nearest float64.
func (n Number) Float() float64 {
	var text [32]byte
	out, _ := n.AppendText(text[:0])
	f, err := strconv.ParseFloat(string(out), 64)
	if err != nil {
		return 0 // not reached: digits and a point parse
	}
	return f
}
