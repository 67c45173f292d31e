package shadow

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Text returns a String. What is not UTF-8 in s becomes U+FFFD: strings come
// from programs and devices, and one stray byte must not make a whole report
// unacceptable.
func Text(s string) *Value { return newValue(String, 0, strings.ToValidUTF8(s, "\uFFFD"), nil) }

// Int returns a Number.
func Int(i int64) *Value { return newValue(Number, 0, strconv.FormatInt(i, 10), nil) }

// Uint returns a Number.
func Uint(i uint64) *Value { return newValue(Number, 0, strconv.FormatUint(i, 10), nil) }

// Float returns a Number, or nil (absent) for NaN and infinities, which JSON
// doesn't have.
func Float(f float64) *Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return newValue(Number, 0, strconv.FormatFloat(f, 'g', -1, 64), nil)
}

// Flag returns a Bool.
func Flag(b bool) *Value { return newValue(Bool, 0, strconv.FormatBool(b), nil) }

// NewObject returns an Object of the members that are not nil. Of members with
// the same key the last wins. Keys are made UTF-8 as Text does.
func NewObject(members ...Member) *Value {
	present := make([]Member, 0, len(members))
	for _, m := range members {
		if m.Value != nil {
			present = append(present, Member{strings.ToValidUTF8(m.Key, "\uFFFD"), m.Value})
		}
	}
	return newValue(Object, 0, "", sortMembers(present))
}

// NewArray returns an Array of the elements that are not nil.
func NewArray(elems ...*Value) *Value {
	members := make([]Member, 0, len(elems))
	for _, e := range elems {
		if e != nil {
			members = append(members, Member{Value: e})
		}
	}
	return newValue(Array, 0, "", members)
}

// Texts returns an Array of Strings, or nil (absent) when there are none.
func Texts(all []string) *Value {
	if len(all) == 0 {
		return nil
	}
	values := make([]*Value, len(all))
	for i, s := range all {
		values[i] = Text(s)
	}
	return NewArray(values...)
}

// sortMembers orders members by key in place and drops all but the last of
// equal keys. Most objects arrive in order, which costs one pass.
func sortMembers(members []Member) []Member {
	sorted := true
	for i := 1; i < len(members); i++ {
		if members[i-1].Key >= members[i].Key {
			sorted = false
			break
		}
	}
	if sorted {
		return members
	}
	slices.SortStableFunc(members, func(a, b Member) int { return compareKey(a, b.Key) })
	out := members[:1]
	for _, m := range members[1:] {
		if last := &out[len(out)-1]; last.Key == m.Key {
			*last = m
		} else {
			out = append(out, m)
		}
	}
	return slices.Clip(out)
}
