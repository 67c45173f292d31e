// Package group lets many submit changes at once, and one commit them in groups:
// what arrived during the last sync goes with the next one. There is no timer: a
// lone change waits for nothing.
//
// It promises that every change that was taken comes to the committer once, in the
// order in which it was taken, those too that were taken as the group ends; and that
// whoever submits waits when the queue is full.
//
// It knows nothing of what a change is or where it goes, and starts nothing.
package group

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Config of a Group.
type Config[T any] struct {
	Queue  int         // changes waiting, before whoever brings more has to wait
	Bytes  int         // a group isn't added to from then on, so that one sync stays short
	Size   func(T) int // bytes of a change
	Closed error       // what Submit says once Run has ended
}

// Group is a queue with one committer. Until Run is called changes only queue up.
type Group[T any] struct {
	cfg   Config[T]
	queue chan T
	stop  chan struct{} // closed when Run ends
	gate  sync.RWMutex  // held by Submit while it queues, so that Run can tell when nobody does any more
}

// New returns an empty group.
func New[T any](cfg Config[T]) *Group[T] {
	return &Group[T]{cfg: cfg, queue: make(chan T, cfg.Queue), stop: make(chan struct{})}
}

// Submit queues a change. The error is Config.Closed, or that of ctx; then it was
// not taken.
func (g *Group[T]) Submit(ctx context.Context, c T) error {
	g.gate.RLock()
	defer g.gate.RUnlock()
	select {
	case <-g.stop:
		return g.cfg.Closed
	default:
	}
	select {
	case g.queue <- c:
		return nil
	case <-g.stop:
		return g.cfg.Closed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Work is what Run does.
type Work[T any] struct {
	Commit func([]T)        // called with one group after the other; it may not keep the slice
	Tick   <-chan time.Time // nil: never
	Ticked func()           // called between two groups when Tick says so
}

// Run commits what is submitted until ctx ends, then what is still queued. It is
// called once.
func (g *Group[T]) Run(ctx context.Context, w Work[T]) {
	group := make([]T, 0, 256)
	for {
		select {
		case c := <-g.queue:
			group = g.collect(append(group[:0], c))
			w.Commit(group)
			clear(group)
		case <-w.Tick:
			w.Ticked()
		case <-ctx.Done():
			g.drain(w) // not deferred: a panic goes on at once
			return
		}
	}
}

// yields is how often whoever can run goes first before a group is closed. A
// sync costs as much as many changes: while the processors are busy, those who are
// about to submit make the group worth it, and when they aren't it costs nothing.
const yields = 3

// collect adds what is already waiting, without waiting for more.
func (g *Group[T]) collect(group []T) []T {
	size := g.cfg.Size(group[0])
	for yielded := 0; size < g.cfg.Bytes; {
		select {
		case c := <-g.queue:
			group = append(group, c)
			size += g.cfg.Size(c)
		default:
			if yielded == yields {
				return group
			}
			runtime.Gosched()
			yielded++
		}
	}
	return group
}

// drain closes the door, waits until nobody is in it, and commits what came in.
func (g *Group[T]) drain(w Work[T]) {
	close(g.stop)
	g.gate.Lock()
	defer g.gate.Unlock()
	for len(g.queue) > 0 {
		w.Commit(g.collect([]T{<-g.queue}))
	}
}
