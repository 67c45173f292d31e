package override

import (
	"maps"
	"slices"
	"strings"
	"time"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// Desired returns what is wanted on the node: what the cloud desires, with the
// overrides laid over it.
func (l *Layer) Desired() (all []state.Desired, complete bool) {
	below, complete := l.cfg.Below.Desired()
	entries := l.all()
	if len(entries) == 0 {
		return below, complete
	}
	all = make([]state.Desired, 0, len(below)+len(entries))
	for _, d := range below {
		if kind, app := schema.KindOf(d.Name); kind == schema.KindApplication && entries[app] != nil {
			d, _ = entries[app].lay(d, true, complete)
			delete(entries, app)
		}
		all = append(all, d)
	}
	for app, e := range entries { // what the cloud says nothing of
		if d, v := e.lay(state.Desired{Name: schema.AppPrefix + app}, false, complete); v == stands {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b state.Desired) int { return strings.Compare(a.Name, b.Name) })
	return all, complete
}

// Wanted returns what the cloud desires of an application, and what is wanted of it
// on the node; nil is nothing.
func (l *Layer) Wanted(app string) (desired, wanted *shadow.Value) {
	below, _ := l.cfg.Below.Desired()
	if d, there := find(below, schema.AppPrefix+app); there && !d.Deleted {
		desired = d.Value
	}
	all, _ := l.Desired()
	if d, there := find(all, schema.AppPrefix+app); there && !d.Deleted {
		wanted = d.Value
	}
	return desired, wanted
}

// Changed signals that Desired may give something else. It is a level, and needs Run.
func (l *Layer) Changed() <-chan struct{} { return l.changed }

// Report passes a report on. That of an application that is overridden says so,
// and that of the node says which ones are.
func (l *Layer) Report(shadowName string, v *shadow.Value) {
	switch _, e := l.of(shadowName); {
	case shadowName == "":
		v = l.tellNode(v)
	case e != nil:
		o, _ := l.told(shadowName, e)
		v = shadow.Merge(v, shadow.NewObject(
			shadow.Member{Key: schema.OverrideMember, Value: o.Value()},
			shadow.Member{Key: schema.BlockersMember, Value: withBlocker(v, o)},
		), 0)
	}
	l.cfg.Below.Report(shadowName, v)
}

// told is what is reported of an override, and the verdict on it.
func (l *Layer) told(shadowName string, e *entry) (schema.Override, verdict) {
	below, complete := l.cfg.Below.Desired()
	d, there := find(below, shadowName)
	effective, v := e.lay(d, there, complete)
	if d.Deleted {
		d.Value = nil
	}
	return e.told(d, effective.Value), v
}

// tellNode adds the overridden applications to the report of the node, each with
// the end of its lease.
func (l *Layer) tellNode(v *shadow.Value) *shadow.Value {
	entries := l.all()
	if len(entries) == 0 || v.Get(schema.NodeMember) == nil {
		return v
	}
	var members []shadow.Member
	for _, app := range slices.Sorted(maps.Keys(entries)) {
		until := entries[app].lease.Ends.UTC().Truncate(time.Second).Format(time.RFC3339)
		members = append(members, shadow.Member{Key: app, Value: shadow.Text(until)})
	}
	return shadow.Merge(v, shadow.NewObject(shadow.Member{Key: schema.NodeMember, Value: shadow.NewObject(
		shadow.Member{Key: "overrides", Value: shadow.NewObject(members...)})}), 0)
}

// withBlocker appends the override to what an application waits for.
func withBlocker(reported *shadow.Value, o schema.Override) *shadow.Value {
	all := schema.BlockersOf(reported)
	all = all[:min(len(all), schema.MaxBlockers-1)]
	return append(all, schema.Blocker{Code: schema.CodeOverridden, Message: o.Text(), Until: o.Until}).Value()
}

// Gone forgets what nothing is left of on the node.
func (l *Layer) Gone(shadowName string) error {
	app, e := l.of(shadowName)
	switch {
	case e == nil:
		return l.cfg.Below.Gone(shadowName)
	case e.kind == schema.OverrideRemoved:
		// Of the cloud's it is the node's part alone that is gone.
		l.Report(shadowName, shadow.NewObject(shadow.Member{Key: "phase", Value: shadow.Text(schema.PhasePending)}))
		return nil
	case e.kind == schema.OverrideInstalled && e.ending:
		l.disk.Lock()
		defer l.disk.Unlock()
		if err := l.cfg.Holder.Withdraw(shadowName); err != nil {
			return err
		}
		return l.drop(app)
	}
	return nil
}
