package shadow_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gnomon/shadow"
)

func TestParse_Accepts(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`null`, `null`},
		{` true `, `true`},
		{"\t\r\n false", `false`},
		{`0`, `0`},
		{`-0`, `-0`},
		{`-12.50e+03`, `-12.50e+03`},
		{`1e1000000`, `1e1000000`},
		{`1E-000001000000`, `1E-000001000000`},
		{`""`, `""`},
		{`"é\u00e9\uD83D\uDE00"`, `"éé😀"`},
		{`"\"\\\/\b\f\n\r\t\u0000\u001f\u007f"`, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u007f\""},
		{`[]`, `[]`},
		{`[ 1 , [ ] , { } , null ]`, `[1,[],{},null]`},
		{`{}`, `{}`},
		{`{"b":1,"a":2}`, `{"a":2,"b":1}`},
		{`{"a":1,"a":2}`, `{"a":2}`},
		{`{"b":0,"a":1,"\u0061":2,"c":3,"a":{"x":1}}`, `{"a":{"x":1},"b":0,"c":3}`},
		{`{"":1}`, `{"":1}`},
	} {
		if got := text(parse(t, c.in)); got != c.want {
			t.Errorf("Parse(%s) = %s, want %s", c.in, got, c.want)
		}
	}
}

func TestParse_RefusesWhatIsNoJSON(t *testing.T) {
	for _, in := range []string{
		``, ` `, `nul`, `nulll`, `True`, `NaN`, `Infinity`, `'a'`, "\ufeff1", "\x00", "1\x00",
		`01`, `-`, `+1`, `.5`, `1.`, `1.e1`, `1e`, `1e+`, `0x10`, `--1`, `1 2`,
		`1e1000001`, `1e-1000001`, `1e99999999999999999999`,
		`"`, `"a`, `"\`, `"\q"`, `"\u12"`, `"\u12g4"`, `"\u`, "\"\n\"", "\"\x00\"", "\"a\\", "\"\x1f\"", "\"\\t\n\"",
		`"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `"\ud800\ud800"`, `"\ud800x"`, `"\udc00\ud800"`,
		`[`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `]`, `[1}`,
		`{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{a:1}`, `{1:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `}`, `{"a":1]`,
		`{"a":1}{"b":2}`, `{} x`, `/**/1`,
	} {
		v, err := shadow.Parse([]byte(in), wide)
		var invalid *shadow.InvalidError
		if !errors.As(err, &invalid) || invalid.Message != "Invalid JSON" || invalid.Detail == "" || v != nil {
			t.Errorf("Parse(%q) = %v, %v, want Invalid JSON with a detail", in, text(v), err)
		}
	}
}

func TestParse_RefusesWhatIsNotUTF8(t *testing.T) {
	for _, in := range []string{"\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "{\"\xff\":1}"} {
		if v, err := shadow.Parse([]byte(in), wide); !errors.Is(err, shadow.ErrEncoding) || v != nil {
			t.Errorf("Parse(%q) = %v, %v, want ErrEncoding", in, text(v), err)
		}
	}
}

func TestParse_Limits(t *testing.T) {
	nest := func(levels int, core string) string {
		return strings.Repeat(`[`, levels) + core + strings.Repeat(`]`, levels)
	}
	for _, c := range []struct {
		in    string
		lim   shadow.Limits
		field string // of the error; "" = accepted
	}{
		{nest(8, `1`), shadow.Limits{}, ""},
		{nest(8, `[]`), shadow.Limits{}, ""}, // an empty container is no level
		{nest(9, `1`), shadow.Limits{}, "depth"},
		{nest(3, `{"a":1}`), shadow.Limits{Depth: 3}, "depth"},
		{nest(2, `{"a":1}`), shadow.Limits{Depth: 3}, ""},
		{nest(shadow.MaxDepth, `1`), shadow.Limits{Depth: 1 << 30}, ""},
		{nest(shadow.MaxDepth+1, `1`), shadow.Limits{Depth: 1 << 30}, "depth"},
		{strings.Repeat(`[`, 100_000), shadow.Limits{}, "depth"},
		{strings.Repeat(`{"":`, 30_000), shadow.Limits{}, "depth"},
		{`"12345678"`, shadow.Limits{BodyBytes: 10}, ""},
		{`"123456789"`, shadow.Limits{BodyBytes: 10}, "body"},
		{`"` + strings.Repeat("x", 128<<10) + `"`, shadow.Limits{BodyBytes: -1}, "body"},
	} {
		_, err := shadow.Parse([]byte(c.in), c.lim)
		var limit *shadow.LimitError
		switch {
		case c.field == "" && err != nil:
			t.Errorf("Parse(%.20s…, %+v): %v", c.in, c.lim, err)
		case c.field != "" && (!errors.As(err, &limit) || limit.Field != c.field || limit.Got <= limit.Limit):
			t.Errorf("Parse(%.20s…, %+v) = %v, want a limit of %s", c.in, c.lim, err, c.field)
		}
	}
}

func TestParse_ErrorNamesThePlace(t *testing.T) {
	_, err := shadow.Parse([]byte(`{"a":tru}`), wide)
	if want := "Invalid JSON: unexpected character at byte 5"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNumbers_CompareByValue(t *testing.T) {
	equal := [][]string{
		{"1", "1.0", "1e0", "10e-1", "0.1e1", "1.000", "0.00001e5", "1E+0", "1e-0"},
		{"0", "-0", "0.0", "0e5", "-0.000e-7", "0e1000000"},
		{"-2.5", "-25e-1", "-0.25E1"},
		{"1e1000000", "10e999999"},
		{"9007199254740993", "9007199254740993.0"},
		{"123456789012345678901234567890", "12345678901234567890123456789e1"},
	}
	for i, group := range equal {
		for _, a := range group {
			for j, other := range equal {
				for _, b := range other {
					same := shadow.Equal(parse(t, a), parse(t, b))
					if same != (i == j) {
						t.Errorf("Equal(%s, %s) = %v", a, b, same)
					}
					if digests := shadow.Digest(parse(t, a)) == shadow.Digest(parse(t, b)); digests != same {
						t.Errorf("digests of %s and %s equal: %v", a, b, digests)
					}
				}
			}
		}
	}
	for _, pair := range [][2]string{
		{"9007199254740992", "9007199254740993"}, {"0.1", "0.10000000000000001"}, {"1", "-1"}, {"1", "10"},
		{"1e1000000", "1e999999"}, {"1", `"1"`}, {"0", "false"}, {"0", "null"}, {"12", "1.2"},
	} {
		if shadow.Equal(parse(t, pair[0]), parse(t, pair[1])) {
			t.Errorf("%s equals %s", pair[0], pair[1])
		}
	}
}

func TestConstructors(t *testing.T) {
	nan := 0.0
	for _, c := range []struct {
		v    *shadow.Value
		want string
	}{
		{shadow.Text("a\"b"), `"a\"b"`},
		{shadow.Text("a\xffb"), `"a` + "\uFFFD" + `b"`},
		{shadow.Int(-9), `-9`},
		{shadow.Uint(18446744073709551615), `18446744073709551615`},
		{shadow.Float(0.5), `0.5`},
		{shadow.Float(1e300), `1e+300`},
		{shadow.Float(nan / nan), ``},
		{shadow.Float(1 / nan), ``},
		{shadow.Flag(true), `true`},
		{shadow.NewArray(), `[]`},
		{shadow.NewArray(shadow.Int(2), nil, shadow.Int(1)), `[2,1]`},
		{shadow.NewObject(), `{}`},
		{shadow.NewObject(shadow.Member{Key: "b", Value: shadow.Int(1)}, shadow.Member{Key: "a\xff", Value: shadow.Int(2)},
			shadow.Member{Key: "b", Value: shadow.Int(3)}, shadow.Member{Key: "c"}), `{"a` + "\uFFFD" + `":2,"b":3}`},
	} {
		if got := text(c.v); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if c.v != nil && text(parse(t, c.want)) != c.want {
			t.Errorf("%s doesn't parse to itself", c.want)
		}
	}
}

func TestValue_Access(t *testing.T) {
	v := parse(t, `{"a":{"b":[1,"x",true,null]},"n":1.50}`)
	list := v.At("a", "b")
	if list.Kind() != shadow.Array || list.Len() != 4 || v.Get("n").Text() != "1.50" {
		t.Errorf("a.b = %s, n = %s", text(list), v.Get("n").Text())
	}
	var seen []string
	for key, m := range v.Members() {
		seen = append(seen, fmt.Sprintf("%s:%d", key, m.Kind()))
	}
	for _, e := range list.Members() {
		seen = append(seen, e.Text())
		if len(seen) == 5 {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "a:5 n:2 1 x true" {
		t.Errorf("members %s", got)
	}
	var absent *shadow.Value
	for range absent.Members() {
		t.Error("an absent value has members")
	}
	if v.At("a", "x", "y") != nil || list.Get("") != nil || absent.Get("a") != nil || absent.Kind() != shadow.Null ||
		absent.Len() != 0 || absent.Text() != "" || absent.Stamp() != 0 || string(absent.AppendJSON(nil)) != "null" {
		t.Error("absent values must be harmless")
	}
}

func TestPaths(t *testing.T) {
	v := parse(t, `{"a":{"b":1,"c":{}},"a-b":[1,{"x":2}],"d.e":{"f\\g":null}}`)
	want := []string{`a-b`, `a.b`, `a.c`, `d\.e.f\\g`}
	if got := shadow.Paths(v); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := shadow.Paths(nil); got != nil {
		t.Errorf("paths of nothing: %q", got)
	}
}
