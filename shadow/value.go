package shadow

import (
	"iter"
	"slices"
	"strings"
)

// Kind is the JSON type of a Value.
type Kind uint8

// The kinds of JSON value. Null is only ever found in a patch: in a document a
// null means "absent" and is never stored.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Value is one node of an immutable JSON tree; nil means absent. The members of
// an Object are sorted by key in byte order and unique.
//
// Its size matters, as there is one for every leaf at hand: kind and stamp share a
// word, and scalars keep their text. An Object may be packed (see packed.go).
type Value struct {
	meta    uint64 // stamp, seconds since 1970, <<8 | packed <<7 | Kind
	text    string // Number: digits as written; String: decoded; Bool: true or false
	members []Member
}

// Member is one entry of an Object or, with an empty Key, of an Array.
type Member struct {
	Key   string
	Value *Value
}

const kindBits = 8

func newValue(k Kind, stamp int64, text string, members []Member) *Value {
	return &Value{meta: uint64(stamp)<<kindBits | uint64(k), text: text, members: members}
}

// Kind returns the JSON type; that of an absent Value is Null.
func (v *Value) Kind() Kind {
	if v == nil {
		return Null
	}
	return Kind(v.meta & (packedBit - 1))
}

// Stamp returns the second since 1970 at which a leaf was last written, 0 when
// it never was. Objects have no stamp of their own. It holds ±2⁵⁵ seconds.
func (v *Value) Stamp() int64 {
	if v == nil || v.packed() {
		return 0
	}
	return int64(v.meta) >> kindBits
}

// Text returns a String decoded, a Number as written, a Bool as true or false,
// and "" for everything else.
func (v *Value) Text() string {
	if v == nil || v.packed() {
		return ""
	}
	return v.text
}

// Len returns the number of members or elements.
func (v *Value) Len() int {
	if v == nil {
		return 0
	}
	if v.packed() {
		return v.walk().left
	}
	return len(v.members)
}

// Get returns the member of an Object, nil when absent.
func (v *Value) Get(key string) *Value {
	if v.Kind() != Object {
		return nil
	}
	if v.packed() {
		return v.get(key)
	}
	i, ok := slices.BinarySearchFunc(v.members, key, compareKey)
	if !ok {
		return nil
	}
	return v.members[i].Value
}

func compareKey(m Member, key string) int { return strings.Compare(m.Key, key) }

// At follows keys down through Objects, nil when any is absent.
func (v *Value) At(keys ...string) *Value {
	for _, k := range keys {
		v = v.Get(k)
	}
	return v
}

// Members yields the members of an Object in key order, or the elements of an
// Array in order with empty keys.
func (v *Value) Members() iter.Seq2[string, *Value] {
	return func(yield func(string, *Value) bool) {
		if v == nil {
			return
		}
		if v.packed() {
			for c := v.walk(); c.left > 0; {
				if !yield(c.next()) {
					return
				}
			}
			return
		}
		for _, m := range v.members {
			if !yield(m.Key, m.Value) {
				return
			}
		}
	}
}
