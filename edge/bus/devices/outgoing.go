package devices

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// maxInFlight bounds unanswered requests; it is below any broker's receive maximum.
const maxInFlight = 8

// Message is a request to the cloud.
type Message struct {
	Topic   string
	Payload []byte
}

// Connected begins a connection: nothing of the last one is on its way any more.
func (d *Devices) Connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.online = &session{things: map[string]*talk{}}
	for _, r := range d.replicas {
		r.known = false
		r.tries, r.notBefore = 0, time.Time{}
		r.ask = r.cloud.version == 0
	}
	signal(d.kick)
}

// Disconnected ends it. Whether what was on its way arrived, the next sync tells.
func (d *Devices) Disconnected(reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.online = nil
	if reason != nil {
		d.problem = reason.Error()
	}
	for _, r := range d.replicas {
		r.giveUp()
		r.settled()
	}
}

// Things are the devices to subscribe to, ordered.
func (d *Devices) Things() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.things()
}

func (d *Devices) things() []string {
	all := map[string]bool{}
	for k := range d.replicas {
		if d.served.Has(k.thing) {
			all[k.thing] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (d *Devices) sorted() []*replica {
	all := slices.Collect(maps.Values(d.replicas))
	slices.SortFunc(all, func(a, b *replica) int { return cmp.Or(cmp.Compare(a.thing, b.thing), cmp.Compare(a.name, b.name)) })
	return all
}

// Listening says that answers about a thing are heard on this connection.
func (d *Devices) Listening(things ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.online == nil {
		return
	}
	for _, t := range things {
		if d.online.things[t] == nil {
			d.online.things[t] = &talk{}
		}
	}
	signal(d.kick)
}

// Due returns the requests that are due, and when to ask again at the latest. An
// error is one of the disk: nothing was sent for its sake.
func (d *Devices) Due() (out []Message, next time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now()
	next = now.Add(d.cfg.SyncInterval)
	if d.online == nil {
		return nil, next, nil
	}
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	flying := d.expire(now, sooner)
	byThing := map[string][]*replica{}
	for _, r := range d.sorted() {
		byThing[r.thing] = append(byThing[r.thing], r)
	}
	for _, thing := range slices.Sorted(maps.Keys(d.online.things)) {
		talk := d.online.things[thing]
		if !d.served.Has(thing) {
			continue
		}
		if talk.token == "" && !now.Before(talk.next) {
			out = append(out, d.compare(thing, talk, byThing[thing], now))
		}
		if talk.token != "" {
			sooner(talk.expires)
		} else {
			sooner(talk.next)
		}
		for _, r := range byThing[thing] {
			if r.flight != nil || flying >= maxInFlight {
				continue
			}
			if now.Before(r.notBefore) {
				sooner(r.notBefore)
				continue
			}
			m, ok, err := d.request(r, now)
			if err != nil {
				return out, now.Add(time.Second), err
			}
			if ok {
				flying++
				out = append(out, m)
				sooner(r.flight.expires)
			}
		}
	}
	return out, next, nil
}

// expire gives up what nobody answered, and counts the requests still on their way.
func (d *Devices) expire(now time.Time, sooner func(time.Time)) (flying int) {
	for _, r := range d.replicas {
		switch {
		case r.flight == nil:
		case now.Before(r.flight.expires):
			flying++
			sooner(r.flight.expires)
		default:
			d.counters["unanswered"]++
			r.giveUp()
			r.settled()
			r.known = false
			r.notBefore = now.Add(d.backoff(r.tries))
			d.again(r)
		}
	}
	for thing, t := range d.online.things {
		if t.token != "" && !now.Before(t.expires) {
			d.counters["unanswered"]++
			t.token, t.failures = "", t.failures+1
			t.next = now.Add(d.backoff(t.failures))
			d.problem = fmt.Sprintf("the comparison of %s is unanswered", thing)
		}
	}
	return flying
}

// again has the cloud asked anew how a shadow is.
func (d *Devices) again(r *replica) {
	signal(d.kick)
	r.known = false
	if r.cloud.version == 0 {
		r.ask = true
		return
	}
	if d.online != nil && d.online.things[r.thing] != nil {
		d.online.things[r.thing].next = time.Time{}
	}
}

// giveUp ends a request that was not accepted.
func (r *replica) giveUp() {
	if r.flight == nil {
		return
	}
	if r.flight.kind == report {
		r.cloud.full = r.cloud.full || r.flight.full
	}
	if r.flight.kind == look {
		r.ask = true
	}
	r.flight = nil
}

// settled lets go of whoever waits to know how a shadow is.
func (r *replica) settled() {
	if r.ready != nil {
		close(r.ready)
		r.ready = nil
	}
}

func (d *Devices) token() string {
	d.tokens++
	return d.run + "-" + strconv.FormatUint(d.tokens, 36)
}

// slowest is the link, in bytes per second, on which a request of any size still
// gets its answer before it is given up.
const slowest = 1000

func (d *Devices) patience(bytes, failures int) time.Duration {
	return d.cfg.Timeout<<min(failures, 4) + time.Duration(bytes)*time.Second/slowest
}

// compare states what is held of a thing that the cloud is known to have, and asks
// what else there is, if there is room for it.
func (d *Devices) compare(thing string, t *talk, all []*replica, now time.Time) Message {
	req := wire.SyncRequest{BootEpoch: d.cfg.Epoch.BootEpoch(), ClientToken: d.token(), Shadows: map[string]wire.SyncState{}, All: d.room()}
	t.stated = map[string]statement{}
	for _, r := range all {
		if r.cloud.version == 0 {
			continue
		}
		t.stated[r.name] = statement{r.cloud.desiredVersion, r.cloud.reported, r.flight}
		req.Shadows[r.name] = wire.SyncState{Desired: r.cloud.desiredVersion, Reported: shadow.Digest(r.cloud.reported)}
	}
	body := req.Append(nil)
	t.token, t.expires = req.ClientToken, now.Add(d.patience(len(body), t.failures))
	return Message{wire.Topic{Thing: thing, Op: wire.OpSync}.Request(), body}
}

// request makes the next request about a shadow, if one is due.
func (d *Devices) request(r *replica, now time.Time) (m Message, ok bool, err error) {
	t := wire.Topic{Thing: r.thing, Shadow: r.name, Op: wire.OpUpdate}
	f := &flight{token: d.token()}
	var body []byte
	switch wish := r.wish(); {
	case r.ask:
		t.Op, f.kind = wire.OpGet, look
		body = appendToken([]byte("{"), f.token)
		r.ask = false
	case !r.known:
		return m, false, nil
	case r.deleting && r.cloud.version > 0:
		if err := d.mark(r, nil); err != nil {
			return m, false, err
		}
		t.Op, f.kind = wire.OpDelete, remove
		body = strconv.AppendUint([]byte(`{"version":`), r.cloud.version, 10)
		body = appendToken(append(body, ','), f.token)
	case r.untold() && (r.refused == nil || !shadow.Equal(r.refused.value, r.doc.Reported)):
		f.kind, f.value, f.full = report, r.doc.Reported, r.cloud.full && r.doc.Reported != nil
		patch := r.doc.Reported
		if !f.full {
			patch = between(r.cloud.reported, r.doc.Reported)
		}
		d.seq++
		body = wire.AppendReport(nil, patch, shadow.Origin{BootEpoch: d.cfg.Epoch.BootEpoch(), Seq: d.seq}, f.full, f.token)
		r.cloud.full = false
	case wish != nil:
		if err := d.mark(r, r.doc.Desired); err != nil {
			return m, false, err
		}
		f.kind, f.value = desire, r.doc.Desired
		body = wish.AppendJSON([]byte(`{"state":{"desired":`))
		body = append(body, "},"...)
		if r.cloud.version > 0 {
			body = strconv.AppendUint(append(body, `"version":`...), r.cloud.version, 10)
			body = append(body, ',')
		}
		body = appendToken(body, f.token)
	default:
		return m, false, nil
	}
	f.expires = now.Add(d.patience(len(body), r.tries))
	r.flight = f
	r.tries++
	d.counters["sent"]++
	return Message{t.Request(), body}, true, nil
}

// mark writes what the cloud's desired section will be by this node's doing, so
// that it is known as that whatever becomes of the answer.
func (d *Devices) mark(r *replica, desired *shadow.Value) error {
	next := *r
	next.sent = &sent{desired}
	return d.keep(r, &next, nil)
}

func appendToken(dst []byte, token string) []byte {
	return append(shadow.AppendString(append(dst, `"clientToken":`...), token), '}')
}
