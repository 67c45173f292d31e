package shadow

import (
	"slices"
	"strings"
)

// Paths returns the sorted paths of v's leaves: keys joined by dots, a dot or
// backslash within a key escaped by a backslash. Empty objects count as leaves.
// The root itself has no path.
func Paths(v *Value) []string {
	var out []string
	eachLeaf(v, func(path string, _ *Value) { out = append(out, path) })
	slices.Sort(out) // "a-b" comes before "a.b", though its key comes after "a"
	return out
}

// Leaves returns v's leaves by path, as Paths has them.
func Leaves(v *Value) map[string]*Value {
	out := make(map[string]*Value)
	eachLeaf(v, func(path string, leaf *Value) { out[path] = leaf })
	return out
}

func eachLeaf(v *Value, f func(path string, leaf *Value)) {
	if v.Kind() != Object {
		return
	}
	for _, m := range v.tree().members {
		walkLeaves(pathEscaper.Replace(m.Key), m.Value, f)
	}
}

func walkLeaves(path string, v *Value, f func(path string, leaf *Value)) {
	if v.Kind() != Object || v.Len() == 0 {
		f(path, v)
		return
	}
	for _, m := range v.tree().members {
		walkLeaves(JoinPath(path, m.Key), m.Value, f)
	}
}

// JoinPath returns the path of a member of what is at path.
func JoinPath(path, key string) string { return path + "." + pathEscaper.Replace(key) }

// RootPath returns the path of a member of the root.
func RootPath(key string) string { return pathEscaper.Replace(key) }

var pathEscaper = strings.NewReplacer(`\`, `\\`, `.`, `\.`)

// splitPath takes a path apart into keys.
func splitPath(path string) []string {
	var keys []string
	var key strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			key.WriteByte(path[i])
		case c == '.':
			keys = append(keys, key.String())
			key.Reset()
		default:
			key.WriteByte(c)
		}
	}
	return append(keys, key.String())
}

// FromLeaves is the reverse of Leaves. A nil leaf becomes Null, which makes the
// result a patch. In such a patch paths may lead through each other, as where a
// leaf takes the place of an object: then a value wins over what is to be removed
// within it, and what is to be removed makes way for values within it.
func FromLeaves(leaves map[string]*Value) *Value {
	root := make(branch)
	for weight := range 3 {
		for path, v := range leaves {
			if weightOf(v) == weight {
				root.add(splitPath(path), v)
			}
		}
	}
	return root.value()
}

// weightOf orders leaves by what they give way to.
func weightOf(v *Value) int {
	switch {
	case v.Kind() == Null:
		return 0
	case v.Kind() == Object && v.Len() == 0:
		return 1
	}
	return 2
}

// branch is an object being made: its members are branches and *Values.
type branch map[string]any

func (b branch) add(keys []string, v *Value) {
	for ; len(keys) > 1; keys = keys[1:] {
		below, ok := b[keys[0]].(branch)
		if !ok {
			below = make(branch)
			b[keys[0]] = below
		}
		b = below
	}
	if _, ok := b[keys[0]].(branch); ok && weightOf(v) < 2 {
		return // it is an object already
	}
	b[keys[0]] = v
}

func (b branch) value() *Value {
	members := make([]Member, 0, len(b))
	for key, m := range b {
		v, _ := m.(*Value)
		if below, ok := m.(branch); ok {
			v = below.value()
		}
		if v == nil {
			v = newValue(Null, 0, "", nil)
		}
		members = append(members, Member{key, v})
	}
	return newValue(Object, 0, "", sortMembers(members))
}
