package twin

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"gnomon/cloud/store"
	"gnomon/shadow/wire"
)

// The bounds of trying again. A change that loses to other writers as often as
// that is throttled; so is one that finds as many of its shadow waiting.
const (
	maxAttempts  = 48
	maxWaiting   = 1024
	maxPause     = 20 * time.Millisecond
	placeTimeout = 10 * time.Second
)

// backlog holds the changes that lost to another writer until they are placed
// anew, and those that came meanwhile, so that the changes of a shadow are made
// in the order in which they came here.
type backlog struct {
	mu      sync.Mutex // a leaf: the committer takes it
	waiting map[store.Key][]change
}

// join makes a change wait if others of its shadow do, or if it must.
func (b *backlog) join(c change, must bool) (waits, first bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, others := b.waiting[c.key]
	switch {
	case !others && !must:
		return false, false, nil
	case len(list) >= maxWaiting:
		return false, false, wire.ErrThrottled
	}
	b.put(c)
	return true, !others, nil
}

func (b *backlog) put(c change) {
	if b.waiting == nil {
		b.waiting = make(map[store.Key][]change)
	}
	b.waiting[c.key] = append(b.waiting[c.key], c)
}

// add takes in a change that lost. Their number is bounded by the store's queue.
func (b *backlog) add(c change) {
	c.attempts++
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(c)
}

// lost tells whether changes wait, and how often they lost at the most.
func (b *backlog) lost(key store.Key) (attempts int, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, waits := b.waiting[key]
	for _, c := range list {
		attempts = max(attempts, c.attempts)
	}
	return attempts, waits
}

func (b *backlog) take(key store.Key) []change {
	b.mu.Lock()
	list := b.waiting[key]
	delete(b.waiting, key)
	b.mu.Unlock()
	slices.SortStableFunc(list, func(a, b change) int { return cmp.Compare(a.order, b.order) })
	return list
}

// wait makes a change wait for those that came before it and lost, or that will
// find that they have: while any are under way their void entry stays where it
// is. One that needn't wait is placed on the entry, or on what the store holds where
// that is nil. If the entry becomes void after this look at it, the change is placed
// on it all the same: it will lose, and get its turn. The stripe is locked.
func (s *Service) wait(st *stripe, c change) (e *entry, waits bool, err error) {
	e = st.cached(c.key)
	void := e != nil && e.failed.Load()
	waits, first, err := s.backlog.join(c, void && e.pending.Load() > 0)
	if first && e.pending.Load() == 0 { // the last of them didn't see this one
		go s.again(c.key)
	}
	if void && !waits && err == nil {
		st.drop(e) // nobody is under way, and nobody waits
		e = nil
	}
	return e, waits, err
}

// release counts a change of an entry as answered. The last one of a void entry
// sees to those that wait for it.
func (s *Service) release(e *entry) {
	if e.pending.Add(-1) > 0 || !e.failed.Load() {
		return
	}
	if _, waits := s.backlog.lost(e.key); waits {
		go s.again(e.key)
	}
}

// again places the changes that were built on a void entry on what the store
// holds now. It waits a little, the longer the more often they lost, so that of
// several replicas with the same shadow one gets ahead with all it has.
func (s *Service) again(key store.Key) {
	if attempts, _ := s.backlog.lost(key); attempts > 1 {
		time.Sleep(rand.N(min(time.Duration(attempts)*time.Millisecond, maxPause)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), placeTimeout)
	defer cancel()
	st := s.stripeOf(key.Thing)
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.cached(key); e != nil && e.failed.Load() {
		if e.pending.Load() > 0 {
			return // the last of them comes here
		}
		st.drop(e)
	}
	for _, c := range s.backlog.take(key) {
		err := wire.ErrThrottled
		if c.attempts < maxAttempts {
			if err = s.place(ctx, st, c); err == nil {
				continue
			}
		} else {
			_ = s.metrics.count(err)
		}
		c.done(nil, err)
	}
}
