package twin

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gnomon/cloud/changeset"
	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Bounds of the scheduler. A jump of the wall clock, and a precondition that comes
// to hold because time passes, are noticed after as long.
const (
	maxSleep    = 10 * time.Second
	recheck     = 15 // seconds after which one that was due and couldn't be applied is looked at again
	retryAfter  = 2  // seconds after a failure
	stepsAtOnce = 64 // submitted and not answered
)

// lives knows of every thing with change-sets that are not over, and when
// something may have to be done about them.
type lives struct {
	count atomic.Int64 // of things; looked at with every commit

	mu     sync.Mutex
	things map[string]*life
	due    dueHeap
	wake   chan struct{}
}

// life is one thing.
type life struct {
	thing   string
	version uint64   // of the document of its change-sets
	watch   bool     // changes of its shadows matter
	takes   []string // shadows of which something may be taken back
	at      int64    // second at which it is looked at; 0: not by itself
	index   int      // in the heap; -1: not in it
	again   bool     // something changed while it was being looked at
	busy    bool
}

func (l *lives) init() {
	l.things, l.wake = make(map[string]*life), make(chan struct{}, 1)
}

// note takes in the change-sets of a thing as they were committed.
func (l *lives) note(thing string, d *shadow.Document, now int64) error {
	set, err := changeset.Parse(d)
	if err != nil {
		return err
	}
	at, watch := set.Due(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.things[thing]
	if x != nil && d.Version < x.version {
		return nil
	}
	if at == 0 && !watch {
		if x != nil {
			l.place(x, 0)
			delete(l.things, thing)
			l.count.Store(int64(len(l.things)))
		}
		return nil
	}
	if x == nil {
		x = &life{thing: thing, index: -1}
		l.things[thing] = x
		l.count.Store(int64(len(l.things)))
	}
	if x.version == d.Version {
		return nil // read again; what is planned for it stands
	}
	x.version, x.watch, x.takes = d.Version, watch, set.TakesBack()
	if watch {
		at = now // what it waits for may be there already
	}
	l.plan(x, at)
	return nil
}

// changed has a thing looked at because one of its shadows changed.
func (l *lives) changed(thing string, now int64) {
	if l.count.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.things[thing]; x != nil && x.watch {
		l.plan(x, now)
	}
}

// takeBack tells whether some of what is desired of a shadow may be taken back.
func (l *lives) takeBack(key store.Key) bool {
	if l.count.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.things[key.Thing]
	return x != nil && slices.Contains(x.takes, key.Shadow)
}

// plan has a thing looked at, once it isn't any more. The lock is held.
func (l *lives) plan(x *life, at int64) {
	if x.busy {
		x.again = true
		return
	}
	l.place(x, at)
}

// place puts a thing where it belongs among those that are due. The lock is held.
func (l *lives) place(x *life, at int64) {
	x.at = at
	switch {
	case at == 0 && x.index >= 0:
		heap.Remove(&l.due, x.index)
	case at == 0:
	case x.index >= 0:
		heap.Fix(&l.due, x.index)
	default:
		heap.Push(&l.due, x)
	}
	if x.index == 0 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// take returns a thing that is due, which is then busy until settle; or how long
// there is none.
func (l *lives) take(now int64) (thing string, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.due) == 0 {
		return "", -1
	}
	x := l.due[0]
	if x.at > now {
		return "", min(time.Duration(x.at-now)*time.Second, maxSleep)
	}
	heap.Pop(&l.due)
	x.busy, x.again = true, false
	return x.thing, 0
}

// settle plans when a thing that was looked at is looked at next, unless
// something happened to it meanwhile.
func (l *lives) settle(thing string, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.things[thing]
	if x == nil {
		return
	}
	if x.busy = false; x.again {
		at = 1 // at once
	}
	l.place(x, at)
}

// open returns the names of things after one, in order.
func (l *lives) open(after string, limit int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for name := range l.things {
		if name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(limit, len(names))]
}

// dueHeap is a heap of lives by when they are due.
type dueHeap []*life

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	one := x.(*life)
	one.index = len(*h)
	*h = append(*h, one)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	one := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	one.index = -1
	return one
}

// scheduler is who change-sets are applied for when nobody asks.
var scheduler = identity.Principal{Kind: identity.Operator, Name: "schedule"}

// Run does what change-sets are due for: applies, expires and clears them, until
// ctx ends. It sleeps in between. Of several processes on one store each tries,
// and one does it.
func (s *Service) Run(ctx context.Context) error {
	places := make(chan struct{}, stepsAtOnce)
	var under sync.WaitGroup
	defer under.Wait()
	for {
		thing, wait := s.lives.take(s.now())
		if thing != "" {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			under.Add(1)
			s.advance(ctx, thing, func() { <-places; under.Done() })
			continue
		}
		var alarm <-chan time.Time
		if wait >= 0 {
			alarm = s.cfg.After(wait)
		}
		select {
		case <-alarm:
		case <-s.lives.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// advance does one thing's next step, if there is any, and calls ended.
func (s *Service) advance(ctx context.Context, thing string, ended func()) {
	set, v, err := s.view(ctx, thing, nil)
	if err != nil {
		s.cfg.Log.Warn("change-sets can't be read; trying again", "thing", thing, "error", err)
		s.lives.settle(thing, s.now()+retryAfter)
		ended()
		return
	}
	if w := set.Step(v); w.Of == nil {
		s.lives.settle(thing, nextLook(set, v.Now))
		ended()
		return
	}
	var of *changeset.Change
	sc := &setChange{do: func(set *changeset.Set, v *changeset.View) (changeset.Writes, bool, error) {
		w := set.Step(v)
		of = w.Of
		return w, of != nil, nil
	}}
	done := func(_ *shadow.Document, err error) {
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("a change-set could not be carried on; trying again", "thing", thing, "error", err)
		}
		if err != nil {
			s.lives.settle(thing, s.now()+retryAfter)
		} else {
			s.lives.settle(thing, 1) // at once: there may be more to do
			if of != nil {
				s.cfg.Log.Info("change-set", "thing", thing, "generation", of.Generation, "status", string(of.Status), "reason", of.Reason)
			}
		}
		ended()
	}
	if err := s.submit(ctx, change{principal: scheduler, key: changeset.Key(thing), set: sc, done: done}); err != nil {
		done(nil, err)
	}
}

// nextLook is when change-sets about which there is nothing to do now are looked
// at again.
func nextLook(set *changeset.Set, now int64) int64 {
	at, _ := set.Due(now)
	if at > 0 && at <= now {
		at = now + recheck // it is time, and something else is waited for
	}
	return at
}

// OpenChanges returns the names of up to limit things, after one, that have
// change-sets which are not over, as far as this process knows.
func (s *Service) OpenChanges(p identity.Principal, after string, limit int) ([]string, error) {
	if err := authorize(p, actionList, ""); err != nil {
		return nil, err
	}
	return s.lives.open(after, limit), nil
}

// Internal hears of an internal record that whoever reads the whole store found:
// so change-sets are known of at the start, and those that another process
// accepted and nobody told of after a while.
func (s *Service) Internal(r store.Record) {
	if r.Key.Shadow != changeset.Record {
		return
	}
	d, err := shadow.ParseRecord(r.Data)
	if err == nil {
		err = s.lives.note(r.Key.Thing, d, s.now())
	}
	if err != nil {
		s.cfg.Log.Error("stored change-sets are unreadable; see: gnomon store check", "thing", r.Key.Thing, "error", err)
	}
}
