package shadow_test

import (
	"testing"

	"gnomon/shadow"
)

// wide are limits that no test of something else runs into.
var wide = shadow.Limits{StateBytes: 1 << 20, Depth: shadow.MaxDepth, BodyBytes: 1 << 20}

// parse reads a value; "" is absent.
func parse(t testing.TB, text string) *shadow.Value {
	t.Helper()
	if text == "" {
		return nil
	}
	v, err := shadow.Parse([]byte(text), wide)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return v
}

// text writes a value; an absent one is "".
func text(v *shadow.Value) string {
	if v == nil {
		return ""
	}
	return string(v.AppendJSON(nil))
}

func update(t testing.TB, body string) *shadow.Update {
	t.Helper()
	u, err := shadow.ParseUpdate([]byte(body), wide)
	if err != nil {
		t.Fatalf("ParseUpdate(%s): %v", body, err)
	}
	return u
}

// apply applies bodies one after the other, at seconds 1001, 1002 and so on.
func apply(t testing.TB, d *shadow.Document, bodies ...string) *shadow.Document {
	t.Helper()
	for _, body := range bodies {
		at := int64(1001)
		if d != nil {
			at = d.Timestamp + 1
		}
		next, err := d.Apply(update(t, body), at, wide)
		if err != nil {
			t.Fatalf("Apply(%s): %v", body, err)
		}
		d = next
	}
	return d
}
