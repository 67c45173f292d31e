package schema

import (
	"regexp"
	"sync" //nolint:depguard // values that are computed once, not locks around ones that change
)

// pattern is a regular expression that is compiled when it is first asked for:
// the shim of every workload links this package and asks for few.
type pattern func() *regexp.Regexp

func lazily(expr string) pattern {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// MatchString tells whether a text matches.
func (p pattern) MatchString(s string) bool { return p().MatchString(s) }
