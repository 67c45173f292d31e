package day

import (
	"strconv"
	"strings"

	"gnomon/schema/reading"
	"gnomon/shadow"
)

// numberOf is the decimal that a value is.
func numberOf(v *shadow.Value) reading.Number {
	whole, fraction, _ := strings.Cut(v.Text(), ".")
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil {
		return reading.Number{Mantissa: -1, Exponent: 99} // no meter has it
	}
	return reading.Number{Mantissa: n, Exponent: int16(-len(fraction))}
}
