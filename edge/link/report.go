package link

import (
	"context"
	"time"

	"gnomon/edge/failpoint"
	"gnomon/edge/state"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Report makes v all that a shadow reports. Shadows that are not held report
// nothing: the cloud has deleted them.
func (l *Link) Report(name string, v *shadow.Value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.replicas[name]
	if r == nil || r.deleted || shadow.Equal(r.reported, v) {
		return
	}
	if !r.pending() {
		r.since = l.cfg.Now()
	}
	r.reported = v
	l.unsaved(r)
	signal(l.kick)
}

// Reported returns what a shadow last reported, across restarts.
func (l *Link) Reported(name string) *shadow.Value {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.replicas[name]; r != nil {
		return r.reported
	}
	return nil
}

// reports are the reports that are due; mu is held.
func (l *Link) reports(now time.Time) (out []message) {
	flying := 0
	for _, r := range l.replicas {
		if r.flight != nil {
			flying++
		}
	}
	for _, w := range l.queue(now) {
		most := maxInFlight
		if w.lane != laneAlarm {
			most-- // the last place is for alarms
		}
		if flying >= most {
			break // each answer comes back here
		}
		flying++
		out = append(out, l.report(w.name, w.replica, now))
	}
	return out
}

func (l *Link) report(name string, r *replica, now time.Time) message {
	l.counters.Reports.Add(1)
	patch := r.reported
	if !r.full {
		patch = shadow.PatchBetween(r.acked, r.reported)
	}
	l.seq++
	r.flight = &flight{token: l.token(), reported: r.reported, full: r.full}
	origin := shadow.Origin{BootEpoch: l.cfg.Store.BootEpoch(), Seq: l.seq}
	topic := l.topic
	topic.Shadow, topic.Op = name, wire.OpUpdate
	body := wire.AppendReport(make([]byte, 0, 512), patch, origin, r.full, r.flight.token)
	r.flight.expires = now.Add(l.patience(len(body), r.tries))
	r.tries++
	r.full = false
	return message{topic.Request(), body}
}

// unsaved has the outbox of r written soon; mu is held.
func (l *Link) unsaved(r *replica) {
	r.unsaved = true
	signal(l.dirty)
}

// save writes the outbox some time after it changed, until ctx ends, and then
// once more.
func (l *Link) save(ctx context.Context) {
	failures := 0
	for {
		select {
		case <-ctx.Done():
			_ = l.saveNow()
			return
		case <-l.dirty:
		}
		pause := l.cfg.PersistAfter
		if failures > 0 {
			pause = backoff(failures, time.Minute)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		if err := l.saveNow(); err != nil {
			failures++
			l.note(err)
			l.cfg.Log.Error("outbox could not be written", "error", err)
			signal(l.dirty)
			continue
		}
		failures = 0
	}
}

func (l *Link) saveNow() error {
	if err := l.clearForgotten(); err != nil {
		return err
	}
	l.mu.Lock()
	var all []state.Outbox
	var of []*replica
	for name, r := range l.replicas {
		if r.unsaved && !r.deleted {
			all = append(all, r.outbox(name))
			of = append(of, r)
			r.unsaved = false
		}
	}
	l.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	err := failpoint.Hit(failpoint.OutboxBegin)
	if err == nil {
		err = l.cfg.Store.PutOutbox(all...)
	}
	if err == nil {
		err = failpoint.Hit(failpoint.OutboxWritten)
	}
	if err != nil {
		l.counters.StoreErrors.Add(1)
		l.mu.Lock()
		for _, r := range of {
			r.unsaved = true
		}
		l.mu.Unlock()
	}
	return err
}
