package shadow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"gnomon/shadow"
)

// FuzzParse holds the parser against encoding/json: what one takes the other
// must take, and both must see the same value. Where the rules differ on
// purpose (UTF-8, lone surrogates, bounds) ours may only be stricter.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		benchDocument, `{"a":[1,-0.5e+7,true,false,null,"é\u00e9\ud83d\ude00\n"],"a":{}}`, ` [ ] `, `"\ud800"`, `1e1000001`, "\"\xff\"", `[[[[[[[[[[1]]]]]]]]]]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := shadow.Parse(in, shadow.Limits{Depth: 20})
		if err != nil {
			var invalid *shadow.InvalidError
			var limit *shadow.LimitError
			switch {
			case errors.As(err, &limit) || !utf8.Valid(in):
			case !errors.As(err, &invalid):
				t.Fatalf("error of another kind: %v", err)
			case strings.Contains(invalid.Detail, "exponent out of range") || strings.Contains(invalid.Detail, `invalid \u escape`):
			case json.Valid(in):
				t.Fatalf("refused, though JSON: %q: %v", in, err)
			}
			return
		}
		want, got := decoded(t, in), decoded(t, v.AppendJSON(nil))
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q", in, v.AppendJSON(nil))
		}
		body := v.AppendJSON(nil)
		again, err := shadow.Parse(body, shadow.Limits{Depth: 20, BodyBytes: 1 << 30})
		if err != nil || !bytes.Equal(again.AppendJSON(nil), body) || !shadow.Equal(v, again) || shadow.Digest(v) != shadow.Digest(again) {
			t.Fatalf("%q doesn't parse to itself: %v", body, err)
		}
		if n := (&shadow.Document{Desired: v}).StateBytes(); n != len(body) {
			t.Fatalf("StateBytes %d of %d", n, len(body))
		}
	})
}

func decoded(t *testing.T, in []byte) any {
	var out any
	dec := json.NewDecoder(bytes.NewReader(in))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("taken, though encoding/json says %v: %q", err, in)
	}
	return out
}

func FuzzParseUpdate(f *testing.F) {
	for _, seed := range []string{
		benchDocument, benchPatch, `{"state":null,"version":3}`, `{"state":{"desired":null,"reported":{"a":[{"b":null}]}}}`,
		`{"state":{"reported":{"a":1}},"origin":{"bootEpoch":1,"seq":2,"full":true},"clientToken":"t"}`,
	} {
		f.Add([]byte(seed))
	}
	lim := shadow.Limits{StateBytes: 4096}
	f.Fuzz(func(t *testing.T, in []byte) {
		u, err := shadow.ParseUpdate(in, lim)
		if (u == nil) == (err == nil) {
			t.Fatalf("%+v, %v", u, err)
		}
		if err != nil {
			return
		}
		u.Version = nil
		d, err := (*shadow.Document)(nil).Apply(u, 7, lim)
		if err != nil {
			var limit *shadow.LimitError
			if !errors.As(err, &limit) || limit.Field != "state" {
				t.Fatalf("parsed, but refused: %v", err)
			}
			return
		}
		got, err := shadow.ParseRecord(d.AppendRecord(nil))
		if err != nil || !same(got, d) {
			t.Fatalf("record of %q: %v", in, err)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	d := apply(f, nil, benchDocument)
	record := d.AppendRecord(nil)
	f.Add(record[3], record[10:len(record)-4])
	f.Add(byte(2), []byte("\x05\x02\x01a\x04\x00\x02\x01\x00\x01\x03\x00\x01x\x01b\x05\x00"))
	f.Add(byte(2), []byte("\x05\x01\x01a\x04\x00\xff\xff\x03"))
	f.Fuzz(func(t *testing.T, flags byte, body []byte) {
		_, _ = shadow.ParseRecord(body)
		record := sealed(flags, string(body)) // past the checksum
		d, err := shadow.ParseRecord(record)
		if (d == nil) == (err == nil) || err != nil && !errors.Is(err, shadow.ErrCorrupt) {
			t.Fatalf("%+v, %v", d, err)
		}
		if err != nil {
			return
		}
		again, err := shadow.ParseRecord(d.AppendRecord(nil))
		if err != nil || !same(again, d) {
			t.Fatalf("read, but not the same when written again: %v", err)
		}
		for _, v := range []*shadow.Value{d.Desired, d.Reported} {
			if !json.Valid(v.AppendJSON(nil)) || !json.Valid(v.AppendMetadata(nil)) {
				t.Fatalf("read, but no JSON: %q", v.AppendJSON(nil))
			}
		}
	})
}
