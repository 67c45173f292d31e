package link

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// replica is what a node holds of one of its shadows.
type replica struct {
	desired        *shadow.Value
	version        uint64
	desiredVersion uint64
	trace          string    // id of the trace of the write that desired is from
	at             time.Time // when it came to this disk
	deleted        bool      // gone from the cloud; kept until what belongs to it is gone from the node

	reported *shadow.Value // what the cloud shall hold
	acked    *shadow.Value // what it is known to hold
	full     bool          // it holds something else: the next report replaces all of it

	flight    *flight
	doubt     bool      // whether the last report arrived is unknown; the next sync tells
	refused   *refusal  // not sent again before it changes
	notBefore time.Time // of the next report
	since     time.Time // the cloud has lacked something; zero: since before this start
	tries     int       // reports since the last accepted one
	stale     int       // of those, refused as stale
	unsaved   bool      // the outbox on disk is older

	local     bool // it is kept though the cloud may want nothing of it, see Keep
	withdrawn bool // it was, and the cloud shall forget it
}

// flight is one unanswered report.
type flight struct {
	token    string
	reported *shadow.Value
	full     bool
	expires  time.Time
}

// giveUp ends a flight that was not accepted.
func (r *replica) giveUp() {
	r.full = r.full || r.flight.full
	r.flight = nil
}

// refusal is a report that the cloud will never take as it is.
type refusal struct {
	reported *shadow.Value
	code     int
	message  string
}

// pending tells whether the cloud is known to lack something of the report.
func (r *replica) pending() bool {
	return !r.deleted && (r.full && r.reported != nil || !shadow.Equal(r.reported, r.acked))
}

// due tells whether a report may be sent now.
func (r *replica) due(now time.Time) bool {
	return r.flight == nil && !r.doubt && !now.Before(r.notBefore) && r.pending() &&
		(r.refused == nil || r.refused.reported != r.reported)
}

// acted tells whether a node acts on a shadow of this name.
func acted(name string) bool {
	kind, n := schema.KindOf(name)
	return kind == schema.KindNode || kind != schema.KindFree && schema.ValidName(n)
}

// load reads what the last run left on disk.
func (l *Link) load() error {
	desired, err := l.cfg.Store.AllDesired()
	if err != nil {
		return err
	}
	for _, d := range desired {
		l.replicas[d.Name] = &replica{desired: d.Value, version: d.Version, desiredVersion: d.DesiredVersion, deleted: d.Deleted && d.Name != "", trace: d.Trace, at: d.At}
	}
	outbox, err := l.cfg.Store.AllOutbox()
	if err != nil {
		return err
	}
	for _, o := range outbox {
		r := l.replicas[o.Name]
		switch {
		case r == nil:
			r = new(replica) // its desired section was lost; the cloud sends it again
			l.replicas[o.Name] = r
		case r.deleted:
			continue
		}
		r.reported, r.acked, r.full = o.Reported, o.Acked, o.Full
		r.local, r.withdrawn = o.Withdrawn, o.Withdrawn
	}
	if l.replicas[""] == nil {
		l.replicas[""] = new(replica)
	}
	l.interval = syncInterval(l.replicas[""].desired, l.cfg.SyncInterval)
	return nil
}

// Desired returns what is wanted of every shadow, ordered by name. complete
// tells that the cloud has named all there is since this start, so that what is
// not listed is not wanted; before that it may only have been lost here.
func (l *Link) Desired() (all []state.Desired, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all = make([]state.Desired, 0, len(l.replicas))
	for name, r := range l.replicas {
		if r.unasked() {
			continue // for the cloud there is nothing to want
		}
		all = append(all, state.Desired{Name: name, Version: r.version, DesiredVersion: r.desiredVersion, Value: r.desired, Deleted: r.deleted, Trace: r.trace, At: r.at})
	}
	slices.SortFunc(all, func(a, b state.Desired) int { return strings.Compare(a.Name, b.Name) })
	return all, l.complete
}

// Changed signals that Desired may give something else. It is a level.
func (l *Link) Changed() <-chan struct{} { return l.changed }

// adopt writes desired sections to disk and then makes them what the node works
// towards. Only the goroutine that receives messages calls it.
func (l *Link) adopt(all ...state.Desired) error {
	if len(all) == 0 {
		return nil
	}
	l.disk.Lock()
	defer l.disk.Unlock()
	if all = l.bounded(l.buried(all)); len(all) == 0 {
		return nil
	}
	for i := range all {
		all[i].At = l.cfg.Now()
	}
	if err := l.cfg.Store.PutDesired(all...); err != nil {
		l.counters.StoreErrors.Add(1)
		signal(l.changed) // not what is wanted, but whether it can be kept
		return err
	}
	var buried []string
	now := l.cfg.Now() // rather than when the writing began: acknowledged is it only now
	l.mu.Lock()
	for _, d := range all {
		r := l.replicas[d.Name]
		if r == nil || d.Deleted {
			kept := r
			r = new(replica)
			if kept != nil && (d.Name == "" || kept.local) {
				r.reported, r.local = kept.reported, kept.local // the node itself goes on, and so does what it keeps
			}
			l.replicas[d.Name] = r
		}
		if d.Deleted {
			buried = append(buried, d.Name)
		}
		r.desired, r.version, r.desiredVersion = d.Value, d.Version, d.DesiredVersion
		r.trace, r.at = d.Trace, now
		if d.Deleted && r.local {
			r.version, r.desiredVersion = 0, 0 // it begins anew with the next report
		}
		l.cfg.Log.Debug("change", "step", "persisted", "shadow", d.Name, "version", d.DesiredVersion, "deleted", d.Deleted, "trace", d.Trace)
		r.deleted = d.Deleted && d.Name != "" && !r.local
		if r.withdrawn && !r.unasked() { // the cloud asks for it: then it is the cloud's
			r.withdrawn, r.local = false, false
		}
		if d.Name == "" {
			l.interval = syncInterval(d.Value, l.cfg.SyncInterval)
		}
	}
	l.mu.Unlock()
	signal(l.changed)
	if len(buried) == 0 {
		return nil
	}
	return l.cfg.Store.Delete(state.KindOutbox, buried...)
}

// bounded leaves out new shadows over the limit.
func (l *Link) bounded(all []state.Desired) []state.Desired {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := MaxShadows - len(l.replicas)
	return slices.DeleteFunc(all, func(d state.Desired) bool {
		if l.replicas[d.Name] != nil {
			return false
		}
		if room--; room >= 0 {
			return false
		}
		l.counters.Overflow.Add(1)
		l.fail("shadow left alone", fmt.Errorf("%q: the node holds %d shadows, which is the limit", d.Name, MaxShadows))
		return true
	})
}

// Gone forgets a deleted shadow once nothing of it is left on the node.
func (l *Link) Gone(name string) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	r := l.replicas[name]
	l.mu.Unlock()
	if r == nil || !r.deleted { // wanted again in the meantime
		return nil
	}
	if err := l.cfg.Store.Delete(state.KindDesired, name); err != nil {
		l.counters.StoreErrors.Add(1)
		return err
	}
	l.mu.Lock()
	delete(l.replicas, name)
	l.mu.Unlock()
	return nil
}

// syncInterval is what the node's own shadow asks for.
func syncInterval(classic *shadow.Value, def time.Duration) time.Duration {
	v := classic.Get(schema.NodeMember)
	if v == nil || v.At("sync", "interval") == nil {
		return def
	}
	n, err := schema.ParseNode(v.AppendJSON(nil))
	if err != nil {
		return def
	}
	return n.Sync.Interval.D()
}
