package link

import (
	"fmt"
	"time"

	"github.com/tidwall/gjson"

	"gnomon/edge/state"
	"gnomon/shadow/wire"
)

// Keep makes the node hold shadows that the cloud has not asked for, so that it
// hears of them by their reports. One that the cloud deletes is reported anew. It
// is forgotten with this run of the agent.
func (l *Link) Keep(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		r := l.replicas[name]
		if r == nil && len(l.replicas) >= MaxShadows {
			l.counters.Overflow.Add(1)
			l.fail("shadow left alone", fmt.Errorf("%q: the node holds %d shadows, which is the limit", name, MaxShadows))
			continue
		}
		if r == nil || r.deleted {
			r = new(replica)
			l.replicas[name] = r
		}
		r.local, r.withdrawn = true, false
	}
	signal(l.kick)
}

// Withdraw ends Keep of a shadow. Unless the cloud asks for something of it, it is
// deleted there, by its version: what the cloud writes meanwhile stays. That is on
// disk when Withdraw returns, and happens whenever there is a cloud again.
func (l *Link) Withdraw(name string) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	r := l.replicas[name]
	if r == nil || r.deleted || !r.local {
		l.mu.Unlock()
		return nil
	}
	r.withdrawn = r.unasked()
	r.local = r.withdrawn
	record, withdrawn := r.outbox(name), r.withdrawn
	l.mu.Unlock()
	if !withdrawn {
		return nil
	}
	signal(l.kick)
	if err := l.cfg.Store.PutOutbox(record); err != nil {
		l.counters.StoreErrors.Add(1)
		return err
	}
	return nil
}

// outbox is what is kept on disk of what a shadow reports.
func (r *replica) outbox(name string) state.Outbox {
	return state.Outbox{Name: name, Reported: r.reported, Acked: r.acked, Full: r.full, Withdrawn: r.withdrawn}
}

// unasked tells that the cloud wants nothing of a shadow that is kept here.
func (r *replica) unasked() bool { return r.local && r.desired == nil && r.desiredVersion == 0 }

// unsent tells that the cloud can't know of it yet, so that a sync about it would
// only be told that there is no such shadow.
func (r *replica) unsent() bool { return r.unasked() && r.acked == nil && !r.full }

// withdrawals deletes in the cloud what is kept no longer; mu is held.
func (l *Link) withdrawals(now time.Time) (out []message) {
	for name, r := range l.replicas {
		switch {
		case !r.withdrawn || r.flight != nil || r.doubt || now.Before(r.notBefore):
		case r.unsent():
			r.reported = nil // nobody has heard of it
			l.forget(name)
		case r.version == 0: // the next report tells the version
			r.full, r.refused = true, nil
		default:
			topic := l.topic
			topic.Shadow, topic.Op = name, wire.OpDelete
			out = append(out, message{topic.Request(), fmt.Appendf(nil, `{"version":%d,"clientToken":%q}`, r.version, l.token())})
			// If that wasn't the version any more, another report tells.
			r.version, r.notBefore = 0, now.Add(jittered(l.interval))
		}
	}
	return out
}

// forget drops a shadow that was kept here, from disk too; mu is held.
func (l *Link) forget(name string) {
	delete(l.replicas, name)
	l.forgotten = append(l.forgotten, name)
	signal(l.dirty)
}

// clearForgotten removes from disk what was forgotten.
func (l *Link) clearForgotten() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	var names []string
	for _, name := range l.forgotten {
		if l.replicas[name] == nil {
			names = append(names, name)
		}
	}
	l.forgotten = nil
	l.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	err := l.cfg.Store.Delete(state.KindOutbox, names...)
	if err == nil {
		err = l.cfg.Store.Delete(state.KindDesired, names...)
	}
	if err != nil {
		l.counters.StoreErrors.Add(1)
	}
	return err
}

// buried takes note that the cloud has deleted shadows that are kept here, which
// concerns nobody else, and returns the rest.
func (l *Link) buried(all []state.Desired) []state.Desired {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := make([]state.Desired, 0, len(all))
	for _, d := range all {
		r := l.replicas[d.Name]
		switch {
		case !d.Deleted || r == nil || !r.unasked():
			rest = append(rest, d)
		case r.withdrawn:
			l.forget(d.Name)
		default:
			anew := &replica{local: true, reported: r.reported}
			l.replicas[d.Name] = anew
			l.unsaved(anew)
			signal(l.kick)
		}
	}
	return rest
}

// learnVersion takes the version of a shadow that is kept here from the answer to
// its report; mu is held.
func (r *replica) learnVersion(payload []byte) {
	if r.unasked() {
		r.version = gjson.GetBytes(payload, "version").Uint()
	}
}
