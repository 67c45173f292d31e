package medium

import (
	"context"
	"slices"
	"sync"
)

// Turn lets one poll at a time use a port, or as many as it has places. Of those
// that wait, the one with the lowest priority number is next; among equals the one
// that has waited longest. Whoever waits gains one step of priority for every eight
// turns of others, within its class: 0 is somebody who waits for an answer, 1 to 9
// is read in slots, 10 to 18 is read between them. So priority n of a class has its
// turn after 8(n-1) turns of others and those that waited before it.
type Turn struct {
	mu      sync.Mutex
	places  int // beyond the first
	taken   int
	waiting []waiter // in the order they came
}

type waiter struct {
	priority int
	passed   int           // turns that others had meanwhile
	ready    chan struct{} // closed when it is its turn
}

const (
	agingTurns = 8
	classSize  = 9
)

// rank is the priority that a waiter has by now.
func (w *waiter) rank() int {
	if w.priority < 1 {
		return w.priority
	}
	first := (w.priority-1)/classSize*classSize + 1
	return max(w.priority-w.passed/agingTurns, first)
}

// Take waits for the turn. On an error it hasn't got it.
func (t *Turn) Take(ctx context.Context, priority int) error {
	t.mu.Lock()
	if t.taken <= t.places {
		t.taken++
		t.mu.Unlock()
		return nil
	}
	w := waiter{priority: priority, ready: make(chan struct{})}
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := slices.IndexFunc(t.waiting, func(o waiter) bool { return o.ready == w.ready }); at >= 0 {
		t.waiting = slices.Delete(t.waiting, at, at+1)
	} else {
		t.pass() // it came in the same moment
	}
	return ctx.Err()
}

// Give ends the turn.
func (t *Turn) Give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// SetPlaces says how many may have the turn at once, at least one. Those that
// have it keep it.
func (t *Turn) SetPlaces(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.places = max(n, 1) - 1
	t.admit()
}

// pass hands the turn on; mu is held.
func (t *Turn) pass() {
	t.taken--
	t.admit()
}

// admit gives free places to those that wait; mu is held.
func (t *Turn) admit() {
	for len(t.waiting) > 0 && t.taken <= t.places {
		next := 0
		for i := range t.waiting {
			t.waiting[i].passed++
			if t.waiting[i].rank() < t.waiting[next].rank() {
				next = i
			}
		}
		t.taken++
		close(t.waiting[next].ready)
		t.waiting = slices.Delete(t.waiting, next, next+1)
	}
}

// Load returns how many have the turn, and how many wait for it.
func (t *Turn) Load() (having, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken, len(t.waiting)
}
