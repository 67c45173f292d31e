package shadow

import (
	"slices"
)

// Diff returns the delta: what desired has and reported lacks or differs in,
// nil when there is nothing. Objects are compared member by member, and members
// that only reported has don't count; arrays that differ appear whole. The
// result shares its leaves, and so their stamps, with desired.
func Diff(desired, reported *Value) *Value {
	if desired == nil || desired == reported {
		return nil
	}
	if desired.Kind() != Object || reported.Kind() != Object {
		if reported != nil && Equal(desired, reported) {
			return nil
		}
		return desired
	}
	if desired.packed() && reported.packed() {
		return diffPacked(desired, reported)
	}
	desired, reported = desired.tree(), reported.tree()
	var out []Member
	r := reported.members
	for _, m := range desired.members {
		for len(r) > 0 && r[0].Key < m.Key {
			r = r[1:]
		}
		var other *Value
		if len(r) > 0 && r[0].Key == m.Key {
			other = r[0].Value
		}
		if d := Diff(m.Value, other); d != nil {
			out = append(out, Member{m.Key, d})
		}
	}
	if out == nil {
		return nil
	}
	return newValue(Object, 0, "", out)
}

// Equal tells whether two values are the same JSON value: numbers by value,
// members in any order, stamps ignored. Absent equals only absent.
func Equal(a, b *Value) bool {
	if a == b {
		return true
	}
	a, b = a.tree(), b.tree()
	if a == nil || b == nil || a.Kind() != b.Kind() || len(a.members) != len(b.members) {
		return false
	}
	if a.Kind() == Number {
		return sameNumber(a.text, b.text)
	}
	return a.text == b.text && slices.EqualFunc(a.members, b.members, func(x, y Member) bool {
		return x.Key == y.Key && Equal(x.Value, y.Value)
	})
}

// PatchBetween returns the merge patch that turns from into to, nil when they
// are equal. Removed members appear in it as Null.
func PatchBetween(from, to *Value) *Value {
	if Equal(from, to) {
		return nil
	}
	if to == nil {
		return newValue(Null, 0, "", nil)
	}
	if from.Kind() != Object || to.Kind() != Object {
		return to
	}
	from, to = from.tree(), to.tree()
	var out []Member
	f, t := from.members, to.members
	for len(f) > 0 || len(t) > 0 {
		switch {
		case len(t) == 0 || len(f) > 0 && f[0].Key < t[0].Key:
			out, f = append(out, Member{f[0].Key, newValue(Null, 0, "", nil)}), f[1:]
		case len(f) == 0 || t[0].Key < f[0].Key:
			out, t = append(out, t[0]), t[1:]
		default:
			if p := PatchBetween(f[0].Value, t[0].Value); p != nil {
				out = append(out, Member{f[0].Key, p})
			}
			f, t = f[1:], t[1:]
		}
	}
	return newValue(Object, 0, "", out)
}
