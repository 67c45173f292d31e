package shadow

import "strings"

// Merge returns base changed by patch as RFC 7396 has it: objects merge member
// by member, null removes, everything else replaces. An empty object is a value:
// merged over anything but an object it becomes {}. Leaves that patch names are
// stamped, also when their value stays the same. Neither argument changes, and
// the result shares what patch doesn't name with base. A Null patch gives nil.
//
// Arrays replace as they are, nulls inside them included.
//
// What is taken from patch is copied out of its text, so that a document never
// keeps a request's buffer alive.
func Merge(base, patch *Value, stamp int64) *Value {
	switch k := patch.Kind(); {
	case k == Object && base.Kind() == Object:
		return mergeObjects(base, patch, stamp)
	case (k == String || k == Number) && base.Kind() == k && base.text == patch.text:
		return newValue(k, stamp, base.text, nil) // said again: only the stamp is new
	}
	return adopt(patch, stamp, false)
}

// mergeObjects joins two sorted lists of members.
func mergeObjects(base, patch *Value, stamp int64) *Value {
	if patch.Len() == 0 {
		return base
	}
	base, patch = base.tree(), patch.tree()
	out := make([]Member, 0, union(base.members, patch.members))
	b, p := base.members, patch.members
	for len(b) > 0 && len(p) > 0 {
		switch c := strings.Compare(b[0].Key, p[0].Key); {
		case c < 0:
			out, b = append(out, b[0]), b[1:]
		case c > 0:
			out, p = appendNew(out, p[0], stamp), p[1:]
		default:
			if v := Merge(b[0].Value, p[0].Value, stamp); v != nil {
				out = append(out, Member{b[0].Key, v})
			}
			b, p = b[1:], p[1:]
		}
	}
	out = append(out, b...)
	for _, m := range p {
		out = appendNew(out, m, stamp)
	}
	return newValue(Object, 0, "", out)
}

// union returns how many keys two lists have. Room for more would be kept as
// long as the document.
func union(a, b []Member) int {
	n := len(a) + len(b)
	for len(a) > 0 && len(b) > 0 {
		switch c := strings.Compare(a[0].Key, b[0].Key); {
		case c < 0:
			a = a[1:]
		case c > 0:
			b = b[1:]
		default:
			n--
			a, b = a[1:], b[1:]
		}
	}
	return n
}

func appendNew(out []Member, m Member, stamp int64) []Member {
	if v := adopt(m.Value, stamp, false); v != nil {
		return append(out, Member{strings.Clone(m.Key), v})
	}
	return out
}

// adopt copies a value out of a patch and stamps it. Members that are null
// vanish, except inside an array, which is copied as it is.
func adopt(v *Value, stamp int64, inArray bool) *Value {
	switch v.Kind() {
	case Object:
		v = v.tree()
		members := make([]Member, 0, len(v.members))
		for _, m := range v.members {
			if own := adopt(m.Value, stamp, inArray); own != nil {
				members = append(members, Member{strings.Clone(m.Key), own})
			}
		}
		return newValue(Object, 0, "", members)
	case Array:
		elems := make([]Member, len(v.members))
		for i, m := range v.members {
			elems[i].Value = adopt(m.Value, stamp, true)
		}
		return newValue(Array, stamp, "", elems)
	case Null:
		if inArray {
			return newValue(Null, stamp, "", nil)
		}
		return nil
	case Bool:
		return newValue(Bool, stamp, boolText(v.text == "true"), nil)
	default:
		return newValue(v.Kind(), stamp, strings.Clone(v.text), nil)
	}
}

// boolText returns a constant, so that a Bool keeps no buffer alive.
func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
