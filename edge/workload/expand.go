package workload

import (
	"slices"
	"strings"
)

// Names of the variables every workload gets.
const (
	EnvApp      = "GNOMON_APP"
	EnvInstance = "GNOMON_INSTANCE"
	EnvData     = "GNOMON_DATA"
	EnvFiles    = "GNOMON_FILES"
)

// DefaultPath is PATH unless the Spec sets it.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// MergeEnv lays lists of NAME=value over each other: the last of a name wins and
// keeps the place of the first.
func MergeEnv(lists ...[]string) []string {
	var merged []string
	at := map[string]int{}
	for _, e := range slices.Concat(lists...) {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			merged[i] = e
			continue
		}
		at[name] = len(merged)
		merged = append(merged, e)
	}
	return merged
}

// Getenv returns the value of a name in a list of NAME=value.
func Getenv(env []string, name string) (string, bool) {
	for _, e := range slices.Backward(env) {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// Expand replaces $(NAME) by the variable's value. An unknown name is left as it
// stands, and $$(NAME) yields $(NAME).
func Expand(s string, env []string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "$(")
		if i < 0 {
			break
		}
		end := strings.IndexByte(s[i:], ')')
		if end < 0 {
			break
		}
		name, whole := s[i+2:i+end], s[i:i+end+1]
		switch v, ok := Getenv(env, name); {
		case i > 0 && s[i-1] == '$':
			b.WriteString(s[:i-1] + whole)
		case ok:
			b.WriteString(s[:i] + v)
		default:
			b.WriteString(s[:i] + whole)
		}
		s = s[i+end+1:]
	}
	b.WriteString(s)
	return b.String()
}
