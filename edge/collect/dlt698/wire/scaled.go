package wire

import (
	"math"
	"strconv"
	"strings"
)

// Int returns a whole number; ok is false for other kinds, and for unsigned ones
// beyond int64.
func (n *Node) Int() (v int64, ok bool) {
	switch n.Kind {
	case Integer, Long, DoubleLong, Long64:
		return int64(n.Num), true
	case Unsigned, LongUnsigned, DoubleLongUnsigned, Enum, Long64Unsigned:
		return int64(n.Num), n.Num <= math.MaxInt64
	}
	return 0, false
}

// decimal writes a whole number times a power of ten: -2 makes 229832 2298.32.
func decimal(n *Node, exponent int) string {
	digits := strconv.FormatUint(n.Num, 10)
	sign := ""
	if n.Kind.signed() && int64(n.Num) < 0 {
		sign, digits = "-", strconv.FormatUint(-n.Num, 10)
	}
	if exponent >= 0 {
		return sign + digits + strings.Repeat("0", exponent)
	}
	if missing := 1 - exponent - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) + exponent
	return sign + digits[:point] + "." + digits[point:]
}
