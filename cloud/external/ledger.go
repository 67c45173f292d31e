package external

import "sync"

// ledger lists the requests of one connection that the broker has yet to hear
// of, in the order in which they came, which is that of their acknowledgements.
// The receive maximum bounds it.
type ledger struct {
	mu      sync.Mutex
	entries []*entry
}

type entry struct {
	id      uint16
	settled bool
}

// add notes a request.
func (l *ledger) add(id uint16) *entry {
	e := &entry{id: id}
	l.mu.Lock()
	l.entries = append(l.entries, e)
	l.mu.Unlock()
	return e
}

// settle notes that a request has been dealt with, and hands on the identifiers
// of those that may be acknowledged now. take is called under the lock, so that
// what it gets stays in order; it must not block.
func (l *ledger) settle(e *entry, take func(ids []uint16)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.settled = true
	n := 0
	for n < len(l.entries) && l.entries[n].settled {
		n++
	}
	if n == 0 {
		return
	}
	ids := make([]uint16, n)
	for i, e := range l.entries[:n] {
		ids[i] = e.id
	}
	clear(l.entries[:n])
	if l.entries = l.entries[n:]; len(l.entries) == 0 {
		l.entries = nil
	}
	take(ids)
}
