package changeset

import (
	"encoding/json"
	"testing"
	"time"

	"gnomon/shadow"
)

var rules = Rules{
	Now: time.Unix(1_700_000_000, 0), Limits: shadow.DefaultLimits, Bounds: DefaultBounds,
	Selector: func(string) error { return nil },
}

// Whatever is accepted is within the bounds, is stored and read as it was, and has
// a next moment that is not before now.
func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		`{"shadows":{"app:web":{"desired":{"component":"a@1"},"version":3},"":{"desired":{"a":{"b.c":null}},"replace":true}},"note":"n"}`,
		`{"shadows":{"x":{"desired":{}}},"notBefore":"2023-11-15T00:00:00Z","expiresAt":"2023-12-15T00:00:00.5+08:00","windows":["mon-fri 22:00-04:00 Europe/Berlin",{"from":"00:00","to":"24:00"}]}`,
		`{"shadows":{"x":{"desired":{"do":1}}},"precondition":"reported.a>1","wait":false,"clearWhenReached":true}`,
		`{"shadows":{"x":{"desired":{"do":1}}},"precondition":{"y":"a"},"expiresAt":"2023-11-15T00:00:00Z"}`,
		`{"shadows":{"x":{"desired":null}}}`, `{}`, `[]`, `{"shadows":{"#changes":{"desired":{}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ParseRequest(body, rules)
		if err != nil {
			return
		}
		if n := len(c.Shadows); n == 0 || n > DefaultBounds.Shadows || len(c.Windows) > DefaultBounds.Windows || len(c.Note) > DefaultBounds.Note {
			t.Fatalf("%+v", c)
		}
		c.Generation, c.Status = 1, Scheduled
		set := &Set{Generation: 1, Changes: []*Change{c}}
		d, err := set.Document(nil, 7, DefaultBounds)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = shadow.ParseRecord(d.AppendRecord(nil)); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(d)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(c)
		b, _ := json.Marshal(again.Changes[0])
		if string(a) != string(b) {
			t.Fatalf("stored %s, read %s", a, b)
		}
		if at, _ := again.Due(rules.Now.Unix()); at != 0 && at < rules.Now.Unix() && c.ExpiresAt == 0 {
			t.Fatalf("due at %d", at)
		}
	})
}

// A damaged record reads as damaged, never as nothing.
func TestParse_Corrupt(t *testing.T) {
	for _, text := range []string{`{}`, `{"generation":"x"}`, `{"generation":1,"changes":["{"]}`} {
		v, err := shadow.Parse([]byte(text), shadow.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(&shadow.Document{Version: 1, DesiredVersion: 1, Desired: v}); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}
