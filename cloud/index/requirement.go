package index

import (
	"strings"
)

// Op is how a requirement compares.
type Op string

// The operators.
const (
	Exists   Op = "exists" // written as the key alone
	Absent   Op = "!"      // written before the key
	Equal    Op = "="
	NotEqual Op = "!="
	In       Op = "in"
	NotIn    Op = "notin"
	Prefix   Op = "^="
	Greater  Op = ">"
	AtLeast  Op = ">="
	Less     Op = "<"
	AtMost   Op = "<="
)

// Field is what a requirement looks at.
type Field string

// The fields. Label, Desired and Reported have a name: that of the label, or
// the path within the section.
const (
	Label      Field = "label"
	Site       Field = "site"
	Phase      Field = "phase"
	Kind       Field = "kind"
	Name       Field = "name"
	Node       Field = "node"
	Component  Field = "component"
	Converged  Field = "converged"
	PendingFor Field = "pendingFor"
	Fault      Field = "error"
	Desired    Field = "desired"
	Reported   Field = "reported"
)

// Requirement is one condition of a selector.
type Requirement struct {
	Field  Field
	Name   string // of the label, or the path; "" for other fields
	Op     Op
	Values []string // none for Exists and Absent, one or more for In and NotIn, else one
}

// Selector is a conjunction. The zero Selector selects everything.
type Selector []Requirement

// Indexed tells whether the index alone can answer; else documents must be read.
func (s Selector) Indexed() bool {
	for _, r := range s {
		if r.Field == Desired || r.Field == Reported {
			return false
		}
	}
	return true
}

// String returns the selector in its canonical form, which parses to the same.
func (s Selector) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// String returns the requirement as it is written.
func (r Requirement) String() string {
	key := string(r.Field)
	if r.Name != "" {
		key += "." + r.Name
	}
	key = quoted(key, bareKey)
	switch r.Op {
	case Exists:
		return key
	case Absent:
		return "!" + key
	case In, NotIn:
		values := make([]string, len(r.Values))
		for i, v := range r.Values {
			values[i] = quoted(v, bareValue)
		}
		return key + " " + string(r.Op) + " (" + strings.Join(values, ",") + ")"
	}
	return key + string(r.Op) + quoted(r.Values[0], bareValue)
}

// quoted puts quotes around what can't stand bare.
func quoted(s string, bare func(rune) bool) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !bare(r) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
