package override

import (
	"slices"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// entry is one override. At most one is kept of an application.
type entry struct {
	kind   schema.OverrideKind
	value  *shadow.Value // changed: the merge patch; installed: all of what is wanted; removed: nil
	base   *shadow.Value // what was desired when it was made
	of     uint64        // at that desired version
	ending bool          // installed: it is to go, and not yet gone
	reason string
	by     string
	lease  lease
}

// verdict is what becomes of an override by what is desired now.
type verdict int

const (
	stands   verdict = iota
	moot             // nothing is left of it: it was deleted in the cloud, or the cloud asks for the same
	dormant          // what it is laid over isn't known at the moment
	departed         // it ended, and the cloud has asked for the application meanwhile
)

// lay returns what is wanted of an application on the node. there tells that d is
// known, complete that what isn't known isn't wanted.
func (e *entry) lay(d state.Desired, there, complete bool) (state.Desired, verdict) {
	wanted := there && !d.Deleted
	switch {
	case e.kind == schema.OverrideInstalled:
		return e.layInstalled(d, wanted)
	case !there && !complete:
		return d, dormant
	case !wanted:
		return d, moot
	case e.kind == schema.OverrideRemoved:
		d.Deleted = true
		return d, stands
	}
	value := shadow.Merge(section(d.Value), e.value, 0)
	if shadow.Equal(value, d.Value) && d.DesiredVersion > e.of {
		return d, moot
	}
	d.Value = value
	return d, stands
}

func (e *entry) layInstalled(d state.Desired, wanted bool) (state.Desired, verdict) {
	asked := wanted && d.Value != nil
	switch {
	case e.ending && asked:
		return d, departed
	case e.ending:
		d.Deleted, d.Value = true, nil
		return d, stands
	case asked && shadow.Equal(d.Value, e.value):
		return d, moot
	}
	if !asked {
		d.DesiredVersion = 0
	}
	d.Deleted, d.Value = false, e.value
	return d, stands
}

// section is what is desired, {} when that is nothing.
func section(v *shadow.Value) *shadow.Value {
	if v == nil {
		return shadow.NewObject()
	}
	return v
}

// differing are the paths at which two sections differ, those of what only one
// has included.
func differing(a, b *shadow.Value) []string {
	return shadow.Paths(shadow.PatchBetween(section(a), section(b)))
}

// told is the override as it is reported, over what the cloud desires now.
func (e *entry) told(d state.Desired, effective *shadow.Value) schema.Override {
	o := schema.Override{Kind: e.kind, Reason: e.reason, By: e.by, Base: e.of, At: e.lease.At, Until: e.lease.Ends}
	switch {
	case e.kind == schema.OverrideRemoved:
		o.Conflicts = differing(e.base, d.Value)
	case e.kind == schema.OverrideInstalled && d.Value == nil:
	default:
		o.Paths = differing(d.Value, effective)
		changed := schema.Override{Kind: schema.OverrideChanged, Paths: differing(e.base, d.Value)}
		for _, p := range o.Paths {
			if changed.Covers(p) {
				o.Conflicts = append(o.Conflicts, p)
			}
		}
	}
	o.Paths = o.Paths[:min(len(o.Paths), schema.MaxOverridePaths)]
	o.Conflicts = slices.Clip(o.Conflicts[:min(len(o.Conflicts), schema.MaxOverridePaths)])
	return o
}
