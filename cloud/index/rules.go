package index

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gnomon/schema"
)

const allKeys = "site, phase, kind, name, node, component, converged, pendingFor, error, label.<name>, desired.<path>, reported.<path> or a label's name"

// rule is what a field may be asked.
type rule struct {
	ops    []Op
	values []string                      // all there are; nil: any
	parse  func(string) (float64, error) // what > and its like compare; nil: they aren't allowed
}

var (
	textOps    = []Op{Equal, NotEqual, In, NotIn, Prefix, Exists, Absent}
	numericOps = []Op{Greater, AtLeast, Less, AtMost}
	openOps    = append(slices.Clip(textOps), numericOps...)
)

var rules = map[Field]rule{
	Label:      {ops: openOps, parse: parseNumber},
	Desired:    {ops: openOps, parse: parseNumber},
	Reported:   {ops: openOps, parse: parseNumber},
	Site:       {ops: textOps},
	Phase:      {ops: textOps},
	Name:       {ops: textOps},
	Node:       {ops: textOps},
	Component:  {ops: textOps},
	Fault:      {ops: textOps},
	Kind:       {ops: []Op{Equal, NotEqual, In, NotIn}, values: []string{string(schema.KindNode), string(schema.KindApplication), string(schema.KindPolicy), string(schema.KindFree)}},
	Converged:  {ops: []Op{Equal, NotEqual, Exists, Absent}, values: []string{"true", "false"}},
	PendingFor: {ops: append(slices.Clip(numericOps), Exists, Absent), parse: parseAge},
}

func (r rule) takes(op Op) bool { return slices.Contains(r.ops, op) }

func (r rule) operators() string {
	words := make([]string, len(r.ops))
	for i, op := range r.ops {
		switch op {
		case Exists:
			words[i] = "the key alone"
		case Absent:
			words[i] = "! before the key"
		default:
			words[i] = string(op)
		}
	}
	return strings.Join(words, ", ")
}

// check tells what is wrong with a value, and what would be right; "" for nothing.
func (r rule) check(op Op, value string) (message, allowed string) {
	switch {
	case r.values != nil && !slices.Contains(r.values, value):
		return fmt.Sprintf("%q is no value of it", value), strings.Join(r.values, ", ")
	case slices.Contains(numericOps, op):
		if _, err := r.parse(value); err != nil {
			return fmt.Sprintf("%q can't be compared by %s", value, op), err.Error()
		}
	case op == Prefix && value == "":
		return "the prefix is empty", "at least one character"
	}
	return "", ""
}

type allowed string

func (a allowed) Error() string { return string(a) }

func parseNumber(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(s, "xX_") {
		return 0, allowed("a number, such as 5 or 0.25")
	}
	return f, nil
}

// parseAge reads a duration as Go writes it, or a number of days, into seconds.
func parseAge(s string) (float64, error) {
	const wanted = allowed("a time from 0s to 3650d, such as 90s, 10m, 1h30m or 2d")
	var d time.Duration
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, wanted
		}
		d = time.Duration(n) * 24 * time.Hour
	} else if parsed, err := time.ParseDuration(s); err != nil {
		return 0, wanted
	} else {
		d = parsed
	}
	if d < 0 || d > 3650*24*time.Hour {
		return 0, wanted
	}
	return d.Seconds(), nil
}

// fieldOf reads a key.
func (p *parser) fieldOf(key string, at int) (Field, string, error) {
	field, name, named := strings.Cut(key, ".")
	switch f := Field(field); f {
	case Label:
		if named {
			return p.labelOf(name, at)
		}
		return "", "", p.failAt(at, "label needs the name of one", "label.<name>")
	case Desired, Reported:
		if message := checkPath(name); message != "" {
			return "", "", p.failAt(at, fmt.Sprintf("the path of %q %s", key, message), field+".<path>, such as "+field+".run.env.ZONE")
		}
		return f, name, nil
	}
	if _, ok := rules[Field(key)]; ok {
		return Field(key), "", nil
	}
	for known := range rules {
		if strings.EqualFold(string(known), key) {
			return "", "", p.failAt(at, fmt.Sprintf("%q is no key", key), fmt.Sprintf("%s, or label.%s for a label of that name", known, key))
		}
	}
	return p.labelOf(key, at)
}

// labelOf checks a label's name by the rule for those of nodes.
func (p *parser) labelOf(name string, at int) (Field, string, error) {
	alphanumeric := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	ok := len(name) >= 1 && len(name) <= 63 && alphanumeric(name[0])
	for i := 0; ok && i < len(name); i++ {
		ok = alphanumeric(name[i]) || strings.IndexByte("._/-", name[i]) >= 0
	}
	if !ok {
		return "", "", p.failAt(at, fmt.Sprintf("%q is no key and can't be a label", name), allKeys+", which is 1 to 63 of letters, digits and ._/-")
	}
	return Label, name, nil
}

// maxPath bounds a path into a document.
const maxPath = 256

// checkPath refuses paths that would make gjson build new documents: modifiers,
// literals and multipaths. What remains looks, and costs one pass.
func checkPath(path string) string {
	if path == "" {
		return "is empty"
	}
	if len(path) > maxPath {
		return fmt.Sprintf("has more than %d bytes", maxPath)
	}
	for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == '|' }) {
		if strings.ContainsRune("@!{[", rune(part[0])) {
			return fmt.Sprintf("has a part that begins with %q, which selectors don't do", part[0])
		}
	}
	if strings.HasPrefix(path, ".") || strings.HasSuffix(path, ".") || strings.Contains(path, "..") {
		return "has an empty part"
	}
	return ""
}
