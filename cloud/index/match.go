package index

import (
	"slices"
	"strings"
	"time"
	"unique"
)

// matcher is a selector made ready to be asked of many rows.
type matcher struct {
	tests []test
	docs  []Requirement // what only documents can answer
}

// test is one requirement on a row.
type test func(*row) bool

// compile makes a matcher as of a time. Selectors that were not made by
// ParseSelector may ask what makes no sense, and then nothing matches.
func compile(s Selector, now time.Time) matcher {
	m := matcher{}
	for _, r := range s {
		switch r.Field {
		case Desired, Reported:
			m.docs = append(m.docs, r)
		default:
			m.tests = append(m.tests, testOf(r, now))
		}
	}
	return m
}

func (m *matcher) row(r *row) bool {
	for _, t := range m.tests {
		if !t(r) {
			return false
		}
	}
	return true
}

func testOf(r Requirement, now time.Time) test {
	switch r.Field {
	case Converged:
		want := r.Op == Exists || len(r.Values) == 1 && (r.Values[0] == "true") == (r.Op == Equal)
		return func(x *row) bool { return x.converged == want }
	case PendingFor:
		return ageTest(r, now)
	case Kind:
		return kindTest(r)
	case Name, Node:
		return stringTest(r)
	}
	return textTest(r)
}

// ageTest is about what has not converged, for which alone a time runs.
func ageTest(r Requirement, now time.Time) test {
	switch r.Op {
	case Exists:
		return func(x *row) bool { return !x.converged }
	case Absent:
		return func(x *row) bool { return x.converged }
	}
	compare := comparison(r.Op)
	limit, err := parseAge(r.Values[0])
	at := now.Unix()
	return func(x *row) bool { return err == nil && !x.converged && compare(float64(at-x.since), limit) }
}

func kindTest(r Requirement) test {
	var wanted [len(kinds)]bool
	for k, name := range kinds {
		wanted[k] = slices.Contains(r.Values, string(name)) == (r.Op == Equal || r.Op == In)
	}
	return func(x *row) bool { return wanted[x.kind] }
}

// stringTest is for what isn't kept as a text: names.
func stringTest(r Requirement) test {
	holds := holding(r)
	if r.Field == Node {
		return func(x *row) bool { return holds(x.thing.name, true) }
	}
	return func(x *row) bool { n := x.name(); return holds(n, n != "") }
}

// textTest compares texts, most of which need no look at the bytes.
func textTest(r Requirement) test {
	get := getter(r)
	switch r.Op {
	case Equal, In, NotEqual, NotIn:
		wanted := make([]text, len(r.Values))
		for i, v := range r.Values {
			wanted[i] = unique.Make(v)
		}
		positive := r.Op == Equal || r.Op == In
		return func(x *row) bool {
			t, there := get(x)
			return (there && slices.Contains(wanted, t)) == positive
		}
	}
	holds := holding(r)
	return func(x *row) bool {
		t, there := get(x)
		return holds(t.Value(), there)
	}
}

// getter returns what reads a field. Only of labels is an empty one there.
func getter(r Requirement) func(*row) (text, bool) {
	switch r.Field {
	case Label:
		name := unique.Make(r.Name)
		return func(x *row) (text, bool) { return x.thing.label(name) }
	case Site:
		return func(x *row) (text, bool) { return x.thing.site, x.thing.site != none }
	case Phase:
		return func(x *row) (text, bool) { return x.phase, x.phase != none }
	case Component:
		return func(x *row) (text, bool) { return x.component, x.component != none }
	case Fault:
		return func(x *row) (text, bool) { return x.fault, x.fault != none }
	}
	return func(*row) (text, bool) { return none, false }
}

// holding returns what tells whether a requirement holds for a string, or for
// its absence.
func holding(r Requirement) func(s string, there bool) bool {
	switch r.Op {
	case Exists:
		return func(_ string, there bool) bool { return there }
	case Absent:
		return func(_ string, there bool) bool { return !there }
	case Equal, In:
		return func(s string, there bool) bool { return there && slices.Contains(r.Values, s) }
	case NotEqual, NotIn:
		return func(s string, there bool) bool { return !there || !slices.Contains(r.Values, s) }
	case Prefix:
		return func(s string, there bool) bool { return there && strings.HasPrefix(s, r.Values[0]) }
	}
	compare := comparison(r.Op)
	limit, bad := parseNumber(r.Values[0])
	return func(s string, there bool) bool {
		n, err := parseNumber(s)
		return there && err == nil && bad == nil && compare(n, limit)
	}
}

func comparison(op Op) func(a, b float64) bool {
	switch op {
	case Greater:
		return func(a, b float64) bool { return a > b }
	case AtLeast:
		return func(a, b float64) bool { return a >= b }
	case Less:
		return func(a, b float64) bool { return a < b }
	}
	return func(a, b float64) bool { return a <= b }
}
