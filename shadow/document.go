package shadow

// Document is one version of one shadow. It never changes.
type Document struct {
	Version        uint64 // of this document; 0 = there never was one
	DesiredVersion uint64 // the Version at which desired last changed or was named by an update
	Timestamp      int64  // second since 1970 of the last update
	Desired        *Value // Object, or nil for an absent section
	Reported       *Value // Object, or nil for an absent section
	Deleted        bool   // a tombstone: it keeps the version for whoever makes the shadow again
	Origin         Origin // of the last ordered report
}

// Origin orders the reports of one sender: by boot epoch, then by sequence. The
// zero Origin is a sender without an order, which is never refused. A document
// keeps the Origin of the last ordered report through unordered ones.
type Origin struct {
	BootEpoch uint64
	Seq       uint64
}

// Ordered tells whether the sender numbers its reports.
func (o Origin) Ordered() bool { return o != Origin{} }

// After tells whether o is newer than other.
func (o Origin) After(other Origin) bool {
	return o.BootEpoch > other.BootEpoch || o.BootEpoch == other.BootEpoch && o.Seq > other.Seq
}

// Exists tells whether there is a shadow: d is neither nil, nor empty, nor a tombstone.
func (d *Document) Exists() bool { return d != nil && d.Version > 0 && !d.Deleted }

// Delta returns what desired has and reported lacks or differs in, nil when
// there is nothing.
func (d *Document) Delta() *Value {
	if d == nil {
		return nil
	}
	return Diff(d.Desired, d.Reported)
}

// StateBytes returns the size that Limits.StateBytes bounds.
func (d *Document) StateBytes() int {
	n := 0
	if d.Desired != nil {
		n += d.Desired.JSONLen()
	}
	if d.Reported != nil {
		n += d.Reported.JSONLen()
	}
	return n
}

// Apply returns the version of d after update u at second now. d may be nil or
// a tombstone: the update then creates the shadow, going on from the
// tombstone's version. Neither d nor u changes.
//
// It refuses, in this order, with ErrVersionConflict when u names a version
// other than d's (a tombstone's own; 0 for a shadow that never was),
// ErrStaleReport when u is ordered and not newer than the last ordered report,
// *InvalidError and *LimitError. A tombstone refuses no report as stale: deleting
// is how an operator lets a node begin anew that lost its count of boots. A
// document over the limit on its size, because the limit was lowered, may still
// shrink.
func (d *Document) Apply(u *Update, now int64, lim Limits) (*Document, error) {
	lim = lim.withDefaults()
	if d == nil {
		d = &Document{}
	}
	if u.Version != nil && *u.Version != d.Version {
		return nil, ErrVersionConflict
	}
	if u.Origin.Ordered() && !d.Deleted && !u.Origin.After(d.Origin) {
		return nil, ErrStaleReport
	}
	if err := u.check(lim); err != nil {
		return nil, err
	}
	next := &Document{
		Version: d.Version + 1, DesiredVersion: d.DesiredVersion, Timestamp: now,
		Desired: d.Desired, Reported: d.Reported, Origin: d.Origin,
	}
	if u.Origin.Ordered() {
		next.Origin = u.Origin
	}
	if u.StateNull {
		next.Desired, next.Reported = nil, nil
	}
	next.Desired = u.Desired.apply(next.Desired, now)
	next.Reported = u.Reported.apply(next.Reported, now)
	if u.StateNull || u.Desired.Present {
		next.DesiredVersion = next.Version
	}
	if next.Desired.jsonLenAtMost()+next.Reported.jsonLenAtMost() <= lim.StateBytes {
		return next, nil // as nearly always
	}
	if n := next.StateBytes(); n > lim.StateBytes && n >= d.StateBytes() {
		return nil, &LimitError{Field: "state", Limit: lim.StateBytes, Got: n}
	}
	return next, nil
}

// apply merges a section of an update into that of a document. A section left
// without members is absent.
func (s Section) apply(old *Value, now int64) *Value {
	if !s.Present {
		return old
	}
	if s.Replace {
		old = nil
	}
	var v *Value
	if old.packed() && s.Patch.Kind() == Object {
		v = mergePacked(old, s.Patch, now)
	} else {
		v = Merge(old, s.Patch, now)
	}
	if v.Len() == 0 {
		return nil
	}
	return v
}

// Delete returns the tombstone of d. A version, when given, must be d's. The
// tombstone counts as a version of its own, so a shadow deleted at version V
// begins anew at V+2.
func (d *Document) Delete(version *uint64, now int64) (*Document, error) {
	if !d.Exists() {
		return nil, ErrNotFound
	}
	if version != nil && *version != d.Version {
		return nil, ErrVersionConflict
	}
	return &Document{Version: d.Version + 1, DesiredVersion: d.Version + 1, Timestamp: now, Deleted: true, Origin: d.Origin}, nil
}
