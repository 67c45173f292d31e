package reading

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gnomon/shadow"
)

// Bounds of a Number.
const (
	maxDigits   = 18
	maxExponent = 400
	mantissaEnd = 1_000_000_000_000_000_000 // 10^maxDigits
)

// ErrNumber is what is said of a text that is no number, or one out of bounds.
var ErrNumber = errors.New("not a number of a reading")

// NumberOf returns what a value of a meter is as a Number: a number, or a switch
// as 0 or 1. Anything else is not ok, nor is a number beyond the exponents.
func NumberOf(v *shadow.Value) (n Number, ok bool) {
	switch v.Kind() {
	case shadow.Number:
		n, err := ParseNumber(v.Text())
		return n, err == nil
	case shadow.Bool:
		if v.Text() == "true" {
			n.Mantissa = 1
		}
		return n, true
	default:
		return n, false
	}
}

// ParseNumber reads a number as JSON writes it. What has more than 18 digits is
// rounded to them, halves away from zero.
func ParseNumber(text string) (Number, error) {
	bad := func(why string) (Number, error) { return Number{}, fmt.Errorf("%w: %.40q: %s", ErrNumber, text, why) }
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		e, err := strconv.Atoi(strings.TrimPrefix(text[i+1:], "+"))
		if err != nil || e > 1<<20 || e < -1<<20 {
			return bad("exponent")
		}
		mantissa, exponent = text[:i], e
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if whole == "" || strings.Trim(digits, "0123456789") != "" || len(digits) > 1<<20 {
		return bad("must be digits")
	}
	exponent -= len(fraction)
	digits = strings.TrimLeft(digits, "0")
	up := false
	if cut := len(digits) - maxDigits; cut > 0 {
		up, exponent, digits = digits[maxDigits] >= '5', exponent+cut, digits[:maxDigits]
	}
	var m int64
	for i := range len(digits) {
		m = m*10 + int64(digits[i]-'0')
	}
	if up {
		m++
	}
	if negative {
		m = -m
	}
	n, ok := normal(m, exponent)
	if !ok {
		return bad("exponent")
	}
	return n, nil
}

// normal brings a number into the form that a Number has.
func normal(mantissa int64, exponent int) (Number, bool) {
	if mantissa == 0 {
		return Number{}, true
	}
	for mantissa%10 == 0 {
		mantissa, exponent = mantissa/10, exponent+1
	}
	n := Number{mantissa, int16(max(-maxExponent-1, min(exponent, maxExponent+1)))}
	return n, n.valid()
}

func (n Number) valid() bool {
	if n.Mantissa == 0 {
		return n.Exponent == 0
	}
	return n.Mantissa%10 != 0 && n.Mantissa > -mantissaEnd && n.Mantissa < mantissaEnd &&
		n.Exponent >= -maxExponent && n.Exponent <= maxExponent
}

// plain is how many digits a number is written with at most before it gets an exponent.
const plain = 21

// Append appends the number as JSON has it.
func (n Number) Append(dst []byte) []byte {
	if n.Mantissa < 0 {
		dst, n.Mantissa = append(dst, '-'), -n.Mantissa
	}
	digits := strconv.AppendInt(make([]byte, 0, maxDigits), n.Mantissa, 10)
	point := len(digits) + int(n.Exponent) // digits before it
	switch {
	case n.Exponent >= 0 && point <= plain:
		return append(append(dst, digits...), strings.Repeat("0", int(n.Exponent))...)
	case n.Exponent < 0 && point > 0:
		return append(append(append(dst, digits[:point]...), '.'), digits[point:]...)
	case n.Exponent < 0 && len(digits)-point <= plain:
		return append(append(append(dst, "0."...), strings.Repeat("0", -point)...), digits...)
	default:
		return strconv.AppendInt(append(append(dst, digits...), 'e'), int64(n.Exponent), 10)
	}
}

// String returns the number as JSON has it.
func (n Number) String() string { return string(n.Append(nil)) }

// MarshalJSON makes it a number.
func (n Number) MarshalJSON() ([]byte, error) { return n.Append(nil), nil }

// UnmarshalJSON reads a number.
func (n *Number) UnmarshalJSON(text []byte) error {
	got, err := ParseNumber(string(text))
	if err == nil {
		*n = got
	}
	return err
}

// Float64 returns the nearest float64.
func (n Number) Float64() float64 {
	f, _ := strconv.ParseFloat(n.String(), 64) // beyond its range it is infinite
	return f
}

// Value returns the number as a value of a shadow.
func (n Number) Value() *shadow.Value {
	v, err := shadow.Parse(n.Append(nil), shadow.DefaultLimits)
	if err != nil {
		return nil // it is never more than some 30 digits
	}
	return v
}
