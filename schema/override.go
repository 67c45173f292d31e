package schema

import (
	"strings"
	"time"

	"gnomon/shadow"
)

// OverrideMember is the member of an application's reported section that has the Override.
const OverrideMember = "override"

// CodeOverridden is the code of a receipt whose value a site override holds back, and of the blocker that tells of it.
const CodeOverridden = "overridden"

// OverrideKind is what somebody on the node did.
type OverrideKind string

// The kinds of override.
const (
	OverrideChanged   OverrideKind = "changed"   // some of what is desired is something else on the node
	OverrideInstalled OverrideKind = "installed" // the application is only on the node; the cloud doesn't ask for it
	OverrideRemoved   OverrideKind = "removed"   // the application is desired, and taken off the node
)

// Override is a site override as a node reports it: what somebody on the node made
// of an application, for a time. It yields when that is over.
type Override struct {
	Kind      OverrideKind `json:"kind"`
	Reason    string       `json:"reason"`
	By        string       `json:"by"`
	At        time.Time    `json:"at"`                  // it was made, by the node's clock
	Until     time.Time    `json:"until"`               // it ends, by the node's clock
	Base      uint64       `json:"base"`                // the desired version it was laid over; 0: none
	Paths     []string     `json:"paths,omitempty"`     // what differs from desired, sorted, as in shadow.Paths; at most MaxOverridePaths
	Conflicts []string     `json:"conflicts,omitempty"` // what the cloud has changed of that since, and is not applied
}

// Limits of an override, in paths and in bytes.
const (
	MaxOverridePaths = 64
	MaxReason        = 256
	MaxBy            = 64
)

// Value is the override as it is reported.
func (o Override) Value() *shadow.Value {
	members := []shadow.Member{
		{Key: "kind", Value: shadow.Text(string(o.Kind))},
		{Key: "reason", Value: shadow.Text(o.Reason)},
		{Key: "by", Value: shadow.Text(o.By)},
		{Key: "at", Value: shadow.Text(o.At.UTC().Truncate(time.Second).Format(time.RFC3339))},
		{Key: "until", Value: shadow.Text(o.Until.UTC().Truncate(time.Second).Format(time.RFC3339))},
		{Key: "base", Value: shadow.Uint(o.Base)},
	}
	for _, list := range []struct {
		key   string
		paths []string
	}{{"paths", o.Paths}, {"conflicts", o.Conflicts}} {
		if len(list.paths) == 0 {
			continue
		}
		var elems []*shadow.Value
		for _, p := range list.paths[:min(len(list.paths), MaxOverridePaths)] {
			elems = append(elems, shadow.Text(p))
		}
		members = append(members, shadow.Member{Key: list.key, Value: shadow.NewArray(elems...)})
	}
	return shadow.NewObject(members...)
}

// OverrideOf reads the override of an application's reported section. What isn't
// as an edge of ours reports it is left out; without a kind there is none.
func OverrideOf(reported *shadow.Value) (o Override, ok bool) {
	v := reported.Get(OverrideMember)
	switch o.Kind = OverrideKind(v.Get("kind").Text()); o.Kind {
	case OverrideChanged, OverrideInstalled, OverrideRemoved:
	default:
		return Override{}, false
	}
	o.Reason, o.By, o.Base = clipped(v.Get("reason"), MaxReason), clipped(v.Get("by"), MaxBy), number(v.Get("base"))
	o.At, o.Until = instantOf(v.Get("at")), instantOf(v.Get("until"))
	o.Paths, o.Conflicts = pathsOf(v.Get("paths")), pathsOf(v.Get("conflicts"))
	return o, true
}

// clipped is a text of at most so many bytes.
func clipped(v *shadow.Value, most int) string {
	if s := v.Text(); len(s) > most {
		return strings.ToValidUTF8(s[:most], "")
	}
	return v.Text()
}

func instantOf(v *shadow.Value) time.Time {
	t, err := time.Parse(time.RFC3339, v.Text())
	if err != nil {
		return time.Time{}
	}
	return t
}

func pathsOf(v *shadow.Value) (all []string) {
	if v.Kind() != shadow.Array {
		return nil
	}
	for _, e := range v.Members() {
		if len(all) == MaxOverridePaths {
			break
		}
		if e.Kind() == shadow.String {
			all = append(all, clipped(e, maxPathText))
		}
	}
	return all
}

// maxPathText bounds one path of a list, which a device may have filled with anything.
const maxPathText = 256

// Covers tells whether the override holds back the value at a path.
func (o Override) Covers(path string) bool {
	return o.Kind == OverrideRemoved || overlaps(o.Paths, path)
}

// overlaps tells whether a path is one of the list, lies below one, or above one.
func overlaps(list []string, path string) bool {
	for _, p := range list {
		if p == path || strings.HasPrefix(path, p+".") || strings.HasPrefix(p, path+".") {
			return true
		}
	}
	return false
}

// Text says in a sentence what the override is.
func (o Override) Text() string {
	var b strings.Builder
	switch o.Kind {
	case OverrideInstalled:
		b.WriteString("installed on the node")
	case OverrideRemoved:
		b.WriteString("taken off the node")
	default:
		b.WriteString("overridden on the node")
	}
	if o.By != "" {
		b.WriteString(" by " + o.By)
	}
	if !o.Until.IsZero() {
		b.WriteString(" until " + o.Until.UTC().Format(time.RFC3339))
	}
	if o.Reason != "" {
		b.WriteString(": " + o.Reason)
	}
	if len(o.Conflicts) > 0 {
		const most = 3
		b.WriteString("; the cloud has asked for something else since: " + strings.Join(o.Conflicts[:min(most, len(o.Conflicts))], ", "))
		if len(o.Conflicts) > most {
			b.WriteString(", …")
		}
	}
	return b.String()
}
