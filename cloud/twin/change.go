package twin

import (
	"context"
	"errors"
	"fmt"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// change is one change of one shadow on its way to the store.
type change struct {
	principal identity.Principal
	key       store.Key
	request   *wire.Topic // the MQTT request it came by; nil for HTTP
	origin    origin      // zero before it is planned, and for changes of reported alone

	// plan works out the next document. A nil next means that nothing is to
	// change, and done hears of the current one once that is committed. It is
	// called again when another writer came in between.
	plan func(head *shadow.Document, now int64) (next *shadow.Document, update *shadow.Update, err error)

	set *setChange // in place of plan: it is a change of change-sets, and key that of their record

	// done hears of the committed document, or why it isn't known to be. It
	// runs on the committer's goroutine or on that of a retry.
	done func(*shadow.Document, error)

	published bool // by another replica, to its clients and ours

	order    uint64 // of arrival, among the changes of its shadow
	attempts int    // so far lost to other writers
}

// submit plans a change on the head and hands it to the store. When it returns
// an error nothing has changed and done is never called.
func (s *Service) submit(ctx context.Context, c change) error {
	if err := authorize(c.principal, actionWrite, c.key.Thing); err != nil {
		return s.metrics.count(err)
	}
	st := s.stripeOf(c.key.Thing)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.arrived++
	c.order = st.arrived
	if s.cfg.Shared { // it may have to wait, and be placed by somebody else
		c.origin.Origin = trace.From(ctx)
	}
	return s.place(ctx, st, c)
}

// place is submit for a change whose turn it is. The stripe is locked.
func (s *Service) place(ctx context.Context, st *stripe, c change) error {
	var e *entry
	var err error
	if s.cfg.Shared {
		var waits bool
		if e, waits, err = s.wait(st, c); err != nil {
			return s.metrics.count(err)
		} else if waits {
			return nil
		}
	}
	if c.set != nil {
		return s.placeSet(ctx, st, c)
	}
	if e != nil {
		e.used = true
	} else if e, err = st.get(ctx, s.cfg.Store, c.key); err != nil {
		return s.metrics.count(unavailable(err))
	}
	c.key = e.key // the same strings every time, for whoever keeps them
	previous := e.head
	next, update, err := c.plan(previous, s.now())
	if err == nil && next != nil {
		err = s.validate(c.key, previous, next, update)
	}
	switch {
	case err != nil && !s.cfg.Shared && e.pending.Load() == 0:
		return s.metrics.count(err) // the head is committed, and nobody else writes
	case err != nil || next == nil:
		return s.confirm(ctx, e, c, err)
	}
	s.traced(ctx, &c, next)
	if s.cfg.History > 0 && next.DesiredVersion == next.Version {
		return s.placeWith(ctx, st, c, step{e: e, previous: previous, next: next, update: update})
	}
	record, next := next.Pack()
	out := s.messages(c, previous, next, update)
	if s.cfg.Replicas != nil {
		out.notice = appendNotice(make([]byte, 0, 2*len(record)+256), c, previous, record, update)
		out.notice = appendTrace(out.notice, out.change)
	}
	started := s.cfg.Now()
	e.pending.Add(1)
	err = s.cfg.Store.Submit(ctx, []store.Record{{Key: c.key, Data: record, Base: e.sum}}, func(err error) {
		s.finish(e, c, next, out, err)
		s.metrics.commit.Observe(s.cfg.Now().Sub(started).Seconds())
	})
	if err != nil {
		s.release(e)
		return s.metrics.count(unavailable(err))
	}
	e.head = next
	if s.cfg.Shared {
		e.sum = store.SumOf(record)
	}
	st.resize(e, len(record))
	return nil
}

// confirm gives the verdict on a change that changes nothing, which is that the
// head is as wanted already or that it was refused: once everything submitted
// before it is durable, and if no other writer has been there since the head was
// read. For the answer speaks of the head.
func (s *Service) confirm(ctx context.Context, e *entry, c change, verdict error) error {
	head := e.head
	var compare []store.Record
	if s.cfg.Shared {
		compare = []store.Record{{Key: c.key, Base: e.sum}}
	}
	e.pending.Add(1)
	err := s.cfg.Store.Submit(ctx, compare, func(err error) {
		switch {
		case err != nil:
			s.fail(e, c, err)
		case verdict != nil:
			c.done(nil, s.metrics.count(verdict))
		default:
			c.done(head, nil)
		}
		s.release(e)
	})
	if err != nil {
		s.release(e)
		return s.metrics.count(unavailable(err))
	}
	return nil
}

// finish makes a committed document visible and tells everybody.
func (s *Service) finish(e *entry, c change, next *shadow.Document, out outgoing, err error) {
	if err != nil {
		s.fail(e, c, err)
		s.release(e)
		return
	}
	e.committed.Store(next)
	if !e.tell(next) {
		out.event.document = nil // another replica's later version has overtaken it
	}
	s.release(e)
	s.tellTraces(&out, next, trace.Sent{})
	for _, m := range out.messages {
		s.cfg.Publisher.Publish(m.topic, m.payload)
	}
	s.events.append(out.event)
	if out.notice != nil {
		s.cfg.Replicas.Send(c.key.Thing, out.notice)
	}
	_ = s.metrics.count(nil)
	s.lives.changed(c.key.Thing, next.Timestamp)
	c.done(next, nil)
}

// fail voids an entry. What was lost to another writer is tried again.
func (s *Service) fail(e *entry, c change, err error) {
	if errors.Is(err, store.ErrConflict) {
		s.metrics.conflicts.Inc()
		s.backlog.add(c)
		e.failed.Store(true)
		return
	}
	e.failed.Store(true)
	c.done(nil, s.metrics.count(unavailable(err)))
}

// validate checks what the algebra doesn't know: the types of shadows.
func (s *Service) validate(key store.Key, previous, next *shadow.Document, u *shadow.Update) error {
	if next.Deleted {
		return nil
	}
	kind, _ := schema.KindOf(key.Shadow)
	typed := kind == schema.KindApplication || kind == schema.KindPolicy
	if typed && !previous.Exists() && !u.Desired.Present && !installed(next) {
		return wire.NotFound(key.Thing, key.Shadow) // a late report must not bring back what was deleted
	}
	if !u.Desired.Present {
		return nil
	}
	if err := schema.Validate(key.Shadow, next.Desired); err != nil {
		return err
	}
	var before *shadow.Value
	if previous.Exists() {
		before = previous.Desired
	}
	return schema.Fits(key.Shadow, before, next.Desired, s.cfg.Limits.StateBytes)
}

// installed tells whether a shadow is that of an application which is on its node
// though nobody in the cloud asks for it.
func installed(d *shadow.Document) bool {
	o, _ := schema.OverrideOf(d.Reported)
	return o.Kind == schema.OverrideInstalled
}

// unavailable marks a failure of the store as such, for the answer; the cause
// stays inside.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &unavailableError{err}
}

type unavailableError struct{ cause error }

func (e *unavailableError) Error() string      { return "Service unavailable; try again" }
func (e *unavailableError) RejectionCode() int { return wire.CodeUnavailable }
func (e *unavailableError) Unwrap() error      { return e.cause }
func (e *unavailableError) GoString() string   { return fmt.Sprintf("unavailable: %v", e.cause) }
