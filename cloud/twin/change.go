package twin

import (
	"context"
	"fmt"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// change is one change of one shadow on its way to the store.
type change struct {
	principal identity.Principal
	key       store.Key
	request   *wire.Topic // the MQTT request it came by; nil for HTTP

	// plan works out the next document. A nil next means that nothing is to
	// change, and done hears of the current one once that is committed.
	plan func(head *shadow.Document, now int64) (next *shadow.Document, update *shadow.Update, err error)

	// done hears of the committed document, or why it isn't known to be. It
	// runs on the committer's goroutine.
	done func(*shadow.Document, error)
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
	e, err := st.get(ctx, s.cfg.Store, c.key)
	if err != nil {
		return s.metrics.count(unavailable(err))
	}
	previous := e.head
	next, update, err := c.plan(previous, s.now())
	if err != nil {
		return s.metrics.count(err)
	}
	if next == nil {
		return s.barrier(ctx, c, previous)
	}
	if err := validate(c.key, previous, next, update); err != nil {
		return s.metrics.count(err)
	}
	record := next.AppendRecord(make([]byte, 0, next.StateBytes()*3/2+128))
	out := s.messages(c, previous, next, update)
	started := s.cfg.Now()
	e.pending.Add(1)
	err = s.cfg.Store.Submit(ctx, []store.Record{{Key: c.key, Data: record}}, func(err error) {
		s.finish(e, c, next, out, err)
		s.metrics.commit.Observe(s.cfg.Now().Sub(started).Seconds())
	})
	if err != nil {
		e.pending.Add(-1)
		return s.metrics.count(unavailable(err))
	}
	e.head = next
	st.resize(e, len(record))
	return nil
}

// barrier answers a change that changes nothing once everything submitted
// before it is durable, since the answer speaks of the head.
func (s *Service) barrier(ctx context.Context, c change, head *shadow.Document) error {
	return unavailable(s.cfg.Store.Submit(ctx, nil, func(err error) { c.done(head, unavailable(err)) }))
}

// finish makes a committed document visible and tells everybody.
func (s *Service) finish(e *entry, c change, next *shadow.Document, out outgoing, err error) {
	if err != nil {
		e.failed.Store(true)
		e.pending.Add(-1)
		c.done(nil, s.metrics.count(unavailable(err)))
		return
	}
	e.committed.Store(next)
	e.pending.Add(-1)
	for _, m := range out.messages {
		s.cfg.Publisher.Publish(m.topic, m.payload)
	}
	s.events.append(out.event)
	_ = s.metrics.count(nil)
	c.done(next, nil)
}

// validate checks what the algebra doesn't know: the types of shadows.
func validate(key store.Key, previous, next *shadow.Document, u *shadow.Update) error {
	if next.Deleted {
		return nil
	}
	kind, _ := schema.KindOf(key.Shadow)
	typed := kind == schema.KindApplication || kind == schema.KindPolicy
	if typed && !previous.Exists() && !u.Desired.Present {
		return wire.NotFound(key.Thing, key.Shadow) // a late report must not bring back what was deleted
	}
	if !u.Desired.Present {
		return nil
	}
	return schema.Validate(key.Shadow, next.Desired)
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
