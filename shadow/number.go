package shadow

import (
	"strconv"
	"strings"
)

// maxExponent bounds the exponent of a number as written, so that comparing
// numbers by value never costs more than their text.
const maxExponent = 1_000_000

// decimal is a number in normal form: value = ±0.digits × 10^exp, with neither
// leading nor trailing zeros in digits. Zero has no digits, no sign, exp 0.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

// normalize brings the text of a Number, already checked for its syntax, into
// normal form.
func normalize(text string) decimal {
	var d decimal
	if strings.HasPrefix(text, "-") {
		d.negative, text = true, text[1:]
	}
	mantissa := text
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		d.exp, _ = strconv.Atoi(strings.TrimPrefix(text[i+1:], "+")) // bounded by maxExponent when parsed
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.exp += len(whole)
	d.digits = whole
	if fraction != "" {
		d.digits = whole + fraction
	}
	trimmed := strings.TrimLeft(d.digits, "0")
	d.exp -= len(d.digits) - len(trimmed)
	d.digits = strings.TrimRight(trimmed, "0")
	if d.digits == "" {
		return decimal{}
	}
	return d
}

// sameNumber compares two Numbers by value and without rounding.
func sameNumber(a, b string) bool { return a == b || normalize(a) == normalize(b) }
