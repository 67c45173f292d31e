package broker

import (
	"sync"
)

// acks writes a client's PUBACKs. They are due on the committer's goroutine,
// which must not wait for a client: so they are queued, and a goroutine that
// lives only while there are some writes as many as have come together. Their
// number is bounded by the limit on unanswered requests and by what the client
// may repeat.
type acks struct {
	session *session

	mu      sync.Mutex
	ids     []uint16
	running bool
	failed  bool
}

func (a *acks) add(id uint16) {
	a.mu.Lock()
	a.ids = append(a.ids, id)
	start := !a.running
	a.running = true
	a.mu.Unlock()
	if start {
		go a.flush()
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

func (a *acks) flush() {
	var ids []uint16
	var out []byte
	for {
		a.mu.Lock()
		if len(a.ids) == 0 || a.failed {
			a.running = false
			a.mu.Unlock()
			return
		}
		ids, a.ids = a.ids, ids[:0]
		a.mu.Unlock()
		out = out[:0]
		for _, id := range ids {
			out = append(out, 0x40, 2, byte(id>>8), byte(id)) // MQTT 5.0, 3.4: success needs no more
		}
		if err := a.write(out); err != nil {
			a.fail()
		}
	}
}

// write takes mochi's lock of the client, so that packets don't mix.
func (a *acks) write(p []byte) error {
	cl := a.session.client
	if cl.Closed() {
		return nil
	}
	cl.Lock()
	defer cl.Unlock()
	_, err := a.session.conn.Write(p)
	return err
}
