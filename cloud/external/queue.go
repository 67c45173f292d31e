package external

import (
	"math"
	"sync"
)

// queue holds what the broker is to be told: messages, in their order, and for
// each connection acknowledgements of requests, each after the broker has
// acknowledged the messages that were there before it: it may read what comes by
// another connection first, or never. Messages outlive a connection, acknowledgements don't.
type queue struct {
	count, bytes int // the limits of messages
	dropped      func(messages int)

	mu       sync.Mutex
	messages []publication
	used     int // bytes of messages
	last     uint64
	under    []flight // messages that the broker has yet to acknowledge, in order
	writers  map[*tail]struct{}
}

// flight is a message that has been sent.
type flight struct {
	id     uint16 // of its packet
	number uint64
	landed bool
}

// tail is a connection's part of the queue.
type tail struct {
	acks []ack // under the queue's lock
	wake chan struct{}
}

// publication is a message on its way out.
type publication struct {
	number  uint64
	topic   string
	payload []byte
}

func (p *publication) size() int { return len(p.topic) + len(p.payload) }

// ack is due when the broker has the messages up to that number.
type ack struct {
	id    uint16
	after uint64
}

func newQueue(count, bytes int, dropped func(int)) *queue {
	return &queue{count: count, bytes: bytes, dropped: dropped, writers: make(map[*tail]struct{})}
}

// join begins a connection's part, which ends when it leaves.
func (q *queue) join() *tail {
	t := &tail{wake: make(chan struct{}, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writers[t] = struct{}{}
	return t
}

func (q *queue) leave(t *tail) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.writers, t)
	t.acks = nil
}

// publish puts a message in, and the oldest ones out where there is no room.
func (q *queue) publish(topic string, payload []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	p := publication{q.last, topic, payload}
	q.messages = append(q.messages, p)
	q.used += p.size()
	n := 0
	for len(q.messages) > q.count || q.used > q.bytes {
		q.pop()
		n++
	}
	if n > 0 {
		q.dropped(n)
	}
	q.signal()
}

// pop removes the oldest message. The caller holds mu.
func (q *queue) pop() {
	q.used -= q.messages[0].size()
	q.messages[0] = publication{}
	if q.messages = q.messages[1:]; len(q.messages) == 0 {
		q.messages = nil
	}
}

// acknowledge puts acknowledgements in, unless their connection has left.
func (q *queue) acknowledge(t *tail, ids []uint16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, there := q.writers[t]; !there {
		return
	}
	for _, id := range ids {
		t.acks = append(t.acks, ack{id, q.last})
	}
	t.signal()
}

// signal wakes all connections. The caller holds mu.
func (q *queue) signal() {
	for t := range q.writers {
		t.signal()
	}
}

func (t *tail) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// next returns what a connection is to do now: acknowledge, and then, if it is
// the one for it, send a message, which stays until sent is called with it.
func (q *queue) next(t *tail) (acks []uint16, message publication, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(t.acks) && t.acks[n].after < q.oldest() {
		acks = append(acks, t.acks[n].id)
		n++
	}
	if t.acks = t.acks[n:]; len(t.acks) == 0 {
		t.acks = nil
	}
	if len(q.messages) > 0 {
		message, ok = q.messages[0], true
	}
	return acks, message, ok
}

// oldest is the number of the oldest message that the broker hasn't acknowledged.
// The caller holds mu.
func (q *queue) oldest() uint64 {
	switch {
	case len(q.under) > 0:
		return q.under[0].number
	case len(q.messages) > 0:
		return q.messages[0].number
	}
	return math.MaxUint64
}

// track notes by which packet a message goes out.
func (q *queue) track(id uint16, number uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.under = append(q.under, flight{id: id, number: number})
}

// landed notes that the broker has acknowledged a packet.
func (q *queue) landed(id uint16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.under {
		if q.under[i].id == id && !q.under[i].landed {
			q.under[i].landed = true
			break
		}
	}
	n := 0
	for n < len(q.under) && q.under[n].landed {
		n++
	}
	if n == 0 {
		return
	}
	if q.under = q.under[n:]; len(q.under) == 0 {
		q.under = nil
	}
	q.wakeWaiting()
}

// anew forgets what was sent: the broker has forgotten it, too.
func (q *queue) anew() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.under = nil
	q.wakeWaiting()
}

// wakeWaiting wakes connections whose acknowledgements may have waited for a
// message, or all when there is nothing more to wait for. The caller holds mu.
func (q *queue) wakeWaiting() {
	for t := range q.writers {
		if len(t.acks) > 0 || len(q.messages) == 0 {
			t.signal()
		}
	}
}

// sent removes a message, unless it was dropped meanwhile.
func (q *queue) sent(p publication) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) > 0 && q.messages[0].number == p.number {
		q.pop()
	}
	q.wakeWaiting()
}

// waiting returns how many messages there are.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// empty tells whether there is nothing left to say over a connection.
func (q *queue) empty(t *tail) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages) == 0 && len(t.acks) == 0
}
