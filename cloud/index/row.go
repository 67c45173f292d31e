package index

import (
	"cmp"
	"strings"
	"unicode/utf8"
	"unique"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

// MaxText is how many bytes of a string the index keeps. Phases and error codes
// come from devices, and no device's imagination may fill the memory.
const MaxText = 256

// text is a string that many rows have in common, kept once for as long as
// anybody has it.
type text = unique.Handle[string]

var none = unique.Make("")

// intern cuts and keeps s. old, which most often is the same, saves the lookup.
func intern(s string, old text) text {
	if len(s) > MaxText {
		end := MaxText
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	if old != (text{}) && old.Value() == s {
		return old
	}
	return unique.Make(s)
}

// thing is what the rows of one thing have in common.
type thing struct {
	name   string
	site   text
	labels []labelled // in order of their names
	node   bool
}

type labelled struct{ name, value text }

func (t *thing) label(name text) (text, bool) {
	for _, l := range t.labels {
		if l.name == name {
			return l.value, true
		}
	}
	return none, false
}

// row is what the index knows of one shadow.
type row struct {
	thing     *thing
	shadow    text // its name, "" for the classic one
	phase     text
	component text
	fault     text // the error's code
	version   uint64
	desired   uint64 // the version at which desired last changed
	observed  uint64
	since     int64 // second at which it stopped being converged; 0 when it has
	kind      kind
	converged bool
}

// kind is a schema.Kind in one byte.
type kind uint8

const (
	free kind = iota
	node
	application
	policy
)

var kinds = [...]schema.Kind{free: schema.KindFree, node: schema.KindNode, application: schema.KindApplication, policy: schema.KindPolicy}

// name is what the shadow is called among those of its kind.
func (r *row) name() string {
	if r.kind == node {
		return r.thing.name
	}
	_, n := schema.KindOf(r.shadow.Value())
	return n
}

func (r *row) key() store.Key { return store.Key{Thing: r.thing.name, Shadow: r.shadow.Value()} }

// is tells whether the row is that of a key. Whoever tells of commits does it with
// the same strings every time, which need not be looked into.
func (r *row) is(k store.Key) bool { return r.thing.name == k.Thing && r.shadow.Value() == k.Shadow }

func (r *row) compare(k store.Key) int {
	if c := strings.Compare(r.thing.name, k.Thing); c != 0 {
		return c
	}
	return strings.Compare(r.shadow.Value(), k.Shadow)
}

// facts is what a document says that the index keeps.
type facts struct {
	key     store.Key
	version uint64
	deleted bool
	kind    kind
	status  schema.Status
	doc     *shadow.Document
	since   int64 // by the document alone; 0 when converged
}

func factsOf(key store.Key, d *shadow.Document) facts {
	f := facts{key: key, version: d.Version, deleted: !d.Exists(), doc: d}
	if f.deleted {
		return f
	}
	f.status = schema.StatusOf(key.Shadow, d)
	f.kind = kindOf(key.Shadow, schema.IsNode(d))
	if !f.status.Converged {
		f.since = pendingSince(d, f.status)
	}
	return f
}

// fill writes the facts into a row, which may hold those of an earlier version.
func (f *facts) fill(r *row) {
	fresh := r.version == 0
	wasPending := !fresh && !r.converged
	desired, reported := f.doc.Desired, f.doc.Reported
	if fresh {
		r.shadow = intern(f.key.Shadow, none)
	}
	r.kind, r.version, r.desired, r.observed = f.kind, f.version, f.doc.DesiredVersion, f.status.ObservedVersion
	r.phase = intern(f.status.Phase, r.phase)
	code := ""
	if f.status.Fault != nil {
		code = cmp.Or(f.status.Fault.Code, "unknown") // an error without a code is one nevertheless
	}
	r.fault = intern(code, r.fault)
	component := ""
	if f.kind == application {
		component = cmp.Or(desired.Get("component").Text(), reported.Get("component").Text())
	}
	r.component = intern(component, r.component)
	r.converged = f.status.Converged
	switch {
	case r.converged:
		r.since = 0
	case fresh:
		r.since = f.since
	case !wasPending:
		r.since = f.doc.Timestamp
	}
	if f.key.Shadow == "" {
		f.fillThing(r.thing)
	}
}

// fillThing takes what the classic shadow says of the whole thing.
func (f *facts) fillThing(t *thing) {
	said := f.doc.Desired.Get(schema.NodeMember)
	t.node = f.kind == node
	t.site = intern(said.Get("site").Text(), t.site)
	labels := said.Get("labels")
	if labels.Len() != len(t.labels) {
		t.labels = make([]labelled, min(labels.Len(), schema.MaxLabels))
	}
	i := 0
	for name, v := range labels.Members() {
		if i == len(t.labels) {
			break
		}
		l := &t.labels[i]
		l.name, l.value = intern(name, l.name), intern(v.Text(), l.value)
		i++
	}
	t.labels = t.labels[:i]
}

// clear takes away what the classic shadow had said.
func (t *thing) clear() { t.site, t.labels, t.node = none, nil, false }

// pendingSince tells from a document alone since when it has not converged: since
// the oldest value that is not applied was asked for; else since desired changed,
// when nobody has acted on it; else since the phase or error was reported.
func pendingSince(d *shadow.Document, s schema.Status) int64 {
	if oldest := stamp(d.Delta(), older); oldest != 0 {
		return oldest
	}
	since := int64(0)
	if s.ObservedVersion < d.DesiredVersion {
		since = stamp(d.Desired, newer)
	} else {
		since = max(d.Reported.Get("phase").Stamp(), stamp(d.Reported.Get("error"), older))
	}
	if since == 0 {
		return d.Timestamp
	}
	return since
}

func older(a, b int64) bool { return a < b }
func newer(a, b int64) bool { return a > b }

// stamp returns the stamp of v's leaves that comes first by before; 0 without leaves.
func stamp(v *shadow.Value, before func(a, b int64) bool) int64 {
	if v.Kind() != shadow.Object {
		return v.Stamp()
	}
	best := int64(0)
	for _, m := range v.Members() {
		if s := stamp(m, before); s != 0 && (best == 0 || before(s, best)) {
			best = s
		}
	}
	return best
}

// thingNamed returns a thing with nothing known of it.
func thingNamed(name string) *thing { return &thing{name: name, site: none} }
