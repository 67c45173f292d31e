package rest

import (
	"errors"
	"testing"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Whatever is sent as a patch is refused as a problem or makes an object, and
// what it is applied to stays what it was.
func FuzzJSONPatch(f *testing.F) {
	for _, seed := range []string{
		`[{"op":"add","path":"/a/b/-","value":{"x":[1,2.50,null]}}]`,
		`[{"op":"move","from":"/a","path":"/a/b"}]`,
		`[{"op":"copy","from":"","path":"/a/c"},{"op":"copy","from":"","path":"/a/c"}]`,
		`[{"op":"test","path":"/n","value":1.0},{"op":"remove","path":"/a/b/0"}]`,
		`[{"op":"replace","path":"","value":{}}]`,
		`[{"op":"add","path":"/a/b/-1","value":1},{"op":"add","path":"/~0~1","value":"é"}]`,
	} {
		f.Add([]byte(seed))
	}
	s := New(Config{})
	f.Fuzz(func(t *testing.T, body []byte) {
		edit, err := s.jsonPatchOf(store.Key{Thing: "t", Shadow: "app:a"}, body)
		var p *Problem
		if err != nil {
			if !errors.As(err, &p) || p.Status/100 != 4 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		old, err := shadow.Parse([]byte(`{"a":{"b":[1,{"c":true}],"d":"x"},"n":1}`), shadow.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		before := shadow.Digest(old)
		v, err := edit(old)
		if err == nil && v.Kind() != shadow.Object {
			t.Fatalf("%q makes a %v", body, v.Kind())
		}
		if problem := problem(err, false); err != nil && (!errors.As(problem, &p) || p.Status/100 != 4) {
			t.Fatalf("%q: %v", body, problem)
		}
		if shadow.Digest(old) != before {
			t.Fatalf("%q changed what it was applied to", body)
		}
	})
}
