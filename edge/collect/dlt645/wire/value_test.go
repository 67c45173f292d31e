package wire

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func format(t testing.TB, s string, signed bool) Format {
	t.Helper()
	f, err := ParseFormat(s, signed)
	if err != nil {
		t.Fatal(err)
	}
	if f.String() != s {
		t.Errorf("format %s reads as %s", s, f)
	}
	return f
}

func TestFormat_Decode(t *testing.T) {
	for _, c := range []struct {
		format string
		signed bool
		bytes  string
		want   string // "" = err
		err    error
	}{
		{"XXXXXX.XX", false, "26000000", "0.26", nil},
		{"XXXXXX.XX", false, "99999999", "999999.99", nil},
		{"XXX.X", false, "0110", "100.1", nil},
		{"XX.XX", false, "0350", "50.03", nil},
		{"XXXX", false, "0001", "100", nil},
		{"X.XXX", true, "0010", "1.000", nil},
		{"X.XXX", true, "5089", "-0.950", nil},
		{"XX.XXXX", true, "563492", "-12.3456", nil},
		{"XX.XXXX", true, "000080", "0.0000", nil}, // a negative zero is zero
		{"XX.XXXX", false, "000080", "80.0000", nil},
		{"XXX.XXX", true, "010000", "0.001", nil},
		{"XXX.X", false, "FFFF", "", ErrMissing},
		{"XXX.X", true, "EEEE", "", ErrMissing},
		{"XXX.X", false, "FFEE", "", ErrBCD},
		{"XXX.X", false, "0A00", "", ErrBCD},
		{"XXX.X", true, "00B0", "-300.0", nil}, // the sign bit apart, B is 3
		{"XXX.X", false, "00B0", "", ErrBCD},
		{"XXX.X", false, "00", "", ErrLength},
		{"XXX.X", false, "000000", "", ErrLength},
	} {
		n, err := format(t, c.format, c.signed).Decode(unhex(t, c.bytes))
		if !errors.Is(err, c.err) || err == nil && n.String() != c.want {
			t.Errorf("%s of %s: %s, %v; want %s, %v", c.format, c.bytes, n, err, c.want, c.err)
		}
	}
	for _, bad := range []string{"", "X", ".X", "XX.", "X.X.XX", "XXA", "XXXXXXXXXXXXXXXXXX"} {
		if f, err := ParseFormat(bad, false); !errors.Is(err, ErrLength) {
			t.Errorf("format %q reads as %s, %v", bad, f, err)
		}
	}
}

func TestFormat_AppendRefuses(t *testing.T) {
	for _, c := range []struct {
		format string
		signed bool
		n      Number
	}{
		{"XXX.X", false, Number{10000, 1}}, {"XXX.X", false, Number{-1, 1}}, {"XXX.X", false, Number{100, 2}},
		{"XXX.X", true, Number{8000, 1}}, {"XXX.X", true, Number{-8000, 1}},
	} {
		if got, err := format(t, c.format, c.signed).Append([]byte{1}, c.n); !errors.Is(err, ErrRange) || len(got) != 1 {
			t.Errorf("%s of %s: % X, %v", c.format, c.n, got, err)
		}
	}
}

// Every number of a format survives the wire, in every format.
func TestFormat_Roundtrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Format{Digits: 2 * rapid.Uint8Range(1, 8).Draw(t, "bytes"), Signed: rapid.Bool().Draw(t, "signed")}
		f.Decimals = rapid.Uint8Range(0, f.Digits).Draw(t, "decimals")
		limit := int64(1)
		for range f.Digits {
			limit *= 10
		}
		n := Number{rapid.Int64Range(0, limit-1).Draw(t, "mantissa"), f.Decimals}
		if f.Signed {
			n.Mantissa = rapid.Int64Range(1-limit*8/10, limit*8/10-1).Draw(t, "signed mantissa")
		}
		b, err := f.Append(nil, n)
		if err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		if got, err := f.Decode(b); err != nil || got != n {
			t.Fatalf("%s is % X is %s, %v", n, b, got, err)
		}
	})
}

func TestNumber_String(t *testing.T) {
	for n, want := range map[Number]string{
		{0, 0}: "0", {7, 0}: "7", {5, 2}: "0.05", {-5, 2}: "-0.05", {100, 2}: "1.00", {0, 4}: "0.0000", {-123456, 4}: "-12.3456", {9999999999999999, 16}: "0.9999999999999999",
	} {
		if n.String() != want {
			t.Errorf("%d/10^%d is %s, want %s", n.Mantissa, n.Decimals, n, want)
		}
	}
	if f := (Number{1001, 1}).Float(); f != 100.1 {
		t.Errorf("100.1 is %v", f)
	}
}

func TestLayout(t *testing.T) {
	at := Stamp{Year: 2026, Month: 6, Day: 29, Hour: 10, Minute: 45, Second: 7}
	for _, c := range []struct {
		layout Layout
		bytes  string
		text   string
		err    error
	}{
		{Seconds, "074510290626", "2026-06-29 10:45:07", nil},
		{Minutes, "4510290626", "2026-06-29 10:45", nil},
		{Clock, "074510", "10:45:07", nil},
		{Date, "01290626", "2026-06-29, weekday 1", nil},
		{Minutes, "FFFFFFFFFF", "", ErrMissing},
		{Minutes, "EEEEEEEEEE", "", ErrMissing},
		{Minutes, "0000000000", "", ErrRange}, // no day, no month
		{Minutes, "6010290626", "", ErrRange},
		{Minutes, "4524290626", "", ErrRange},
		{Minutes, "4510290A26", "", ErrBCD},
		{Minutes, "45102906", "", ErrLength},
		{Date, "07290626", "", ErrRange},
	} {
		s, err := c.layout.Decode(unhex(t, c.bytes))
		if !errors.Is(err, c.err) {
			t.Errorf("%s of %s: %v, want %v", c.layout, c.bytes, err, c.err)
		}
		if err != nil {
			continue
		}
		if got := c.layout.Text(s); got != c.text {
			t.Errorf("%s of %s: %s", c.layout, c.bytes, got)
		}
		if b, err := c.layout.Append(nil, s); err != nil || !bytes.Equal(b, unhex(t, c.bytes)) {
			t.Errorf("%s is encoded as % X, %v", c.text, b, err)
		}
	}
	at.Year = 1999
	if b, err := Minutes.Append([]byte{1}, at); !errors.Is(err, ErrRange) || len(b) != 1 {
		t.Errorf("1999: % X, %v", b, err)
	}
}

func TestFreezeTime(t *testing.T) {
	for bytes, want := range map[string]string{
		"99999999": "at once", "30999999": "every hour at minute 30", "00239999": "every day at 23:00",
		"00230199": "every month on day 01 at 23:00", "00230112": "on 12-01 at 23:00",
	} {
		f := FreezeTime(unhex(t, bytes))
		if err := f.Check(); err != nil || f.String() != want {
			t.Errorf("%s: %s, %v", bytes, f, err)
		}
	}
	for _, bytes := range []string{"00990112", "99230112", "60239999", "00249999", "00230099", "00230113", "0A239999"} {
		if err := FreezeTime(unhex(t, bytes)).Check(); !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v", bytes, err)
		}
	}
}

func TestAddress(t *testing.T) {
	meter, _ := ParseAddress("000000000161")
	for text, want := range map[string]struct {
		padding int
		matches bool
		err     error
	}{
		"000000000161":  {0, true, nil},
		"000000000162":  {0, false, nil},
		"AAAAAAAAAAAA":  {6, true, nil},
		"AAAAAAAA0161":  {4, true, nil},
		"aaaaaaaaaa61":  {5, true, nil},
		"AAAAAAAAAA62":  {5, false, nil},
		"999999999999":  {0, false, nil},
		"0000AA000161":  {0, false, ErrAddress},
		"0000000001AA":  {0, false, ErrAddress},
		"0A0000000161":  {0, false, ErrAddress},
		"00000000161":   {0, false, ErrAddress},
		"0000000001611": {0, false, ErrAddress},
		"00000000016G":  {0, false, ErrAddress},
		"":              {0, false, ErrAddress},
	} {
		a, err := ParseAddress(text)
		if !errors.Is(err, want.err) {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil && (a.Padding() != want.padding || a.Matches(meter) != want.matches) {
			t.Errorf("%s: padding %d, matches %v", text, a.Padding(), a.Matches(meter))
		}
	}
	if Wildcard.Matches(Broadcast) || Wildcard.Matches(Wildcard) {
		t.Error("an answer comes from nobody")
	}
}

func TestMeterError(t *testing.T) {
	for e, want := range map[MeterError]string{
		NoSuchData: "refused with error word 02H: no such data",
		5:          "refused with error word 05H: other error, wrong password or not authorized",
		0:          "refused with error word 00H: no reason given",
		0x78:       "refused with error word 78H: the speed can't be changed, too many zones of the year, too many periods of the day, too many tariffs",
		0x80:       "refused with error word 80H: reserved bit 7",
	} {
		if e.Error() != want {
			t.Errorf("%02X: %s", byte(e), e)
		}
	}
}
