package twin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"gnomon/cloud/changeset"
	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// step is what a change makes of one record.
type step struct {
	e              *entry
	previous, next *shadow.Document
	update         *shadow.Update
	generation     uint64 // of the change-set it belongs to; 0: none
	by             string // who wants it; "": the principal of the change
	record         []byte
	out            outgoing
}

// work is a change of several records on its way: a shadow and its history, or
// all that a change-set touches.
type work struct {
	c      change
	pinned []*entry // each held by one pending, so that it stays in the cache
	steps  []step
}

// pin fetches an entry and holds it. The stripe is locked.
func (s *Service) pin(ctx context.Context, st *stripe, w *work, key store.Key) (*entry, error) {
	for _, e := range w.pinned {
		if e.key == key {
			return e, nil
		}
	}
	e, err := st.get(ctx, s.cfg.Store, key)
	if err != nil {
		return nil, err
	}
	e.pending.Add(1)
	w.pinned = append(w.pinned, e)
	return e, nil
}

// unpin lets go of what was pinned, the last first: a history before its shadow,
// so that it is never pending when its shadow isn't.
func (s *Service) unpin(w *work) {
	for i := len(w.pinned) - 1; i >= 0; i-- {
		s.release(w.pinned[i])
	}
}

// placeWith is the end of place for a change of desired, which goes into the
// history, too. The stripe is locked.
func (s *Service) placeWith(ctx context.Context, st *stripe, c change, p step) error {
	w := &work{c: c, steps: []step{p}, pinned: []*entry{p.e}}
	p.e.pending.Add(1)
	if err := s.remember(ctx, st, w, p); err != nil {
		s.unpin(w)
		return s.metrics.count(unavailable(err))
	}
	return s.submitWork(ctx, st, w)
}

// remember adds the step that writes the history of another. The stripe is locked.
func (s *Service) remember(ctx context.Context, st *stripe, w *work, of step) error {
	if !of.e.key.Internal() {
		s.traced(ctx, &w.c, of.next)
	}
	if s.cfg.History <= 0 || of.e.key.Internal() || of.next.DesiredVersion != of.next.Version {
		return nil
	}
	e, err := s.pin(ctx, st, w, history.Key(of.e.key))
	if errors.Is(err, shadow.ErrCorrupt) {
		s.cfg.Log.Error("a history is unreadable, and isn't continued; see: gnomon store check", "thing", of.e.key.Thing, "shadow", of.e.key.Shadow, "error", err)
		return nil // what is desired now counts for more
	}
	if err != nil {
		return err
	}
	write := history.Write{Previous: of.previous, Next: of.next, By: cmp.Or(of.by, w.c.principal.String()), Via: history.ViaHTTP, Generation: of.generation}
	write.Trace, _ = wire.TraceID(w.c.origin.Parent)
	if of.update != nil {
		write.Patch = of.update.Desired.Patch
	}
	switch {
	case of.generation > 0:
		write.Via = history.ViaChangeSet
	case w.c.request != nil:
		write.Via = history.ViaMQTT
	}
	next, err := history.Next(e.head, write, history.Bounds{Versions: s.cfg.History, Bytes: 2 * s.cfg.Limits.StateBytes})
	if err != nil {
		return fmt.Errorf("shadow %q of thing %q: %w", of.e.key.Shadow, of.e.key.Thing, err)
	}
	w.steps = append(w.steps, step{e: e, previous: e.head, next: next})
	return nil
}

// submitWork hands all steps to the store as one change set; what was only looked
// at is compared, where others write, too. It lets go of what is pinned, at the
// latest when the store has answered. The stripe is locked.
func (s *Service) submitWork(ctx context.Context, st *stripe, w *work) error {
	records := make([]store.Record, 0, len(w.pinned))
	stepped := make(map[*entry]bool, len(w.steps))
	for i := range w.steps {
		p := &w.steps[i]
		if !p.e.key.Internal() {
			s.traced(ctx, &w.c, p.next)
		}
		p.record, p.next = p.next.Pack()
		p.out = s.outgoingOf(w.c, p)
		records = append(records, store.Record{Key: p.e.key, Data: p.record, Base: p.e.sum})
		stepped[p.e] = true
	}
	if s.cfg.Shared {
		for _, e := range w.pinned {
			if !stepped[e] {
				records = append(records, store.Record{Key: e.key, Base: e.sum})
			}
		}
	}
	held := &work{pinned: w.pinned}
	for _, e := range held.pinned {
		e.pending.Add(1) // until the cache is in order again: the answer may come before
	}
	defer s.unpin(held)
	started := s.cfg.Now()
	err := s.cfg.Store.Submit(ctx, records, func(err error) {
		s.finishWork(w, err)
		s.metrics.commit.Observe(s.cfg.Now().Sub(started).Seconds())
	})
	if err != nil {
		s.unpin(w)
		return s.metrics.count(unavailable(err))
	}
	for i := range w.steps {
		p := &w.steps[i]
		p.e.head = p.next
		if s.cfg.Shared {
			p.e.sum = store.SumOf(p.record)
		}
	}
	for _, p := range w.steps {
		st.resize(p.e, len(p.record))
	}
	return nil
}

// outgoingOf is what one step tells the world. Of internal records only the
// other replicas hear.
func (s *Service) outgoingOf(c change, p *step) outgoing {
	c.key = p.e.key
	var out outgoing
	update := p.update
	if update == nil {
		update = &shadow.Update{}
	}
	if !c.key.Internal() {
		out = s.messages(c, p.previous, p.next, update)
		if out.change != nil && p.by != "" {
			out.change.By = p.by
		}
	}
	if s.cfg.Replicas != nil && (!c.key.Internal() || c.key.Shadow == changeset.Record) {
		out.notice = appendNotice(make([]byte, 0, 2*len(p.record)+256), c, p.previous, p.record, update)
		out.notice = appendTrace(out.notice, out.change)
	}
	return out
}

// finishWork makes all documents of a change visible, and then tells of each.
func (s *Service) finishWork(w *work, err error) {
	if err != nil {
		s.failWork(w, err)
		return
	}
	for i := range w.steps {
		p := &w.steps[i]
		p.e.committed.Store(p.next)
		if !p.e.tell(p.next) {
			p.out.event.document = nil // another replica's later version has overtaken it
		}
	}
	s.unpin(w)
	for i := range w.steps {
		p := &w.steps[i]
		s.tellTraces(&p.out, p.next, trace.Sent{})
		for _, m := range p.out.messages {
			s.cfg.Publisher.Publish(m.topic, m.payload)
		}
		switch {
		case !p.e.key.Internal():
			s.events.append(p.out.event)
			_ = s.metrics.count(nil)
		case p.e.key.Shadow == changeset.Record:
			s.noteChanges(p.e.key.Thing, p.next)
		}
		if p.out.notice != nil {
			s.cfg.Replicas.Send(p.e.key.Thing, p.out.notice)
		}
	}
	s.lives.changed(w.c.key.Thing, s.now())
	w.c.done(w.steps[0].next, nil)
}

func (s *Service) noteChanges(thing string, d *shadow.Document) {
	if err := s.lives.note(thing, d, s.now()); err != nil {
		s.cfg.Log.Error("change-sets are unreadable; see: gnomon store check", "thing", thing, "error", err)
	}
}

// failWork voids what was to change. A change lost to another writer is tried
// again, which begins with reading all that it looked at.
func (s *Service) failWork(w *work, err error) {
	for _, e := range w.pinned[1:] {
		e.failed.Store(true)
	}
	s.fail(w.pinned[0], w.c, err)
	s.unpin(w)
}
