package link

import (
	"fmt"

	"github.com/tidwall/gjson"

	"gnomon/edge/failpoint"
	"gnomon/edge/state"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// limits of what the cloud sends. It has checked the documents against its own,
// which may be set higher than the defaults.
var limits = shadow.Limits{StateBytes: 1 << 20, Depth: 64, BodyBytes: 1 << 20}

// receive deals with one message. An error means that it must not be
// acknowledged, because what it says is not on disk.
func (l *Link) receive(s *session, topic string, payload []byte) error {
	t, leaf, ok := wire.ParseReply(topic)
	if !ok && l.cfg.Traffic != nil {
		l.cfg.Traffic.Receive(topic, payload)
		return nil
	}
	if !ok || t.Thing != l.cfg.Node || !acted(t.Shadow) {
		return nil // a shadow that another client of this thing looks after
	}
	switch leaf {
	case "desired":
		return l.pushed(s, t.Shadow, payload)
	case "sync/accepted":
		return l.answered(s, payload)
	case "sync/rejected":
		l.syncRejected(s, payload)
	case "update/accepted":
		if err := failpoint.Hit(failpoint.OutboxAnswer); err != nil {
			return err
		}
		l.accepted(t.Shadow, payload)
		return failpoint.Hit(failpoint.OutboxAcked)
	case "update/rejected":
		return l.rejected(s, t.Shadow, payload)
	}
	return nil
}

// pushed takes a change of desired if it follows on from what is held.
func (l *Link) pushed(s *session, name string, payload []byte) error {
	l.counters.Pushes.Add(1)
	push, err := wire.ParseDesiredPush(payload)
	if err != nil {
		l.gap(s, fmt.Errorf("desired of %q: %w", name, err))
		return nil
	}
	next, follows, err := l.follow(s, name, push)
	switch {
	case err != nil:
		l.gap(s, fmt.Errorf("desired of %q: %w", name, err))
		return nil
	case !follows:
		return nil
	}
	return l.adopt(next)
}

// follow works out what is wanted after a push. follows is false for what is old
// or doubled; an error means that only a sync can tell.
func (l *Link) follow(s *session, name string, push *wire.DesiredPush) (next state.Desired, follows bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = state.Desired{Name: name, Version: push.Version, DesiredVersion: push.DesiredVersion, Trace: traceID(push.Trace)}
	r := l.replicas[name]
	known := r != nil && !r.deleted
	if push.Deleted {
		s.buried[name] = max(s.buried[name], push.Version)
		next.Deleted = true
		if name == "" {
			next.DesiredVersion = 0
		}
		return next, known && push.Version > r.version, nil
	}
	if push.DesiredVersion <= s.buried[name] || known && push.DesiredVersion <= r.desiredVersion {
		return next, false, nil
	}
	if push.Base != 0 && (!known || push.Base != r.desiredVersion) {
		return next, false, fmt.Errorf("a change from version %d was missed", push.Base)
	}
	patch, err := parse(push.Patch)
	if err != nil {
		return next, false, err
	}
	var base *shadow.Value
	if push.Base != 0 {
		base = r.desired
	}
	// Merged, it is a copy that keeps no message alive.
	if merged := shadow.Merge(base, patch, push.Timestamp); merged.Len() > 0 {
		next.Value = merged
	}
	return next, true, nil
}

// traceID is the id within a traceparent, "" if there is none.
func traceID(parent string) string {
	id, _ := wire.TraceID(parent)
	return id
}

// parse reads a section; absent and null are nil.
func parse(text []byte) (*shadow.Value, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	return shadow.Parse(text, limits)
}

// gap asks for a sync because a push could not be used.
func (l *Link) gap(s *session, err error) {
	l.counters.Gaps.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg.Log.Debug("sync wanted", "reason", err)
	l.want(s)
}

// accepted notes that the report in flight is committed.
func (l *Link) accepted(name string, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.replicas[name]
	if r == nil || r.flight == nil || r.flight.token != wire.ClientToken(payload) {
		return // somebody else's update, or one given up
	}
	l.counters.Accepted.Add(1)
	r.acked, r.flight = r.flight.reported, nil
	r.refused, r.tries, r.stale = nil, 0, 0
	r.learnVersion(payload)
	r.since = l.cfg.Now() // what it still lacks it has not lacked for longer
	l.unsaved(r)
}

// rejected decides what becomes of a report that was refused.
func (l *Link) rejected(s *session, name string, payload []byte) error {
	code, message := int(gjson.GetBytes(payload, "code").Int()), gjson.GetBytes(payload, "message").String()
	if len(message) > 500 {
		message = message[:500]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.replicas[name]
	if r == nil || r.flight == nil || r.flight.token != wire.ClientToken(payload) {
		return nil
	}
	l.counters.Rejected.Add(1)
	l.fail("report refused", fmt.Errorf("shadow %q: %d %s", name, code, message))
	f := r.flight
	r.giveUp()
	switch code {
	case wire.CodeConflict, wire.CodeNotFound:
		r.doubt = true
		l.want(s)
		if code == wire.CodeConflict {
			return l.refusedAsStale(r)
		}
	case wire.CodeThrottled:
		r.notBefore = l.cfg.Now().Add(backoff(r.tries-1, l.cfg.BackoffMax))
	case wire.CodeInternal, wire.CodeUnavailable: // it may have been taken all the same
		r.doubt = true
		r.notBefore = l.cfg.Now().Add(backoff(r.tries-1, l.cfg.BackoffMax))
		l.want(s)
	default:
		r.refused = &refusal{f.reported, code, message}
	}
	return nil
}

// refusedAsStale raises the boot epoch when a report of this very moment is
// stale a second time: then the cloud remembers more starts of this node than
// the node itself, which has lost its disk.
func (l *Link) refusedAsStale(r *replica) error {
	if r.stale++; r.stale < 2 {
		return nil
	}
	r.notBefore = l.cfg.Now().Add(backoff(r.stale-2, l.cfg.BackoffMax))
	epoch := l.cfg.Store.BootEpoch()
	next := max(2*epoch, uint64(max(0, l.cfg.Now().Unix())))
	if err := l.cfg.Store.RaiseEpoch(next); err != nil {
		l.counters.StoreErrors.Add(1)
		return err
	}
	l.cfg.Log.Warn("boot epoch raised: the cloud knows a later one", "from", epoch, "to", next)
	return nil
}
