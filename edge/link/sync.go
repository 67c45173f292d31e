package link

import (
	"fmt"
	"time"

	"gnomon/edge/state"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// question is a sync in flight: its token, and what was stated in it.
type question struct {
	token   string
	expires time.Time
	stated  map[string]statement
}

// statement is what a sync said of one shadow. An answer counts for what still
// is as stated; the rest changed since, and the next sync is about that.
type statement struct {
	desiredVersion uint64
	acked          *shadow.Value
	flight         *flight
	doubt          bool
}

// want asks for a sync as soon as may be; mu is held.
func (l *Link) want(s *session) {
	if s.asked != nil {
		s.again = true
		return
	}
	s.syncAt = l.cfg.Now()
}

// ask states what this node holds; mu is held.
func (l *Link) ask(s *session, now time.Time) message {
	q := &question{token: l.token(), stated: make(map[string]statement, len(l.replicas))}
	req := wire.SyncRequest{
		BootEpoch: l.cfg.Store.BootEpoch(), ClientToken: q.token,
		Shadows: make(map[string]wire.SyncState, len(l.replicas)),
	}
	for name, r := range l.replicas {
		if r.deleted {
			continue
		}
		q.stated[name] = statement{r.desiredVersion, r.acked, r.flight, r.doubt}
		if r.unsent() {
			continue
		}
		req.Shadows[name] = wire.SyncState{Desired: r.desiredVersion, Reported: shadow.Digest(r.acked)}
	}
	s.asked, s.again = q, false
	clear(s.buried)
	topic := l.topic
	topic.Op = wire.OpSync
	body := req.Append(nil)
	q.expires = now.Add(l.patience(len(body), s.unanswered))
	return message{topic.Request(), body}
}

// slowest is the link, in bytes per second, on which a request of any size still
// gets its answer before it is given up.
const slowest = 1000

// patience is how long to wait for the answer to a request of so many bytes. It
// doubles with every one that got none, for links slower still.
func (l *Link) patience(bytes, failures int) time.Duration {
	return l.cfg.Timeout<<min(failures, 4) + time.Duration(bytes)*time.Second/slowest
}

// expire gives up requests that nobody answered; mu is held.
func (l *Link) expire(s *session, now time.Time) {
	if s.asked != nil && !now.Before(s.asked.expires) {
		l.counters.Unanswered.Add(1)
		s.asked = nil
		s.syncAt = now.Add(backoff(s.unanswered, l.interval))
		s.unanswered++
		l.fail("sync unanswered", fmt.Errorf("%d in a row", s.unanswered))
	}
	for name, r := range l.replicas {
		if r.flight != nil && !now.Before(r.flight.expires) {
			l.counters.Unanswered.Add(1)
			r.giveUp()
			r.doubt = true
			r.notBefore = now.Add(backoff(r.tries-1, l.cfg.BackoffMax))
			l.fail("report unanswered", fmt.Errorf("shadow %q", name))
			l.want(s)
		}
	}
}

// answered takes over what the cloud says differs.
func (l *Link) answered(s *session, payload []byte) error {
	reply, err := wire.ParseSyncReply(payload)
	if err != nil {
		l.note(fmt.Errorf("sync answer: %w", err)) // it will expire and be asked again
		return nil
	}
	l.mu.Lock()
	q := s.asked
	if q == nil || q.token != reply.ClientToken {
		l.mu.Unlock()
		return nil
	}
	var adopt []state.Desired
	for name, diff := range reply.Shadows {
		if next, ok := l.differs(s, name, diff, q); ok {
			adopt = append(adopt, next)
		}
	}
	l.mu.Unlock()
	unwritten := l.adopt(adopt...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resolve(q)
	if unwritten != nil {
		l.putOff(s, unwritten)
		return nil
	}
	l.counters.Syncs.Add(1)
	now := l.cfg.Now()
	first := !s.synced
	s.asked, s.synced, s.unanswered, s.unwritten = nil, true, 0, 0
	l.lastSync = now
	s.syncAt = now.Add(jittered(l.interval))
	if reply.More && len(reply.Shadows) > 0 || s.again {
		s.syncAt = now
	}
	if !reply.More && !l.complete {
		l.complete = true
		signal(l.changed)
	}
	if first {
		l.problem = nil
		l.cfg.Log.Info("connected and synced", "differed", len(reply.Shadows), "bootEpoch", l.cfg.Store.BootEpoch())
	}
	return nil
}

// putOff asks again later for what could not be written; mu is held. Meanwhile the
// session goes on: how else should the cloud hear what is wrong with the disk.
func (l *Link) putOff(s *session, err error) {
	l.fail("desired state cannot be written", err)
	s.asked, s.synced = nil, true
	s.syncAt = l.cfg.Now().Add(backoff(s.unwritten, l.interval))
	s.unwritten++
}

// resolve ends the doubt about reports that were stated with it; mu is held.
// Either they show as a difference, which differs has seen, or they never arrived.
func (l *Link) resolve(q *question) {
	for name, stated := range q.stated {
		if r := l.replicas[name]; r != nil && stated.doubt && r.flight == nil {
			r.doubt = false
		}
	}
}

// differs works out what is wanted by one entry of an answer; mu is held.
func (l *Link) differs(s *session, name string, diff wire.SyncShadow, q *question) (next state.Desired, ok bool) {
	if !acted(name) {
		return next, false
	}
	stated, listed := q.stated[name]
	r := l.replicas[name]
	known := r != nil && !r.deleted
	next = state.Desired{Name: name, Version: diff.Version, DesiredVersion: diff.DesiredVersion, Trace: traceID(diff.Trace)}
	changed := known != listed || known && r.desiredVersion != stated.desiredVersion // since the sync went out
	if diff.Deleted {
		next.Deleted = true
		return next, known && (!changed || diff.Version > r.version)
	}
	if known && diff.ReportFull && r.acked == stated.acked && r.flight == nil && stated.flight == nil {
		r.full = true
		l.unsaved(r)
	}
	if buried, was := s.buried[name]; diff.Current || was && diff.DesiredVersion <= buried ||
		known && changed && diff.DesiredVersion <= r.desiredVersion {
		return next, false
	}
	desired, err := parse(diff.Desired)
	if err != nil {
		l.fail("sync answer", fmt.Errorf("desired of %q: %w", name, err))
		return next, false
	}
	if desired.Len() > 0 {
		next.Value = shadow.Merge(nil, desired, 0)
	}
	return next, true
}

func (l *Link) syncRejected(s *session, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.asked == nil || s.asked.token != wire.ClientToken(payload) {
		return
	}
	l.counters.Rejected.Add(1)
	l.fail("sync refused", fmt.Errorf("%.200s", payload))
	s.asked = nil
	s.syncAt = l.cfg.Now().Add(backoff(s.unanswered, l.interval))
	s.unanswered++
}
