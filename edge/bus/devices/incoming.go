package devices

import (
	"fmt"
	"time"

	"github.com/tidwall/gjson"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Receive deals with a message of the cloud. An error means that it must not be
// acknowledged: what it says is not on disk.
func (d *Devices) Receive(topic string, payload []byte) error {
	t, leaf, ok := wire.ParseReply(topic)
	if !ok {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.online == nil || !d.served.Has(t.Thing) {
		return nil
	}
	d.counters["received"]++
	k := key{t.Thing, t.Shadow}
	switch leaf {
	case "desired":
		return d.pushed(k, payload)
	case "sync/accepted":
		return d.compared(t.Thing, payload)
	case "sync/rejected":
		d.uncompared(t.Thing, payload)
	case "update/accepted", "get/accepted", "delete/accepted":
		return d.accepted(k, payload)
	case "update/rejected", "get/rejected", "delete/rejected":
		return d.rejected(k, payload)
	}
	return nil
}

// pushed takes a change of desired if it follows on from what is known.
func (d *Devices) pushed(k key, payload []byte) error {
	push, err := wire.ParseDesiredPush(payload)
	r := d.interest(k)
	if err != nil || r == nil {
		return nil //nolint:nilerr // it can't be used: the next sync tells
	}
	now := d.cfg.Now().Unix()
	if push.Deleted {
		if push.Version <= r.cloud.version {
			return nil
		}
		return d.keep(r, d.buried(r, now), nil)
	}
	if r.cloud.version == 0 { // it has a reported section, too, perhaps
		d.again(r)
		return nil
	}
	if push.Version <= r.cloud.version || push.DesiredVersion <= r.cloud.desiredVersion {
		return nil
	}
	patch, err := value(push.Patch)
	if err != nil || push.Base != 0 && push.Base != r.cloud.desiredVersion {
		d.counters["gaps"]++
		d.again(r)
		return nil //nolint:nilerr // the sync tells instead
	}
	desired := patch
	if push.Base != 0 {
		desired = merge(r.cloud.desired, patch, push.Timestamp)
	} else if desired != nil {
		desired = merge(nil, patch, push.Timestamp)
	}
	return d.keep(r, r.learn(desired, push.Version, push.DesiredVersion, now), nil)
}

// buried is bury for what is deleted in the cloud. What is still on its way may
// make it again, so that it is looked for.
func (d *Devices) buried(r *replica, now int64) *replica {
	underway := r.flight != nil && r.flight.kind != look
	r.giveUp()
	n := r.bury(now)
	n.known, n.ask = !underway, underway
	n.deleting = underway && r.deleting
	return n
}

// compared takes over what the cloud says differs.
func (d *Devices) compared(thing string, payload []byte) error {
	reply, err := wire.ParseSyncReply(payload)
	talk := d.online.things[thing]
	if err != nil || talk == nil || talk.token == "" || talk.token != reply.ClientToken {
		return nil //nolint:nilerr // it expires, and is asked again
	}
	if reply.BootEpoch > d.cfg.Epoch.BootEpoch() {
		if err := d.cfg.Epoch.RaiseEpoch(reply.BootEpoch + 1); err != nil {
			return err
		}
	}
	now := d.cfg.Now()
	again, further := false, false
	for name, said := range talk.stated {
		r := d.replicas[key{thing, name}]
		if r == nil || r.cloud.desiredVersion != said.desiredVersion || !shadow.Equal(r.cloud.reported, said.reported) {
			again = again || r != nil && !r.known // it has changed since: the next sync is about that
			continue
		}
		diff, differs := reply.Shadows[name]
		if !differs && reply.More {
			continue
		}
		if err := d.differs(r, diff, differs, now.Unix()); err != nil {
			return err
		}
		further = further || r.cloud.version == 0 || r.cloud.desiredVersion != said.desiredVersion
	}
	for name := range reply.Shadows {
		if _, said := talk.stated[name]; !said && d.heardOf(key{thing, name}) {
			further = true
		}
	}
	d.counters["syncs"]++
	d.problem = ""
	talk.token, talk.failures = "", 0
	talk.next = now.Add(jittered(d.cfg.SyncInterval))
	if again || reply.More && further { // else the next answer would be cut at the same place
		talk.next = now
	}
	return nil
}

// heardOf has the cloud asked for a shadow that it has, and the node hasn't. It tells
// whether that is a new one: there may be no room.
func (d *Devices) heardOf(k key) bool {
	r := d.replicas[k]
	if r == nil {
		if !d.room() {
			d.counters["overflow"]++
			return false
		}
		return d.interest(k) != nil
	}
	if r.cloud.version == 0 && r.flight == nil {
		r.ask = true
	}
	return false
}

// differs takes over what a sync says of one shadow.
func (d *Devices) differs(r *replica, diff wire.SyncShadow, differs bool, now int64) error {
	defer r.settled()
	if !differs {
		r.known = true
		// Of a classic shadow it isn't said that it is gone, if nothing was said of it.
		r.ask = r.ask || r.name == "" && r.cloud.desiredVersion == 0 && r.cloud.reported == nil
		return nil
	}
	if diff.Deleted || diff.Version == 0 { // of a classic shadow it isn't said otherwise
		return d.keep(r, d.buried(r, now), nil)
	}
	n := r
	if !diff.Current {
		desired, err := value(diff.Desired)
		if err != nil {
			return nil //nolint:nilerr // it can't be told what is wanted: the next sync tries again
		}
		n = r.learn(merge(nil, desired, now), diff.Version, diff.DesiredVersion, now)
	} else {
		c := *r
		c.cloud.version = max(c.cloud.version, diff.Version)
		n = &c
	}
	if diff.ReportFull && r.flight == nil && !n.doc.Deleted {
		n.cloud.full = n.doc.Reported != nil
		if n.doc.Reported == nil { // what is there isn't the device's
			n.ask = true
		}
	}
	n.known = true
	return d.keep(r, n, nil)
}

func (d *Devices) uncompared(thing string, payload []byte) {
	talk := d.online.things[thing]
	if talk == nil || talk.token == "" || talk.token != wire.ClientToken(payload) {
		return
	}
	talk.token, talk.failures = "", talk.failures+1
	talk.next = d.cfg.Now().Add(d.backoff(talk.failures))
	d.problem = fmt.Sprintf("the cloud refuses to compare %s: %.200s", thing, gjson.GetBytes(payload, "message").String())
}

// accepted notes that the request in flight was.
func (d *Devices) accepted(k key, payload []byte) error {
	r := d.replicas[k]
	if r == nil || r.flight == nil || r.flight.token != wire.ClientToken(payload) {
		return nil // somebody else's, or one given up
	}
	f := r.flight
	version := gjson.GetBytes(payload, "version").Uint()
	now := d.cfg.Now().Unix()
	n := *r
	n.flight, n.tries, n.stale, n.notBefore, n.refused = nil, 0, 0, time.Time{}, nil
	switch f.kind {
	case report:
		n.cloud.reported = f.value
		if version == n.cloud.version+1 {
			n.cloud.version = version
		} else if version > n.cloud.version { // somebody else wrote in between
			n.ask = r.wish() != nil || r.deleting
			n.cloud.version = max(n.cloud.version, 1)
		}
	case desire:
		n.sent = nil
		if version > n.cloud.version { // else the push was faster
			exact := n.cloud.version > 0
			n.cloud.desired, n.cloud.version, n.cloud.desiredVersion = f.value, version, version
			if !exact {
				n.cloud.desiredVersion = 0
			}
		}
	case remove:
		n.cloud, n.deleting, n.known, n.sent = side{}, false, true, nil
		n.cloud.full = n.doc.Reported != nil // of one that was made again meanwhile
	case look:
		return d.seen(r, &n, payload, now)
	}
	// A crash before this is on disk costs a sync.
	*r = n
	d.counters["accepted"]++
	signal(d.kick)
	return nil
}

// seen takes over a whole document.
func (d *Devices) seen(r, n *replica, payload []byte, now int64) error {
	defer r.settled()
	state := gjson.GetBytes(payload, "state")
	desired, err := value([]byte(state.Get("desired").Raw))
	var reported *shadow.Value
	if err == nil {
		reported, err = value([]byte(state.Get("reported").Raw))
	}
	if err != nil {
		d.problem = fmt.Sprintf("the document of %s can't be read: %v", r.thing, err)
		r.giveUp()
		r.notBefore = d.cfg.Now().Add(d.backoff(r.tries))
		return nil
	}
	desired, reported = merge(nil, desired, now), merge(nil, reported, now)
	version := gjson.GetBytes(payload, "version").Uint()
	if version < n.cloud.version { // a push was faster: ask again
		n.ask = true
		*r = *n
		signal(d.kick)
		return nil
	}
	m := n.meet(desired, reported, version, now)
	m.known = true
	return d.keep(r, m, nil)
}

// rejected decides what becomes of a request that was refused.
func (d *Devices) rejected(k key, payload []byte) error {
	r := d.replicas[k]
	if r == nil || r.flight == nil || r.flight.token != wire.ClientToken(payload) {
		return nil
	}
	f, now := r.flight, d.cfg.Now()
	code := int(gjson.GetBytes(payload, "code").Int())
	message := fmt.Sprintf("%d %.200s", code, gjson.GetBytes(payload, "message").String())
	d.counters["rejected"]++
	r.giveUp()
	defer signal(d.kick)
	switch {
	case code == wire.CodeNotFound:
		r.settled()
		return d.keep(r, d.buried(r, now.Unix()), nil)
	case code == wire.CodeConflict && f.kind == report:
		return d.outdated(r, now)
	case code == wire.CodeConflict:
		r.ask = true
		if f.kind == desire {
			r.sent = nil // what differs is others' doing
		}
	case code == wire.CodeThrottled || code >= wire.CodeInternal:
		r.notBefore = now.Add(d.backoff(r.tries))
		if code != wire.CodeThrottled { // it may have been taken all the same
			d.again(r)
		}
	case f.kind == report:
		r.refused = &refusal{f.value, message}
	case f.kind == desire: // it is the cloud's to decide
		d.cfg.Log.Warn("the cloud refuses what is desired on the node", "thing", r.thing, "shadow", r.name, "why", message)
		n := *r
		n.sent, n.refused = nil, &refusal{nil, message}
		if doc := r.next(r.cloud.desired, r.doc.Reported, 0, now.Unix()); doc != nil {
			n.doc = doc
		}
		return d.keep(r, &n, nil)
	case f.kind == remove:
		d.problem = fmt.Sprintf("the cloud refuses to delete %s: %s", r.thing, message)
		r.notBefore = now.Add(d.cfg.BackoffMax)
	default:
		r.ask, r.notBefore = true, now.Add(d.backoff(r.tries))
		r.settled()
	}
	return nil
}

// outdated raises the boot epoch when a report of this very moment is an old one
// to the cloud a second time: then it has heard of later starts of whoever spoke
// for the device.
func (d *Devices) outdated(r *replica, now time.Time) error {
	d.again(r)
	if r.stale++; r.stale < 2 {
		return nil
	}
	r.notBefore = now.Add(d.backoff(r.stale - 1))
	epoch := d.cfg.Epoch.BootEpoch()
	return d.cfg.Epoch.RaiseEpoch(max(2*epoch, uint64(max(0, now.Unix()))))
}
