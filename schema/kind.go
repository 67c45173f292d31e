package schema

import (
	"strings"
)

// Prefixes of the names of typed shadows.
const (
	AppPrefix    = "app:"
	PolicyPrefix = "collect:"
)

// NodeMember is the member of a classic shadow's section that makes the thing a node.
const NodeMember = "node"

// Kind is what a shadow describes.
type Kind string

// The kinds of shadow. Free shadows are not typed.
const (
	KindNode        Kind = "node"
	KindApplication Kind = "application"
	KindPolicy      Kind = "policy"
	KindFree        Kind = "shadow"
)

// name is what an application or policy may be called: it becomes a directory,
// a cgroup and a log file on the node. With the longest prefix it stays within
// the 64 bytes of a shadow name.
var name = lazily(`^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$`)

// NameRule describes ValidName in words, for error messages.
const NameRule = "1 to 48 of a-z, 0-9 and -, starting and ending with a letter or digit"

// ValidName tells whether n may name an application or a policy.
func ValidName(n string) bool { return name.MatchString(n) }

// KindOf returns the kind of a shadow by its name and, for the typed named
// ones, the name of the application or policy. The classic shadow ("") is
// KindNode; whether the thing really is a node is told by IsNode.
func KindOf(shadowName string) (Kind, string) {
	if shadowName == "" {
		return KindNode, ""
	}
	if n, ok := strings.CutPrefix(shadowName, AppPrefix); ok {
		return KindApplication, n
	}
	if n, ok := strings.CutPrefix(shadowName, PolicyPrefix); ok {
		return KindPolicy, n
	}
	return KindFree, shadowName
}
