package collect

import (
	"errors"
	"testing"

	"gnomon/schema"
)

func TestDigits(t *testing.T) {
	for _, c := range []struct {
		text  string
		scale float64
		none  string
		want  string
		err   error
	}{
		{"230.1", 1, "", "230.1", nil},
		{" 42\n", 1, "", "42", nil},
		{"-7", 1, "", "-7", nil},
		{"18446744073709551615", 1, "", "18446744073709551615", nil},
		{"9007199254740993", 1, "", "9007199254740993", nil},
		{"2301", 0.1, "", "230.1", nil},
		{"1e3", 1, "", "1000", nil},
		{"-32768", 1, "-32768", "", ErrNoValue},
		{"-32768.0", 0.1, "-32768", "", ErrNoValue},
		{"-1", 0.1, "-1", "", ErrNoValue},
		{"NaN", 1, "", "", ErrNotNumber},
		{"Inf", 1, "", "", ErrNotNumber},
		{"1e999", 1, "", "", ErrNotNumber},
		{"1e300", 1e300, "", "", ErrNotNumber},
		{"", 1, "", "", ErrNotNumber},
		{"on", 1, "", "", ErrNotNumber},
		{"0x10", 1, "", "", ErrNotNumber},
	} {
		v, err := Digits(c.text, schema.Item{Scale: c.scale, None: c.none})
		if v.Text() != c.want || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%q × %v: %q, %v; want %q, %v", c.text, c.scale, v.Text(), err, c.want, c.err)
		}
	}
}
