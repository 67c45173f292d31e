package trace

import (
	"slices"
	"time"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// SentTo tells to how many clients of this process a change of a shadow goes, as
// they listen now.
func (l *Log) SentTo(key store.Key, hasDelta bool) Sent {
	if l.cfg.Listeners == nil {
		return Sent{}
	}
	s := Sent{Known: true}
	for _, plain := range [...]bool{false, true} {
		t := wire.Topic{Thing: key.Thing, Shadow: key.Shadow, Plain: plain}
		all, acknowledging := l.cfg.Listeners(t.Desired())
		s.Push, s.Acknowledging = s.Push+all, s.Acknowledging+acknowledging
		if hasDelta {
			all, acknowledging = l.cfg.Listeners(t.Delta())
			s.Delta, s.Acknowledging = s.Delta+all, s.Acknowledging+acknowledging
		}
	}
	return s
}

// Committed tells of a change that is durable and about to be published. Of one
// that another replica committed, elsewhere is to how many that published it.
func (l *Log) Committed(c Change, elsewhere Sent) {
	now := l.cfg.Now()
	own := c.Sent
	c.Sent = own.plus(elsewhere)
	r := newChange(c, now)
	l.mu.Lock()
	added := l.add(r, now)
	if added {
		l.emit(r, StepWritten, r.Written)
		l.emit(r, StepCommitted, now)
		l.emit(r, StepPublished, now)
		if r.Met && r.end == open {
			l.finish(r, converged, now)
			l.emit(r, StepConverged, now)
		}
	}
	l.mu.Unlock()
	if added && c.Remote && own.listeners() > 0 {
		l.tell(word{kind: wordSent, thing: c.Key.Thing, shadow: c.Key.Shadow, version: c.Version, sent: own})
	}
}

// TraceOf returns the traceparent of the change that led to a version of desired,
// "" when it isn't known.
func (l *Log) TraceOf(key store.Key, version uint64) string {
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.versions[id{key, version}]; c != nil {
		return c.Parent
	}
	return ""
}

// Reported tells of an update of reported, of which the document came out, with
// the phase that it has and whether it has converged. It costs next to nothing
// unless a change of that shadow is waited for and what is said of it is new.
func (l *Log) Reported(key store.Key, d *shadow.Document, phase string, done bool) {
	if l == nil || l.open.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.latest[key]
	if c == nil || c.end != open || c.Deleted || d.DesiredVersion != c.Version {
		return
	}
	mark := markOf(key.Shadow, d, phase)
	if c.mark == mark && !done {
		return
	}
	c.mark = mark
	l.outcome(c, d, phase, done)
}

// outcome takes in what is new of what an edge or device reports; mu is held.
func (l *Log) outcome(c *change, d *shadow.Document, phase string, done bool) {
	now := l.cfg.Now()
	typed := acted(c.Key.Shadow, d)
	observed, fault := schema.OutcomeOf(c.Key.Shadow, d.Reported)
	phase = clip(phase)
	if plan, ok := schema.PlanOf(d.Reported); typed && ok && plan.Version == c.Version {
		blockers := blockersOf(d.Reported)
		if !slices.Equal(plan.Steps, c.plan.Steps) || !slices.Equal(blockers, c.blockers) {
			if c.planned.IsZero() {
				c.planned = now
			}
			c.plan, c.blockers = plan, blockers
			l.emit(c, StepPlanned, now)
		}
	}
	if first := c.reported.IsZero(); (!typed || observed >= c.Version) && (first || c.phase != phase) {
		if c.phase = phase; first {
			c.reported = now
		}
		l.emit(c, StepReported, now)
	}
	c.observed = observed
	if fault != nil && observed >= c.Version && (c.fault == nil || *c.fault != *fault) {
		c.failed, c.fault = now, &schema.Fault{Code: clip(fault.Code), Message: clip(fault.Message), Retryable: fault.Retryable, At: clip(fault.At)}
		l.emit(c, StepFailed, now)
	}
	if done {
		l.finish(c, converged, now)
		l.emit(c, StepConverged, now)
	}
	l.resize(c)
}

// acted tells whether a node acts on a shadow and says on which version.
func acted(shadowName string, d *shadow.Document) bool {
	switch kind, _ := schema.KindOf(shadowName); kind {
	case schema.KindNode:
		return schema.IsNode(d)
	default:
		return kind != schema.KindFree
	}
}

// blockersOf is what a node says it waits for, for people.
func blockersOf(reported *shadow.Value) (all []string) {
	for _, text := range schema.BlockersOf(reported).Messages() {
		if len(all) < maxBlockers {
			all = append(all, clip(text))
		}
	}
	return all
}

// markOf is a hash of all that outcome looks at, made without allocating.
func markOf(shadowName string, d *shadow.Document, phase string) uint64 {
	h := fnv(14695981039346656037)
	h.text(phase)
	v := d.Reported
	if kind, _ := schema.KindOf(shadowName); kind == schema.KindNode {
		v = v.Get(schema.NodeMember)
	}
	h.text(v.Get("observedVersion").Text())
	h.value(v.Get(schema.PlanMember), 2)
	h.value(v.Get("error"), 1)
	h.value(v.Get(schema.BlockersMember), 2)
	return max(1, uint64(h))
}

// fnv is FNV-1a.
type fnv uint64

func (h *fnv) text(s string) {
	n := uint64(*h)
	for i := 0; i < len(s); i++ {
		n = (n ^ uint64(s[i])) * 1099511628211
	}
	*h = fnv((n ^ 0xff) * 1099511628211) // no byte of a UTF-8 text
}

func (h *fnv) value(v *shadow.Value, depth int) {
	h.text(v.Text())
	if depth == 0 {
		return
	}
	for key, m := range v.Members() {
		h.text(key)
		h.value(m, depth-1)
	}
}

// Sent tells of clients of another replica that a change was published to.
func (l *Log) sentElsewhere(w word) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.versions[w.id()]; c != nil {
		c.Sent = c.Sent.plus(w.sent)
		l.emit(c, StepPublished, c.published)
	}
}

// deliver notes that a client has acknowledged a change; mu is held. again tells
// that it was the answer to a client that said it hadn't got it.
func (l *Log) deliver(c *change, client string, persisted, again bool, at time.Time) bool {
	kind, _ := schema.KindOf(c.Key.Shadow)
	switch {
	case (kind == schema.KindApplication || kind == schema.KindPolicy) && !persisted:
		return false // somebody who looks on
	case c.delivered.IsZero():
	case persisted && !c.persisted:
	case again && persisted && c.planned.IsZero() && c.reported.IsZero():
	default:
		return false
	}
	for _, later := range []time.Time{c.planned, c.reported} {
		if persisted && !later.IsZero() && at.After(later) {
			at = later // the report overtook the acknowledgement, and proves as much
		}
	}
	l.count(c, -1)
	c.delivered, c.client, c.persisted = at, clip(client), persisted
	l.count(c, 1)
	l.emit(c, StepDelivered, at)
	if c.Deleted && c.end == open && persisted {
		l.finish(c, gone, at)
	}
	l.resize(c)
	return true
}
