package reading_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gnomon/schema/reading"
)

// goldenMessage holds a message against the bytes that other versions know.
func goldenMessage[T any](t *testing.T, name string, got []byte, want T, parse func([]byte) (T, error)) {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	if *rewrite {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	known, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, known) {
		t.Errorf("%s: is written\n%s\nwant\n%s", name, got, known)
	}
	if back, err := parse(known); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("%s: reads as %+v, %v; want %+v", name, back, err, want)
	}
}

func TestMessages_Golden(t *testing.T) {
	accepted := reading.Verdict{ID: 4711}
	goldenMessage(t, "accepted", accepted.Append(nil), accepted, reading.ParseVerdict)
	rejected := reading.Verdict{ID: 4712, Code: 404, Message: `no policy "p"`}
	goldenMessage(t, "rejected", rejected.Append(nil), rejected, reading.ParseVerdict)
	read := reading.Read{ID: "r-1", Policy: "p", Meter: "000000000001", Items: []string{"VA", "E"}, Live: true, Deadline: 20_000}
	goldenMessage(t, "read", read.Append(nil), read, reading.ParseRead)
	all := reading.Read{ID: "r-2", Policy: "p", Meter: "000000000001", Deadline: 1}
	goldenMessage(t, "read_all", all.Append(nil), all, reading.ParseRead)
	volt := reading.Number{Mantissa: 2201, Exponent: -1}
	answer := reading.Answer{ID: "r-1", Values: map[string]reading.ReadValue{
		"VA": {Value: &volt, At: midnight, Arrived: midnight.Add(time.Millisecond), Source: reading.Demand},
		"E":  {Reason: "timeout", At: midnight, Arrived: midnight, Source: reading.Cycle},
	}, Error: &reading.Refusal{Code: reading.RefusedFailed, Message: "no answer"}}
	goldenMessage(t, "answer", answer.Append(nil), answer, reading.ParseAnswer)
	refused := reading.Answer{ID: "r-2", Error: &reading.Refusal{Code: reading.RefusedUnknown, Message: `no policy "p"`}}
	goldenMessage(t, "answer_refused", refused.Append(nil), refused, reading.ParseAnswer)
}

func TestMessages_Refused(t *testing.T) {
	read := `{"id":"r","policy":"p","meter":"m","deadline":5}`
	if _, err := reading.ParseRead([]byte(read)); err != nil {
		t.Fatal(err)
	}
	for what, body := range map[string]string{
		"id": strings.Replace(read, `"r"`, `""`, 1), "policy": strings.Replace(read, `"p"`, `"a b"`, 1), "meter": strings.Replace(read, `"m"`, `""`, 1),
		"deadline": strings.Replace(read, `5`, `600001`, 1), "items": strings.Replace(read, `"id"`, `"items":["a b"],"id"`, 1),
		"bytes": `{"id":"` + strings.Repeat("x", 64<<10) + `"}`, "json": "{",
	} {
		if r, err := reading.ParseRead([]byte(body)); !errors.Is(err, reading.ErrMessage) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	for what, body := range map[string]string{
		"id": `{"values":{}}`, "both": `{"id":"r","values":{"V":{"value":1,"reason":"timeout"}}}`, "neither": `{"id":"r","values":{"V":{}}}`,
		"source": `{"id":"r","values":{"V":{"value":1,"source":"guess"}}}`, "number": `{"id":"r","values":{"V":{"value":"1"}}}`, "item": `{"id":"r","values":{"":{"value":1}}}`,
	} {
		if a, err := reading.ParseAnswer([]byte(body)); !errors.Is(err, reading.ErrMessage) {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
	long := reading.Verdict{ID: 1, Code: 400, Message: strings.Repeat("ä", 4000)}
	if v, err := reading.ParseVerdict(long.Append(nil)); err != nil || len(v.Message) > 500 || !v.Final() {
		t.Errorf("%d bytes, %v", len(v.Message), err)
	}
	for code, final := range map[int]bool{400: true, 404: true, 413: true, 429: false, 500: false, 503: false} {
		if (reading.Verdict{Code: code}).Final() != final {
			t.Errorf("%d: final is %v", code, !final)
		}
	}
}

// FuzzMessages: what is read can be written, and is read the same.
func FuzzMessages(f *testing.F) {
	for _, name := range []string{"accepted", "rejected", "read", "read_all", "answer", "answer_refused"} {
		body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := reading.ParseRead(body); err == nil {
			if _, err := reading.ParseRead(r.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := reading.ParseAnswer(body); err == nil {
			if _, err := reading.ParseAnswer(a.Append(nil)); err != nil {
				t.Fatalf("%s: %v", a.Append(nil), err)
			}
		}
		if v, err := reading.ParseVerdict(body); err == nil {
			if _, err := reading.ParseVerdict(v.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
