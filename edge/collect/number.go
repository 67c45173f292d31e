package collect

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gnomon/schema"
	"gnomon/shadow"
)

// Whole is an item's value from a whole number. It stays whole as long as it isn't
// scaled: a 64-bit counter has more digits than a float64. One that says there is
// no value (schema.Item.None) is ErrNoValue.
func Whole[T int64 | uint64](raw T, it schema.Item) (*shadow.Value, error) {
	if it.None != "" && it.None == fmt.Sprint(raw) {
		return nil, fmt.Errorf("%w: %d", ErrNoValue, raw)
	}
	if it.Scale == 1 {
		if raw < 0 {
			return shadow.Int(int64(raw)), nil
		}
		return shadow.Uint(uint64(raw)), nil
	}
	return Real(float64(raw), it)
}

// Real is an item's value from any number, scaled, and rounded to what it can be
// worth: a scaled value keeps 12 digits, so that 2301 × 0.1 is 230.1.
func Real(raw float64, it schema.Item) (*shadow.Value, error) {
	if it.None != "" {
		if none, err := strconv.ParseFloat(it.None, 64); err == nil && none == raw {
			return nil, fmt.Errorf("%w: %v", ErrNoValue, raw)
		}
	}
	f := raw
	if it.Scale != 1 {
		f, _ = strconv.ParseFloat(strconv.FormatFloat(f*it.Scale, 'g', 12, 64), 64) // what was just formatted parses
	}
	v := shadow.Float(f)
	if v == nil {
		return nil, fmt.Errorf("%w: %v × %v", ErrNotNumber, raw, it.Scale)
	}
	return v, nil
}

// maxDigits bounds a number that comes as text.
const maxDigits = 64

// Digits is an item's value from a number that came as text.
func Digits(text string, it schema.Item) (*shadow.Value, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxDigits {
		return nil, fmt.Errorf("%w: %q…", ErrNotNumber, text[:maxDigits])
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Whole(i, it)
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return Whole(u, it)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf("%w: %q", ErrNotNumber, text)
	}
	return Real(f, it)
}
