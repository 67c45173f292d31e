package broker

import (
	"context"
	"runtime"
	"sync"
)

// acks are a client's PUBACKs. They are due on the committer's goroutine, which
// must not wait for a client: so they are queued, for a writer to write as many
// as have come together. Their number is bounded by the limit on unanswered
// requests and by what the client may repeat.
type acks struct {
	session *session

	mu     sync.Mutex
	ids    []uint16
	queued bool // a writer knows
	failed bool

	writing []uint16 // these two are the writer's, or that goroutine's which stands in for it
	out     []byte
}

func (a *acks) add(id uint16) {
	a.mu.Lock()
	a.ids = append(a.ids, id)
	first := !a.queued
	a.queued = true
	a.mu.Unlock()
	if first {
		a.session.broker.writers.of(a.session).add(a)
	}
}

// fail ends the connection: a request that was not acknowledged is sent again
// over a new one.
func (a *acks) fail() {
	a.mu.Lock()
	first := !a.failed
	a.failed = true
	a.mu.Unlock()
	if first {
		go a.session.client.Stop(errNotStored)
	}
}

// flush writes what has come together, and what comes meanwhile, waiting for the
// client where it must.
func (a *acks) flush() {
	for a.encode() {
		if err := a.session.write(a.out); err != nil {
			a.fail()
		}
	}
}

// tryFlush is flush without waiting: what the client doesn't take at once is left
// to a goroutine.
func (a *acks) tryFlush() {
	for a.encode() {
		n, locked, err := a.session.tryWrite(a.out)
		switch {
		case err != nil:
			a.fail()
		case n == len(a.out):
		case locked: // within a packet, perhaps: nothing else may come between
			go func() {
				err := a.session.finishWrite(a.out[n:])
				if err != nil {
					a.fail()
				}
				a.flush()
			}()
			return
		default:
			go func() {
				if err := a.session.write(a.out); err != nil {
					a.fail()
				}
				a.flush()
			}()
			return
		}
	}
}

// encode lays out the packets that are due; false means that there are none.
func (a *acks) encode() bool {
	a.mu.Lock()
	if len(a.ids) == 0 || a.failed {
		a.queued = false
		a.mu.Unlock()
		return false
	}
	a.writing, a.ids = a.ids, a.writing[:0]
	a.mu.Unlock()
	a.out = a.out[:0]
	for _, id := range a.writing {
		a.out = append(a.out, 0x40, 2, byte(id>>8), byte(id)) // MQTT 5.0, 3.4: success needs no more
	}
	return true
}

// writers write acknowledgements, each those of its share of the clients. None
// waits for a client: one that doesn't take what it is sent gets a goroutine of
// its own, until it has.
type writers []*writer

type writer struct {
	mu    sync.Mutex
	ready []*acks
	wake  chan struct{}
}

func newWriters() writers {
	all := make(writers, runtime.GOMAXPROCS(0))
	for i := range all {
		all[i] = &writer{wake: make(chan struct{}, 1)}
	}
	return all
}

func (w writers) of(s *session) *writer { return w[s.number%uint64(len(w))] }

// run writes until ctx ends, and then what is left.
func (w writers) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, one := range w {
		all.Go(func() { one.run(ctx) })
	}
	all.Wait()
}

func (w *writer) add(a *acks) {
	w.mu.Lock()
	w.ready = append(w.ready, a)
	first := len(w.ready) == 1
	w.mu.Unlock()
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *writer) run(ctx context.Context) {
	var batch []*acks
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			w.flush(w.take(batch))
			return
		}
		batch = w.flush(w.take(batch))
	}
}

func (w *writer) take(spare []*acks) []*acks {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.ready
	w.ready = spare[:0]
	return taken
}

func (w *writer) flush(batch []*acks) []*acks {
	for i, a := range batch {
		a.tryFlush()
		batch[i] = nil
	}
	return batch
}
