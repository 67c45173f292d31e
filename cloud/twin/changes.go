package twin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/cloud/changeset"
	"gnomon/cloud/history"
	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Condition tells whether a selector holds for a shadow. classic is the classic
// shadow of the same thing; either may be nil.
type Condition func(key store.Key, d, classic *shadow.Document, now time.Time) bool

// ChangeSet is a change-set as it stands.
type ChangeSet struct {
	Thing    string
	Change   *changeset.Change
	Status   changeset.Status            // what it is by now, though it may not be written yet
	Next     int64                       // second at which it may be applied, of one whose time hasn't come; else 0
	Receipts map[string][]schema.Receipt // by shadow
}

// setChange is what a change does with the change-sets of a thing. It may be
// called more than once.
type setChange struct {
	names []string // of shadows that it looks at, beside those of open change-sets

	// do returns what is to be written; changed tells whether the set itself is.
	do func(set *changeset.Set, v *changeset.View) (w changeset.Writes, changed bool, err error)
}

// Change accepts a change-set, and applies it if it may be by now: in one change
// set of the store, whole or not at all. With dry nothing is written, and the
// answer is what would be.
func (s *Service) Change(ctx context.Context, p identity.Principal, thing string, c *changeset.Change, dry bool) (*ChangeSet, error) {
	if err := authorize(p, actionWrite, thing); err != nil {
		return nil, s.metrics.count(err)
	}
	c.By = p.String()
	var added *changeset.Change
	sc := &setChange{names: c.Looks()}
	sc.do = func(set *changeset.Set, v *changeset.View) (changeset.Writes, bool, error) {
		added = c.Clone() // it may be planned again
		w, err := set.Add(added, v, s.changeBounds())
		return w, true, err
	}
	if dry {
		set, v, err := s.view(ctx, thing, sc.names)
		var w changeset.Writes
		if err == nil {
			w, _, err = sc.do(set, v)
		}
		if err != nil {
			return nil, err
		}
		for name, write := range w.Shadow { // as if it were
			v.Heads[name] = write.Next
			delete(v.Logs, name)
		}
		return s.standing(thing, added, v), nil
	}
	if _, err := s.await(ctx, change{principal: p, key: changeset.Key(thing), set: sc}); err != nil {
		return nil, err
	}
	got, err := s.ChangeOf(ctx, p, thing, added.Generation)
	if errors.Is(err, shadow.ErrNotFound) { // so many came after it that it isn't kept any more
		return &ChangeSet{Thing: thing, Change: added, Status: added.Status}, nil
	}
	return got, err
}

// changeBounds are those of the change-sets of one thing.
func (s *Service) changeBounds() changeset.Bounds {
	b := changeset.DefaultBounds
	b.Bytes = max(b.Bytes, 4*s.cfg.Limits.StateBytes)
	return b
}

// ChangeRules are what change-sets are held to before they are accepted.
func (s *Service) ChangeRules() changeset.Rules {
	return changeset.Rules{Now: s.cfg.Now(), Limits: s.cfg.Limits, Bounds: s.changeBounds(), Selector: func(selector string) error {
		_, err := s.cfg.Condition(selector)
		return err
	}}
}

// CancelChange ends a change-set that isn't applied yet.
func (s *Service) CancelChange(ctx context.Context, p identity.Principal, thing string, generation uint64) (*ChangeSet, error) {
	sc := &setChange{do: func(set *changeset.Set, v *changeset.View) (changeset.Writes, bool, error) {
		_, err := set.Cancel(generation, v.Now, p.String())
		return changeset.Writes{}, true, err
	}}
	if _, err := s.await(ctx, change{principal: p, key: changeset.Key(thing), set: sc}); err != nil {
		return nil, err
	}
	return s.ChangeOf(ctx, p, thing, generation)
}

// ChangeOf returns one change-set of a thing as it stands.
func (s *Service) ChangeOf(ctx context.Context, p identity.Principal, thing string, generation uint64) (*ChangeSet, error) {
	if err := authorize(p, actionRead, thing); err != nil {
		return nil, err
	}
	set, v, err := s.view(ctx, thing, nil)
	if err != nil {
		return nil, err
	}
	c, err := set.Find(generation)
	if err != nil {
		return nil, err
	}
	if err := s.look(ctx, thing, c.Looks(), v); err != nil {
		return nil, err
	}
	return s.standing(thing, c, v), nil
}

// Changes returns the change-sets of a thing that are kept, the newest first.
func (s *Service) Changes(ctx context.Context, p identity.Principal, thing string) ([]*ChangeSet, error) {
	if err := authorize(p, actionRead, thing); err != nil {
		return nil, err
	}
	set, v, err := s.view(ctx, thing, nil)
	if err != nil {
		return nil, err
	}
	out := make([]*ChangeSet, 0, len(set.Changes))
	for i := len(set.Changes) - 1; i >= 0; i-- {
		c := set.Changes[i]
		if err := s.look(ctx, thing, c.Looks(), v); err != nil {
			return nil, err
		}
		out = append(out, s.standing(thing, c, v))
	}
	return out, nil
}

func (s *Service) standing(thing string, c *changeset.Change, v *changeset.View) *ChangeSet {
	out := &ChangeSet{Thing: thing, Change: c, Status: c.Progress(v), Receipts: make(map[string][]schema.Receipt)}
	if c.Status == changeset.Scheduled {
		if next := changeset.NextOpen(c.Windows, max(v.Now, c.NotBefore)); next > v.Now {
			out.Next = next
		}
	}
	for name := range c.Shadows {
		out.Receipts[name] = c.Receipts(name, v)
	}
	return out
}

// view reads the change-sets of a thing, and what they look at, as committed.
func (s *Service) view(ctx context.Context, thing string, names []string) (*changeset.Set, *changeset.View, error) {
	d, err := s.peek(ctx, changeset.Key(thing))
	if err != nil {
		return nil, nil, err
	}
	set, err := changeset.Parse(d)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	v := s.emptyView(thing)
	return set, v, s.look(ctx, thing, append(names, set.Names()...), v)
}

// look adds committed documents to a view.
func (s *Service) look(ctx context.Context, thing string, names []string, v *changeset.View) error {
	for _, name := range names {
		if _, there := v.Heads[name]; there {
			continue
		}
		key := store.Key{Thing: thing, Shadow: name}
		d, err := s.peek(ctx, key)
		if err != nil {
			return err
		}
		h, err := s.peek(ctx, history.Key(key))
		if err != nil {
			return err
		}
		v.Heads[name] = d
		s.readLog(v, key, h)
	}
	return nil
}

func (s *Service) readLog(v *changeset.View, key store.Key, h *shadow.Document) {
	log, err := history.Read(h, v.Heads[key.Shadow])
	if err != nil {
		s.cfg.Log.Error("a history is unreadable; see: gnomon store check", "thing", key.Thing, "shadow", key.Shadow, "error", err)
		return
	}
	v.Logs[key.Shadow] = log
}

func (s *Service) emptyView(thing string) *changeset.View {
	now := s.cfg.Now()
	v := &changeset.View{
		Now: now.Unix(), Limits: s.cfg.Limits,
		Heads: make(map[string]*shadow.Document), Logs: make(map[string]*history.Log),
	}
	v.Holds = func(name, selector string) bool {
		holds, err := s.cfg.Condition(selector)
		return err == nil && holds(store.Key{Thing: thing, Shadow: name}, v.Heads[name], v.Heads[""], now)
	}
	v.Validate = func(name string, previous, next *shadow.Document, u *shadow.Update) error {
		return s.validate(store.Key{Thing: thing, Shadow: name}, previous, next, u)
	}
	return v
}

// placeSet is place for a change of change-sets. The stripe is locked.
func (s *Service) placeSet(ctx context.Context, st *stripe, c change) error {
	w := &work{c: c}
	set, v, void, err := s.gather(ctx, st, w)
	switch {
	case err != nil:
		s.unpin(w)
		return s.metrics.count(unavailable(err))
	case void:
		s.unpin(w)
		return s.waitForVoid(c)
	}
	writes, changed, err := c.set.do(set, v)
	if err != nil || !changed {
		return s.confirmWork(ctx, w, err)
	}
	e := w.pinned[0]
	next, err := set.Document(e.head, v.Now, s.changeBounds())
	if err != nil {
		return s.confirmWork(ctx, w, err)
	}
	w.steps = append(w.steps, step{e: e, previous: e.head, next: next})
	for name, write := range writes.Shadow {
		key := store.Key{Thing: c.key.Thing, Shadow: name}
		e, err := s.pin(ctx, st, w, key)
		if err == nil {
			p := step{e: e, previous: e.head, next: write.Next, update: write.Update, generation: writes.Of.Generation, by: writes.Of.By}
			w.steps = append(w.steps, p)
			err = s.remember(ctx, st, w, p)
		}
		if err != nil {
			s.unpin(w)
			return s.metrics.count(unavailable(err))
		}
	}
	return s.submitWork(ctx, st, w)
}

// gather pins the change-sets of a thing and all that they look at. void tells
// that something there is, and has to be answered before it can be read anew.
func (s *Service) gather(ctx context.Context, st *stripe, w *work) (set *changeset.Set, v *changeset.View, void bool, err error) {
	e, err := s.pin(ctx, st, w, w.c.key)
	if err != nil {
		return nil, nil, false, err
	}
	if set, err = changeset.Parse(e.head); err != nil {
		return nil, nil, false, err
	}
	v = s.emptyView(w.c.key.Thing)
	for _, name := range append(set.Names(), w.c.set.names...) {
		if _, there := v.Heads[name]; there {
			continue
		}
		key := store.Key{Thing: w.c.key.Thing, Shadow: name}
		if x := st.cached(key); s.cfg.Shared && x != nil && x.failed.Load() && x.pending.Load() > 0 {
			return nil, nil, true, nil
		}
		if e, err = s.pin(ctx, st, w, key); err != nil {
			return nil, nil, false, err
		}
		v.Heads[name] = e.head
		h, err := s.pin(ctx, st, w, history.Key(key))
		if err != nil {
			return nil, nil, false, err
		}
		s.readLog(v, key, h.head)
	}
	return set, v, false, nil
}

// waitForVoid has a change tried again in a moment.
func (s *Service) waitForVoid(c change) error {
	c.attempts++
	_, first, err := s.backlog.join(c, true)
	if err != nil {
		return s.metrics.count(err)
	}
	if first {
		go s.again(c.key)
	}
	return nil
}

// confirmWork is confirm for a change that looked at several records.
func (s *Service) confirmWork(ctx context.Context, w *work, verdict error) error {
	head := w.pinned[0].head
	var compare []store.Record
	if s.cfg.Shared {
		for _, e := range w.pinned {
			compare = append(compare, store.Record{Key: e.key, Base: e.sum})
		}
	}
	err := s.cfg.Store.Submit(ctx, compare, func(err error) {
		switch {
		case err != nil:
			s.failWork(w, err)
			return
		case verdict != nil:
			w.c.done(nil, s.metrics.count(verdict))
		default:
			w.c.done(head, nil)
		}
		s.unpin(w)
	})
	if err != nil {
		s.unpin(w)
		return s.metrics.count(unavailable(err))
	}
	return nil
}

// ErrNoConditions: this service knows no selectors.
var ErrNoConditions = &wire.Error{Code: wire.CodeInvalidRequest, Message: "preconditions are not available"}

func noConditions(string) (Condition, error) {
	return nil, fmt.Errorf("precondition: %w", ErrNoConditions)
}
