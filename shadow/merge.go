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
	switch patch.Kind() {
	case Null:
		return nil
	case Object:
		if base.Kind() == Object {
			return mergeObjects(base, patch, stamp)
		}
		return adopt(patch, stamp)
	default:
		return adopt(patch, stamp)
	}
}

// mergeObjects joins two sorted lists of members.
func mergeObjects(base, patch *Value, stamp int64) *Value {
	if len(patch.members) == 0 {
		return base
	}
	out := make([]Member, 0, len(base.members)+len(patch.members))
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

func appendNew(out []Member, m Member, stamp int64) []Member {
	if v := Merge(nil, m.Value, stamp); v != nil {
		return append(out, Member{strings.Clone(m.Key), v})
	}
	return out
}

// adopt copies a value out of a patch: stamped, without the nulls of objects.
func adopt(v *Value, stamp int64) *Value {
	switch v.Kind() {
	case Object:
		members := make([]Member, 0, len(v.members))
		for _, m := range v.members {
			members = appendNew(members, m, stamp)
		}
		return newValue(Object, 0, "", members)
	case Array:
		members := make([]Member, len(v.members))
		for i, m := range v.members {
			if m.Value.Kind() != Null {
				m.Value = adopt(m.Value, stamp)
			}
			members[i] = m
		}
		return newValue(Array, stamp, "", members)
	case Bool:
		return newValue(Bool, stamp, boolText(v.text == "true"), nil)
	case Null:
		return nil
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
