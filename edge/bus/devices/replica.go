package devices

import (
	"time"

	"gnomon/shadow"
)

// key names a shadow.
type key struct{ thing, name string }

// replica is one shadow: as it is on the node, and what is known of the cloud's.
type replica struct {
	key
	doc *shadow.Document // never nil; its version is the node's own

	cloud    side
	deleting bool  // deleted on the node, which the cloud has yet to be told
	sent     *sent // desired as it was last sent, until it is known what became of it

	// The rest lasts as long as the process.
	known     bool          // the cloud has said how it is since the last connection, or needs not to
	ready     chan struct{} // closed when it becomes known; nil if nobody waits
	flight    *flight
	ask       bool      // its present version has to be asked for before desired is sent
	notBefore time.Time // of the next request
	tries     int       // requests since the last that was accepted
	stale     int       // of those, refused as stale
	refused   *refusal
}

// side is the cloud's side of a shadow, as far as it is known.
type side struct {
	version        uint64        // 0: it isn't known to be there
	desiredVersion uint64        // for the next sync; 0: desired has to be sent again
	desired        *shadow.Value // as of version
	reported       *shadow.Value // acknowledged
	full           bool          // it holds something else: all of reported must be sent
}

// sent is a section that was sent; nil as it may be.
type sent struct{ value *shadow.Value }

// flight is one unanswered request.
type flight struct {
	token   string
	kind    requestKind
	value   *shadow.Value // that the cloud holds if it is accepted
	full    bool
	expires time.Time
}

type requestKind int

const (
	report requestKind = iota
	desire
	remove
	look
)

// refusal is what the cloud will never take as it is.
type refusal struct {
	value   *shadow.Value
	message string
}

// wish is what the node's applications desire beyond the cloud: a merge patch,
// nil if there is nothing.
func (r *replica) wish() *shadow.Value {
	if r.doc.Deleted {
		return nil
	}
	return between(r.cloud.desired, r.doc.Desired)
}

// untold tells whether the cloud is known to lack something of reported.
func (r *replica) untold() bool {
	return !r.doc.Deleted && (r.cloud.full && r.doc.Reported != nil || !shadow.Equal(r.doc.Reported, r.cloud.reported))
}

// pending tells whether the cloud has yet to learn something.
func (r *replica) pending() bool { return r.deleting || r.untold() || r.wish() != nil }

// between is the patch that leads from one section to another; nil if they are equal.
func between(from, to *shadow.Value) *shadow.Value {
	if shadow.Equal(from, to) {
		return nil
	}
	return shadow.PatchBetween(whole(from), whole(to))
}

// whole is a section, of which an absent one has no members.
func whole(v *shadow.Value) *shadow.Value {
	if v == nil {
		return shadow.NewObject()
	}
	return v
}

// within keeps of a patch what another patch touches, too.
func within(patch, other *shadow.Value) *shadow.Value {
	if other == nil {
		return nil
	}
	if patch.Kind() != shadow.Object || other.Kind() != shadow.Object {
		return patch
	}
	var common []shadow.Member
	for k, v := range patch.Members() {
		if theirs := other.Get(k); theirs != nil {
			if v = within(v, theirs); v != nil {
				common = append(common, shadow.Member{Key: k, Value: v})
			}
		}
	}
	if len(common) == 0 {
		return nil
	}
	return shadow.NewObject(common...)
}

// without takes from a patch what another patch touches: where both write, the
// other stands.
func without(patch, other *shadow.Value) *shadow.Value {
	if other == nil {
		return patch
	}
	if patch.Kind() != shadow.Object || other.Kind() != shadow.Object {
		return nil
	}
	var rest []shadow.Member
	for k, v := range patch.Members() {
		theirs := other.Get(k)
		if theirs == nil {
			rest = append(rest, shadow.Member{Key: k, Value: v})
			continue
		}
		if v = without(v, theirs); v.Len() > 0 {
			rest = append(rest, shadow.Member{Key: k, Value: v})
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return shadow.NewObject(rest...)
}

// next is the document that follows with other content, nil if it is the same.
func (r *replica) next(desired, reported *shadow.Value, least uint64, now int64) *shadow.Document {
	d := r.doc
	if d.Exists() && shadow.Equal(d.Desired, desired) && shadow.Equal(d.Reported, reported) {
		return nil
	}
	n := &shadow.Document{
		Version: max(d.Version+1, least), DesiredVersion: d.DesiredVersion, Timestamp: max(now, d.Timestamp),
		Desired: restamped(d.Desired, desired, now), Reported: restamped(d.Reported, reported, now),
	}
	if !shadow.Equal(d.Desired, desired) {
		n.DesiredVersion = n.Version
	}
	return n
}

// restamped is a section in which what hasn't changed keeps the time of its last
// change.
func restamped(before, now *shadow.Value, at int64) *shadow.Value {
	if before == nil || now == nil {
		return now
	}
	return merge(before, between(before, now), at)
}

// theirs is what others than this node changed, as far as can be told, when
// desired turned out to be another. What it is by an update of this node's whose
// answer was lost isn't theirs.
func (r *replica) theirs(desired *shadow.Value) *shadow.Value {
	changed := between(r.cloud.desired, desired)
	if changed == nil || r.sent == nil {
		return changed
	}
	return within(changed, between(r.sent.value, desired))
}

// learn is what a replica is once the cloud's desired section is known: the same
// replica with another side, and with another document if that has changed.
func (r *replica) learn(desired *shadow.Value, version, desiredVersion uint64, now int64) *replica {
	n := *r
	theirs := r.theirs(desired)
	n.cloud.desired, n.cloud.version, n.cloud.desiredVersion = desired, version, desiredVersion
	if r.doc.Deleted {
		if r.deleting && (theirs == nil || desired == nil) {
			return &n // it stays deleted
		}
		n.deleting = false
		n.cloud.reported, n.cloud.full = nil, false
		if d := r.next(desired, nil, version, now); d != nil {
			n.doc = d
		}
		return &n
	}
	n.deleting = n.deleting && theirs == nil
	merged := merge(desired, without(r.wish(), theirs), now)
	if d := r.next(merged, r.doc.Reported, version, now); d != nil {
		n.doc = d
	}
	return &n
}

// meet is what a replica is once all of the cloud's document is known.
func (r *replica) meet(desired, reported *shadow.Value, version uint64, now int64) *replica {
	desiredVersion := uint64(0)
	if r.cloud.version > 0 && shadow.Equal(r.cloud.desired, desired) {
		desiredVersion = r.cloud.desiredVersion
	}
	first := r.cloud.version == 0
	n := r.learn(desired, version, desiredVersion, now)
	if n.doc.Deleted {
		return n
	}
	n.cloud.reported, n.cloud.full = reported, false
	if first { // what the device said to the cloud itself goes on, below what it said here
		if d := n.next(n.doc.Desired, merge(reported, n.doc.Reported, now), version, now); d != nil {
			d.Version = max(r.doc.Version+1, version) // one step, not two
			n.doc = d
		}
	}
	return n
}

// merge lays a patch over a section; without a patch it stays as it is.
func merge(base, patch *shadow.Value, at int64) *shadow.Value {
	if patch == nil {
		return base
	}
	return section(shadow.Merge(base, patch, at))
}

// section is an object, or nil when it has no members.
func section(v *shadow.Value) *shadow.Value {
	if v.Len() == 0 {
		return nil
	}
	return v
}

// bury is what a replica is once the cloud has no such shadow any more: gone, but
// for what the cloud was yet to learn.
func (r *replica) bury(now int64) *replica {
	n := *r
	wish, untold := r.wish(), r.untold() && r.cloud.version > 0
	fresh := r.cloud.version == 0 && r.doc.Exists() // the cloud never had it
	n.cloud, n.deleting = side{}, false
	switch {
	case fresh, !r.doc.Exists():
		n.cloud.full = r.doc.Reported != nil
		return &n
	case wish == nil && !untold:
		n.doc = &shadow.Document{Version: r.doc.Version + 1, DesiredVersion: r.doc.Version + 1, Timestamp: max(now, r.doc.Timestamp), Deleted: true}
		return &n
	}
	desired := merge(nil, wish, now)
	var reported *shadow.Value
	if untold {
		reported = r.doc.Reported
	}
	n.cloud.full = reported != nil
	if d := r.next(desired, reported, 0, now); d != nil {
		n.doc = d
	}
	return &n
}
