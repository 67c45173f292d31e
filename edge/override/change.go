package override

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// Documented failures; test with errors.Is. What is wrong with what an application
// shall be is a *schema.Error.
var (
	ErrUnknown  = errors.New("no such application")
	ErrExists   = errors.New("there is such an application already")
	ErrRemoved  = errors.New("the application is taken off the node by an override")
	ErrLease    = errors.New("bad lease")
	ErrDisabled = errors.New("this node takes no changes on the node itself (--override-limit 0)")
	ErrNone     = errors.New("no override")
	ErrLimit    = errors.New("over the limit")
	ErrMade     = errors.New("nothing to change: it is so already")
)

// Action is what is to become of an application.
type Action string

// The actions.
const (
	Patch   Action = "patch"   // Value is a merge patch over what is wanted of it
	Replace Action = "replace" // Value is all that is wanted of it
	Install Action = "install" // the same, of one that isn't there
	Remove  Action = "remove"  // it is taken off the node
)

// Change is what somebody on the node wants of an application.
type Change struct {
	Do     Action
	App    string
	Value  *shadow.Value // nil with Remove
	Reason string        // "": that of the override that it goes into
	By     string
	For    time.Duration // 0: what is left of the override that it goes into, or else DefaultLease
}

// Told is an override as it is told on the node.
type Told struct {
	Name string `json:"name"`
	schema.Override
	Left   schema.Duration `json:"left"`
	Ending bool            `json:"ending,omitempty"` // it is over, and what was installed is going
	Value  json.RawMessage `json:"value,omitempty"`  // the merge patch, or all that is wanted of what is installed
}

// Make changes what is wanted of an application. A further change goes into the
// override there is; one that comes to what the cloud desires ends it, and the
// Told has no Kind then. Of what was installed on the node nothing is left when it
// is removed, one of the cloud's comes back when the override ends. What isn't
// valid changes nothing.
func (l *Layer) Make(c Change) (Told, error) {
	l.disk.Lock()
	defer l.disk.Unlock()
	was, next, err := l.judge(c)
	switch {
	case err != nil:
		return Told{}, err
	case next == nil:
		return Told{Name: c.App}, l.clear(c.App)
	}
	told, err := l.enter(c, was, next)
	if err == nil && next.kind == schema.OverrideInstalled {
		l.cfg.Holder.Keep(schema.AppPrefix + c.App)
	}
	return told, err
}

// Check tells what is wrong with a change, and makes none.
func (l *Layer) Check(c Change) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	_, _, err := l.judge(c)
	return err
}

// judge decides what a change makes of an override; nil ends it.
func (l *Layer) judge(c Change) (was, next *entry, err error) {
	was, d, err := l.open(c)
	if err != nil {
		return nil, nil, err
	}
	wanted := d.Name != "" && !d.Deleted
	removed := was != nil && was.kind == schema.OverrideRemoved
	installed := was != nil && was.kind == schema.OverrideInstalled
	switch {
	case c.Do == Remove && installed:
		return was, nil, nil
	case c.Do == Remove && removed && c.For == 0:
		return nil, nil, fmt.Errorf("%w: %s", ErrMade, c.App)
	case !wanted && !installed && c.Do != Install:
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknown, c.App)
	case c.Do == Remove:
		return was, &entry{kind: schema.OverrideRemoved, base: section(d.Value), of: d.DesiredVersion}, nil
	case removed:
		return nil, nil, fmt.Errorf("%w: %s", ErrRemoved, c.App)
	case c.Do == Install && (wanted || installed):
		return nil, nil, fmt.Errorf("%w: %s", ErrExists, c.App)
	case c.Do == Install:
		return nil, &entry{kind: schema.OverrideInstalled, value: c.Value}, check(c.App, c.Value)
	}
	next, err = change(c, was, d)
	return was, next, err
}

// change lays a change over the override there is.
func change(c Change, was *entry, d state.Desired) (*entry, error) {
	old, next := section(d.Value), entry{kind: schema.OverrideChanged, base: section(d.Value), of: d.DesiredVersion}
	if was != nil {
		effective, _ := was.lay(d, d.Name != "", true)
		old, next = section(effective.Value), *was
		if len(was.told(d, old).Conflicts) == 0 {
			next.base, next.of = section(d.Value), d.DesiredVersion
		}
	}
	wanted := c.Value
	if c.Do == Patch {
		wanted = shadow.Merge(old, c.Value, 0)
	}
	if wanted.Get("state").Text() == string(schema.StateRunning) && d.Value != nil && d.Value.Get("state") == nil {
		wanted = without(wanted, "state") // which says the same
	}
	if shadow.Equal(wanted, old) && c.For == 0 {
		return nil, fmt.Errorf("%w: %s", ErrMade, c.App)
	}
	if err := check(c.App, wanted); err != nil {
		return nil, err
	}
	next.value = wanted
	if next.kind == schema.OverrideInstalled {
		return &next, nil
	}
	if next.value = shadow.PatchBetween(section(d.Value), wanted); next.value != nil {
		return &next, nil
	}
	if was == nil {
		return nil, fmt.Errorf("%w: %s", ErrMade, c.App)
	}
	return nil, nil
}

// without is an object without a member.
func without(v *shadow.Value, key string) *shadow.Value {
	var members []shadow.Member
	for k, m := range v.Members() {
		if k != key {
			members = append(members, shadow.Member{Key: k, Value: m})
		}
	}
	return shadow.NewObject(members...)
}

// Clear ends the override of an application now.
func (l *Layer) Clear(app string) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if _, e := l.of(schema.AppPrefix + app); e == nil || e.ending {
		return fmt.Errorf("%w: of %s", ErrNone, app)
	}
	return l.clear(app)
}

func (l *Layer) clear(app string) error {
	_, e := l.of(schema.AppPrefix + app)
	if err := l.end(app, e); err != nil {
		return err
	}
	l.cfg.Log.Info("override ended on the node", "app", app)
	signal(l.changed)
	return nil
}

// All returns the overrides, by name.
func (l *Layer) All() []Told {
	entries := l.all()
	all := make([]Told, 0, len(entries))
	for _, app := range slices.Sorted(maps.Keys(entries)) {
		all = append(all, l.tell(app, entries[app]))
	}
	return all
}

func (l *Layer) tell(app string, e *entry) Told {
	now := l.cfg.Clock()
	o, _ := l.told(schema.AppPrefix+app, e)
	left := e.lease.at(now).left(now).Round(time.Second)
	t := Told{Name: app, Override: o, Left: schema.Duration(left), Ending: e.ending}
	if e.value != nil {
		t.Value = e.value.AppendJSON(nil)
	}
	return t
}

// open checks a change and finds what it is about; d has no name when the cloud
// says nothing of it.
func (l *Layer) open(c Change) (e *entry, d state.Desired, err error) {
	switch {
	case l.cfg.Limit <= 0:
		return nil, d, ErrDisabled
	case !schema.ValidName(c.App):
		return nil, d, fmt.Errorf("%w: %q: a name is %s", ErrUnknown, c.App, schema.NameRule)
	case c.For != 0 && (c.For < MinLease || c.For > l.cfg.Limit):
		return nil, d, fmt.Errorf("%w: %s; this node grants %s to %s (--override-limit)", ErrLease, c.For, MinLease, l.cfg.Limit)
	case len(c.Reason) > schema.MaxReason:
		return nil, d, fmt.Errorf("%w: the reason has %d bytes, %d are the limit", ErrLimit, len(c.Reason), schema.MaxReason)
	case len(c.By) > schema.MaxBy:
		return nil, d, fmt.Errorf("%w: who it is has %d bytes, %d are the limit", ErrLimit, len(c.By), schema.MaxBy)
	}
	all, _ := l.cfg.Below.Desired()
	d, there := find(all, schema.AppPrefix+c.App)
	if !there {
		d.Name = ""
	}
	_, e = l.of(schema.AppPrefix + c.App)
	switch {
	case e == nil || !e.ending:
	case !there:
		return nil, d, fmt.Errorf("%w: %s is just being removed", ErrUnknown, c.App)
	default: // the cloud has asked for it meanwhile
		e = nil
	}
	return e, d, nil
}

// check tells what is wrong with what an application shall be.
func check(app string, wanted *shadow.Value) error {
	if n := len(wanted.AppendJSON(nil)); n > maxValue {
		return fmt.Errorf("%w: what %s shall be has %d bytes, %d are the limit", ErrLimit, app, n, maxValue)
	}
	_, err := schema.ParseApplication(wanted.AppendJSON(nil))
	return err
}

// enter puts an override in force in the place of the one there was.
func (l *Layer) enter(c Change, was, next *entry) (Told, error) {
	if n := len(l.all()); was == nil && n >= MaxOverrides {
		return Told{}, fmt.Errorf("%w: %d overrides are in force on this node, which is the limit; end one with gnomon-edge override clear", ErrLimit, n)
	}
	now := l.cfg.Clock()
	next.reason, next.by = c.Reason, c.By
	if was != nil && c.Reason == "" {
		next.reason = was.reason
	}
	switch {
	case c.For != 0:
		next.lease = grant(c.For, now)
	case was != nil:
		next.lease = was.lease.at(now)
	default:
		next.lease = grant(min(DefaultLease, l.cfg.Limit), now)
	}
	if err := l.put(c.App, next); err != nil {
		return Told{}, err
	}
	l.cfg.Log.Info("override", "kind", string(next.kind), "app", c.App, "by", next.by, "reason", next.reason, "until", next.lease.Ends)
	signal(l.changed)
	signal(l.kick)
	return l.tell(c.App, next), nil
}
