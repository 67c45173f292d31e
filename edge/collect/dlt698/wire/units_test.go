package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew; review the difference")

type unitCase struct {
	name string
	p    []byte
}

// unitCases reads testdata/units.txt.
func unitCases(t testing.TB) (cases []unitCase) {
	t.Helper()
	text, err := os.ReadFile("testdata/units.txt")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^([a-z][a-z0-9, ]*?) +([0-9A-F]{2} [0-9A-F ]+)$`)
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		cases = append(cases, unitCase{m[1], unhex(t, strings.ReplaceAll(m[2], " ", ""))})
	}
	if want := strings.Count(string(text), "\n") - strings.Count(string(text), "\n#") - 1; len(cases) != want {
		t.Fatalf("%d of %d lines read", len(cases), want)
	}
	return cases
}

func TestUnits_RoundTrip(t *testing.T) {
	var m Message
	services := map[string]bool{}
	for _, c := range unitCases(t) {
		if err := m.Decode(c.p); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if again := m.Append(nil); !bytes.Equal(again, c.p) {
			t.Errorf("%s: encoded as %X, want %X", c.name, again, c.p)
		}
		services[m.Nodes[1].Name] = true
		for n := range c.p { // every part of it is too short
			if err := m.Decode(c.p[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken for it", c.name, n, len(c.p))
			}
		}
		if c.name == "get answer related" {
			continue // one more null could be the second of two data
		}
		if err := m.Decode(append(bytes.Clone(c.p), 0)); err == nil {
			t.Errorf("%s: a byte too many is taken", c.name)
		}
	}
	for _, a := range unit.alts {
		if !services[a.name] {
			t.Errorf("no case of %s", a.name)
		}
	}
}

// Every data type is in some case.
func TestUnits_AllTypes(t *testing.T) {
	seen := map[Kind]bool{}
	var m Message
	for _, c := range unitCases(t) {
		if err := m.Decode(c.p); err != nil {
			t.Fatal(err)
		}
		for i := range m.Nodes {
			if m.Nodes[i].Tagged {
				seen[m.Nodes[i].Kind] = true
			}
		}
	}
	for tag, f := range dataForms {
		if f != nil && !seen[Kind(tag)] {
			t.Errorf("no case of %v", Kind(tag))
		}
	}
}

func TestUnits_Explained(t *testing.T) {
	var out bytes.Buffer
	for _, c := range unitCases(t) {
		o, err := ExplainAPDU(c.p)
		if err != nil {
			out.WriteString(c.name + ": " + err.Error() + "\n")
			continue
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		out.WriteString(c.name + ": " + string(text) + "\n")
	}
	golden(t, "testdata/units.golden", out.Bytes())
}

func TestVectors_Explained(t *testing.T) {
	var out bytes.Buffer
	for _, name := range []string{"get", "answer", "get list", "get esam", "record", "record answer", "action"} {
		e, err := Explain(unhex(t, vectors[name]))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(e, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(name + ": " + string(text) + "\n")
	}
	golden(t, "testdata/vectors.golden", out.Bytes())
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("%s:%d\n got %s\nwant %s", path, i+1, a[i], b[i])
			}
		}
		t.Fatalf("%s: %d lines, want %d", path, len(a), len(b))
	}
}
