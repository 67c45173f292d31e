package reading_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gnomon/schema/reading"
	"gnomon/shadow"
)

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]reading.Number{
		"0": {}, "-0": {}, "0.000": {}, "0e99": {}, "220.0": {22, 1}, "220.1": {2201, -1}, "-0.0012": {-12, -4},
		"1e3": {1, 3}, "1.50E-3": {15, -4}, "1E+2": {1, 2}, "000012": {12, 0},
		"123456789012345678": {123456789012345678, 0}, "1234567890123456785": {123456789012345679, 1},
		"0.1234567890123456784": {123456789012345678, -18}, "999999999999999999.9": {1, 18}, "-9999999999999999995": {-1, 19},
		"1e400": {1, 400}, "1e-400": {1, -400},
	} {
		if got, err := reading.ParseNumber(text); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", ".5", "a", "1e", "1e401", "1e-401", "1e99999999999", "--1", "1.2.3", "NaN", "0x1", "1_0", " 1"} {
		if got, err := reading.ParseNumber(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestNumber_Text(t *testing.T) {
	for want, n := range map[string]reading.Number{
		"0": {}, "220": {22, 1}, "220.1": {2201, -1}, "-0.0012": {-12, -4}, "123456.78": {12345678, -2},
		"100000000000000000000": {1, 20}, "1e21": {1, 21}, "12e-40": {12, -40}, "-5e300": {-5, 300},
	} {
		if n.String() != want {
			t.Errorf("%+v is written %s, want %s", n, n, want)
		}
	}
}

// TestNumber_RoundTrip: text, JSON and shadow values of a number are that number,
// to the digit.
func TestNumber_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNumber(t).Number
		if back, err := reading.ParseNumber(n.String()); err != nil || back != n {
			t.Fatalf("%+v is written %s, which is %+v, %v", n, n, back, err)
		}
		if back, ok := reading.NumberOf(n.Value()); !ok || back != n {
			t.Fatalf("%+v as a value is %+v", n, back)
		}
		text, err := json.Marshal(n)
		var back reading.Number
		if err != nil || json.Unmarshal(text, &back) != nil || back != n {
			t.Fatalf("%+v as JSON is %s, which is %+v, %v", n, text, back, err)
		}
		exact, ok := new(big.Rat).SetString(n.String())
		if want, _ := exact.Float64(); !ok || n.Float64() != want {
			t.Fatalf("%+v is %v", n, n.Float64())
		}
	})
}

func TestNumberOf(t *testing.T) {
	for _, c := range []struct {
		v    *shadow.Value
		want reading.Number
		ok   bool
	}{
		{shadow.Flag(true), reading.Number{Mantissa: 1}, true}, {shadow.Flag(false), reading.Number{}, true},
		{shadow.Float(-1.5), reading.Number{Mantissa: -15, Exponent: -1}, true}, {shadow.Int(2200), reading.Number{Mantissa: 22, Exponent: 2}, true},
		{shadow.Text("1"), reading.Number{}, false}, {nil, reading.Number{}, false}, {shadow.NewObject(), reading.Number{}, false},
	} {
		if got, ok := reading.NumberOf(c.v); got != c.want || ok != c.ok {
			t.Errorf("%s is %+v %v, want %+v %v", c.v.AppendJSON(nil), got, ok, c.want, c.ok)
		}
	}
}

func TestParseNumber_Long(t *testing.T) {
	if _, err := reading.ParseNumber(strings.Repeat("9", 400)); err != nil {
		t.Error(err)
	}
	if _, err := reading.ParseNumber(strings.Repeat("9", 1<<20+1)); err == nil {
		t.Error("a number of a million digits is taken")
	}
}
