package shadow_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gnomon/shadow"
)

// sameValue compares everything that can be seen of two values.
func sameValue(a, b *shadow.Value) error {
	if a.Kind() != b.Kind() || a.Stamp() != b.Stamp() || a.Text() != b.Text() || a.Len() != b.Len() {
		return fmt.Errorf("%v %d %q %d, not %v %d %q %d", b.Kind(), b.Stamp(), b.Text(), b.Len(), a.Kind(), a.Stamp(), a.Text(), a.Len())
	}
	if b.Get("no such key") != nil {
		return errors.New("a key that isn't there is")
	}
	type member struct {
		key string
		v   *shadow.Value
	}
	var others []member
	for key, v := range b.Members() {
		others = append(others, member{key, v})
	}
	for key, v := range a.Members() {
		if others[0].key != key {
			return fmt.Errorf("%q, not %q", others[0].key, key)
		}
		if err := sameValue(v, others[0].v); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
		if a.Kind() == shadow.Object {
			if err := sameValue(v, b.Get(key)); err != nil {
				return fmt.Errorf("get %q: %w", key, err)
			}
		}
		others = others[1:]
	}
	return nil
}

func seen(v *shadow.Value) string {
	return fmt.Sprintf("%s %s %s %s %q", v.AppendJSON(nil), v.AppendMetadata(nil), v.AppendMetadataAt(nil, 7), shadow.Digest(v), shadow.Paths(v))
}

// alike compares a document kept as a tree with one kept packed.
func alike(tree, packed *shadow.Document) error {
	if a, b := string(tree.AppendRecord(nil)), string(packed.AppendRecord(nil)); a != b {
		return fmt.Errorf("stored as\n%q, not\n%q", b, a)
	}
	if a, b := tree.StateBytes(), packed.StateBytes(); a != b {
		return fmt.Errorf("%d bytes, not %d", b, a)
	}
	pairs := map[string][2]*shadow.Value{
		"desired": {tree.Desired, packed.Desired}, "reported": {tree.Reported, packed.Reported},
		"delta":       {tree.Delta(), packed.Delta()},
		"mixed delta": {tree.Delta(), shadow.Diff(packed.Desired, tree.Reported)},
		"delta mixed": {tree.Delta(), shadow.Diff(tree.Desired, packed.Reported)},
		"patch":       {shadow.PatchBetween(tree.Reported, tree.Desired), shadow.PatchBetween(packed.Reported, packed.Desired)},
		"merged":      {shadow.Merge(tree.Desired, tree.Reported, 9), shadow.Merge(packed.Desired, packed.Reported, 9)},
	}
	for name, p := range pairs {
		if err := sameValue(p[0], p[1]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if a, b := seen(p[0]), seen(p[1]); a != b {
			return fmt.Errorf("%s: %s, not %s", name, b, a)
		}
		if !shadow.Equal(p[0], p[1]) {
			return fmt.Errorf("%s: not equal", name)
		}
	}
	return nil
}

func drawSection(t *rapid.T, label string) shadow.Section {
	switch rapid.IntRange(0, 5).Draw(t, label) {
	case 0:
		return shadow.Section{}
	case 1:
		return shadow.Section{Present: true}
	case 2:
		return shadow.Section{Present: true, Replace: true, Patch: drawObject(t, label, true)}
	default:
		return shadow.Section{Present: true, Patch: drawObject(t, label, true)}
	}
}

// Whatever happens to a document, kept packed it is the one it is as a tree.
func TestProperty_PackedIsTheSame(t *testing.T) {
	limits := shadow.Limits{StateBytes: 400, Depth: 10, BodyBytes: 1 << 20}
	rapid.Check(t, func(t *rapid.T) {
		var tree, packed *shadow.Document
		now := int64(1_800_000_000)
		for range rapid.IntRange(1, 8).Draw(t, "updates") {
			now += int64(rapid.SampledFrom([]int{0, 1, 100_000, -3}).Draw(t, "later"))
			u := &shadow.Update{Desired: drawSection(t, "desired"), Reported: drawSection(t, "reported"), StateNull: rapid.IntRange(0, 9).Draw(t, "clear") == 0}
			nextTree, err := tree.Apply(u, now, limits)
			nextPacked, other := packed.Apply(u, now, limits)
			if fmt.Sprint(err) != fmt.Sprint(other) {
				t.Fatalf("%v, not %v", other, err)
			}
			if err != nil {
				continue
			}
			tree = nextTree
			if err := alike(tree, nextPacked); err != nil {
				t.Fatal(err)
			}
			record, packedNow := nextPacked.Pack()
			if string(record) != string(tree.AppendRecord(nil)) {
				t.Fatalf("packed as %q", record)
			}
			if packed = packedNow; rapid.Bool().Draw(t, "read") {
				if packed, err = shadow.ParseRecord(record); err != nil {
					t.Fatal(err)
				}
			}
			clear(record) // its owner may do so
			if err := alike(tree, packed); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Counts of members that take more than a byte, at every level.
func TestPacked_ManyMembers(t *testing.T) {
	object := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%05d":%s`, i, value)
		}
		return "{" + b.String()[1:] + "}"
	}
	inner := object(127, "1")
	d := apply(t, nil, `{"state":{"reported":`+object(127, inner)+`}}`)
	_, packed := d.Pack()
	for _, body := range []string{
		`{"state":{"reported":{"k00003":{"new":1},"new":` + object(20_000, `"x"`) + `}}}`,
		`{"state":{"reported":{"k00126":` + object(300, "null") + `,"k00003":` + object(128, "2") + `}}}`,
	} {
		u, err := shadow.ParseUpdate([]byte(body), wide)
		if err != nil {
			t.Fatal(err)
		}
		next, err := d.Apply(u, 7, wide)
		if err != nil {
			t.Fatal(err)
		}
		if packed, err = packed.Apply(u, 7, wide); err != nil {
			t.Fatal(err)
		}
		if d = next; string(d.AppendRecord(nil)) != string(packed.AppendRecord(nil)) {
			t.Fatal("not the same")
		}
	}
}
