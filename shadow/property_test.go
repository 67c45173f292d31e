package shadow_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"gnomon/shadow"
)

// The generators draw from few keys and few values, so that documents meet.
var (
	keys    = rapid.SampledFrom([]string{"a", "b", "c", "", "a.b", "é", "\"\\\n", "long key with words"})
	numbers = rapid.SampledFrom([]string{"0", "-0", "1", "1.0", "10e-1", "-2.5", "1e300", "9007199254740993", "0.1"})
	strs    = rapid.OneOf(rapid.SampledFrom([]string{"", "x", "1", "\x00\u2028<&>", "😀"}), rapid.String())
)

// object draws an Object as text for both our parser and encoding/json. nulls
// are drawn as members only, as a patch has them.
func object(depth int, nulls bool) *rapid.Generator[map[string]any] {
	return rapid.MapOfN(keys, value(depth, nulls, false), 0, 4)
}

func value(depth int, nulls, inArray bool) *rapid.Generator[any] {
	of := []*rapid.Generator[any]{
		rapid.Map(numbers, func(s string) any { return json.Number(s) }),
		rapid.Map(strs, func(s string) any { return s }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
	}
	if nulls && !inArray {
		of = append(of, rapid.Just[any](nil))
	}
	if depth > 0 {
		of = append(of,
			rapid.Map(rapid.MapOfN(keys, rapid.Deferred(func() *rapid.Generator[any] { return value(depth-1, nulls, inArray) }), 0, 4),
				func(m map[string]any) any { return m }),
			rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth-1, nulls, true) }), 0, 3),
				func(l []any) any { return l }))
	}
	return rapid.OneOf(of...)
}

// tree converts what was drawn by way of JSON text.
func tree(t rapid.TB, x any) *shadow.Value {
	body, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	v, err := shadow.Parse(body, wide)
	if err != nil {
		t.Fatalf("Parse(%s): %v", body, err)
	}
	return v
}

func drawObject(t *rapid.T, label string, nulls bool) *shadow.Value {
	return tree(t, object(3, nulls).Draw(t, label))
}

// plain converts back, through text again, numbers as written.
func plain(t rapid.TB, v *shadow.Value) any {
	var out any
	if err := json.Unmarshal(v.AppendJSON(nil), &out); err != nil {
		t.Fatalf("%s: %v", v.AppendJSON(nil), err)
	}
	return out
}

// mergePatch is RFC 7396, section 2, word by word.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		for k, v := range t {
			out[k] = v
		}
	}
	for k, v := range p {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = mergePatch(out[k], v)
		}
	}
	return out
}

func TestProperty_MergeIsRFC7396(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, patch := drawObject(t, "base", false), drawObject(t, "patch", true)
		before := string(base.AppendJSON(nil))
		got := shadow.Merge(base, patch, 5)
		if want := mergePatch(plain(t, base), plain(t, patch)); !reflect.DeepEqual(plain(t, got), want) {
			t.Fatalf("got %s, want %v", got.AppendJSON(nil), want)
		}
		if string(base.AppendJSON(nil)) != before {
			t.Fatal("the base changed")
		}
		if !shadow.Equal(shadow.Merge(got, patch, 6), got) {
			t.Fatal("merging twice is not merging once")
		}
	})
}

// contains tells whether everything of part is in whole.
func contains(whole, part *shadow.Value) bool {
	if part == nil {
		return true
	}
	if part.Kind() != shadow.Object || whole.Kind() != shadow.Object {
		return shadow.Equal(whole, part)
	}
	for key, m := range part.Members() {
		if whole.Get(key) == nil || !contains(whole.Get(key), m) {
			return false
		}
	}
	return true
}

func TestProperty_Diff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired, reported := drawObject(t, "desired", false), drawObject(t, "reported", false)
		if d := shadow.Diff(desired, desired); d != nil {
			t.Fatalf("Diff(x, x) = %s", d.AppendJSON(nil))
		}
		if d := shadow.Diff(desired, tree(t, plain(t, desired))); d != nil && plainIsExact(desired) {
			t.Fatalf("Diff of a copy = %s", d.AppendJSON(nil))
		}
		delta := shadow.Diff(desired, reported)
		after := shadow.Merge(reported, delta, 1)
		if delta == nil {
			after = reported
		}
		if !contains(after, desired) {
			t.Fatalf("applied, the delta %s leaves %s", delta.AppendJSON(nil), after.AppendJSON(nil))
		}
		if d := shadow.Diff(desired, after); d != nil {
			t.Fatalf("applied, the delta leaves a delta %s", d.AppendJSON(nil))
		}
		if (delta == nil) != contains(reported, desired) {
			t.Fatalf("delta %s, though contained: %v", delta.AppendJSON(nil), contains(reported, desired))
		}
	})
}

// plainIsExact tells whether v survives float64, which plain goes through.
func plainIsExact(v *shadow.Value) bool {
	if v.Kind() == shadow.Number {
		f, err := strconv.ParseFloat(v.Text(), 64)
		return err == nil && shadow.Equal(shadow.Float(f), v)
	}
	for _, m := range v.Members() {
		if !plainIsExact(m) {
			return false
		}
	}
	return true
}

func TestProperty_PatchBetween(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawObject(t, "from", false), drawObject(t, "to", false)
		patch := shadow.PatchBetween(from, to)
		if (patch == nil) != shadow.Equal(from, to) {
			t.Fatalf("patch %v between %s and %s", patch, from.AppendJSON(nil), to.AppendJSON(nil))
		}
		if patch != nil && !shadow.Equal(shadow.Merge(from, patch, 1), to) {
			t.Fatalf("patch %s leads to %s", patch.AppendJSON(nil), shadow.Merge(from, patch, 1).AppendJSON(nil))
		}
	})
}

func TestProperty_EqualAndDigestAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawObject(t, "a", false), drawObject(t, "b", false)
		if rapid.Bool().Draw(t, "same") {
			b = shadow.Merge(nil, a, 99) // other stamps, other memory
		}
		if shadow.Equal(a, b) != (shadow.Digest(a) == shadow.Digest(b)) || shadow.Equal(a, b) != shadow.Equal(b, a) {
			t.Fatalf("Equal %v, digests %s and %s", shadow.Equal(a, b), shadow.Digest(a), shadow.Digest(b))
		}
	})
}

func TestDigest_IsStable(t *testing.T) {
	for in, want := range map[string]string{
		``:                             "",
		`{}`:                           "", // no section and an empty one are the same to a document
		`{"b":[1,"x",null],"a":-2.50}`: "4d3600e9c1e8695b",
	} {
		if got := shadow.Digest(parse(t, in)); got != want {
			t.Errorf("Digest(%s) = %s, want %s: cloud and edge of other versions would disagree", in, got, want)
		}
	}
}

func TestProperty_TextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawObject(t, "v", true)
		body := v.AppendJSON(nil)
		if !json.Valid(body) {
			t.Fatalf("%q is no JSON", body)
		}
		again, err := shadow.Parse(body, wide)
		if err != nil || string(again.AppendJSON(nil)) != string(body) || !shadow.Equal(again, v) {
			t.Fatalf("%q became %q, %v", body, again.AppendJSON(nil), err)
		}
		d := &shadow.Document{Reported: v}
		if d.StateBytes() != len(body) {
			t.Fatalf("StateBytes %d of %d: %q", d.StateBytes(), len(body), body)
		}
	})
}

// TestProperty_History lets random updates and deletes happen to one shadow and
// holds every step against what must be true of it.
func TestProperty_History(t *testing.T) {
	section := func(t *rapid.T, name string) shadow.Section {
		switch rapid.IntRange(0, 4).Draw(t, name) {
		case 0:
			return shadow.Section{}
		case 1:
			return shadow.Section{Present: true}
		case 2:
			return shadow.Section{Present: true, Replace: true, Patch: drawObject(t, name+" whole", true)}
		default:
			return shadow.Section{Present: true, Patch: drawObject(t, name+" patch", true)}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var d *shadow.Document
		last, now := uint64(0), int64(1000)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			now += rapid.Int64Range(-5, 50).Draw(t, "clock") // clocks go back too
			if d.Exists() && rapid.IntRange(0, 9).Draw(t, "delete") == 0 {
				next, err := d.Delete(&last, now)
				if err != nil || next.Version != last+1 {
					t.Fatalf("delete: %+v, %v", next, err)
				}
				d, last = next, next.Version
				continue
			}
			u := &shadow.Update{Desired: section(t, "desired"), Reported: section(t, "reported"), Version: &last}
			before := &shadow.Document{}
			if d != nil {
				*before = *d
			}
			record := before.AppendRecord(nil)
			next, err := d.Apply(u, now, wide)
			if err != nil {
				t.Fatal(err)
			}
			if next.Version != last+1 || !next.Exists() || next.Timestamp != now {
				t.Fatalf("version %d after %d: %+v", next.Version, last, next)
			}
			if d != nil && string(d.AppendRecord(nil)) != string(record) {
				t.Fatal("the document before changed")
			}
			for _, v := range []*shadow.Value{next.Desired, next.Reported} {
				if v != nil && v.Len() == 0 || string(v.AppendJSON(nil)) == "{}" {
					t.Fatal("an empty section is kept")
				}
			}
			got, err := shadow.ParseRecord(next.AppendRecord(nil))
			if err != nil || !same(got, next) {
				t.Fatalf("record: %+v, %v", got, err)
			}
			if (next.Delta() == nil) != (next.Desired == nil || contains(next.Reported, next.Desired)) {
				t.Fatalf("delta %v", next.Delta())
			}
			d, last = next, next.Version
		}
	})
}

// Leaves and FromLeaves take an object apart and put it together, and the leaves
// by which two objects differ make a patch from one to the other.
func TestLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawObject(t, "from", false), drawObject(t, "to", false)
		before, after := shadow.Leaves(from), shadow.Leaves(to)
		if again := shadow.FromLeaves(before); !shadow.Equal(again, from) {
			t.Fatalf("%s became %s", from.AppendJSON(nil), again.AppendJSON(nil))
		}
		if len(before) != len(shadow.Paths(from)) {
			t.Fatalf("%d leaves, paths %q", len(before), shadow.Paths(from))
		}
		patch := map[string]*shadow.Value{}
		for path := range before {
			if after[path] == nil {
				patch[path] = nil
			}
		}
		for path, v := range after {
			if !shadow.Equal(before[path], v) {
				patch[path] = v
			}
		}
		got := shadow.Leaves(shadow.Merge(from, shadow.FromLeaves(patch), 1))
		for path, v := range after {
			if !shadow.Equal(got[path], v) && v.Len() > 0 {
				t.Fatalf("%s to %s by %s: %q is %s", from.AppendJSON(nil), to.AppendJSON(nil), shadow.FromLeaves(patch).AppendJSON(nil), path, got[path].AppendJSON(nil))
			}
		}
	})
}
