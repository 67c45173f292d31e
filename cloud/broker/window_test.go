package broker

import (
	"fmt"
	"testing"
)

// connectWindow goes on with a session, with a receive maximum of 3.
func connectWindow(t *testing.T, address string, flags, present byte) *rawClient {
	t.Helper()
	c := dialRaw(t, address)
	c.send(packet(0x10, text("MQTT"), []byte{5, flags, 0, 60, 8, 0x11, 0, 0, 14, 16, 0x21, 0, 3}, text("window")))
	if body := c.expect(0x20); body[0] != present || body[1] != 0 {
		t.Fatalf("CONNACK % x", body)
	}
	return c
}

// take expects messages with the numbers from first, the window's fill of them
// and no more, and one more for each it acknowledges.
func (c *rawClient) take(first, n int) {
	c.t.Helper()
	var ids [][]byte
	next := first
	message := func() {
		_, payload, id := c.message(5)
		if want := fmt.Sprint(next); payload != want {
			c.t.Fatalf("got %q, want %q", payload, want)
		}
		next++
		ids = append(ids, id)
	}
	for range min(3, n) {
		message()
	}
	for len(ids) > 0 {
		c.send([]byte{0xc0, 0})
		c.expect(0xd0) // nothing beyond the window before the answer
		c.send([]byte{0x40, 2, ids[0][0], ids[0][1]})
		if ids = ids[1:]; next < first+n {
			message()
		}
	}
}

// A client of MQTT 5 never has more to acknowledge than it said it would take,
// and misses nothing for it, live or after having been away.
func TestReceiveMaximum(t *testing.T) {
	b, address := start(t, accepting, nil)
	n := 0
	publish := func(times int) {
		for range times {
			b.Publish("news", fmt.Append(nil, n))
			n++
		}
	}
	c := connectWindow(t, address, 0, 0)
	c.send(subscribePacket(5, 1, "news"))
	c.expect(0x90)
	publish(10)
	c.take(0, 10)
	for round := range 20 {
		from := n
		publish(4) // of which three get there, and are not acknowledged
		for i := range 3 {
			if _, payload, _ := c.message(5); payload != fmt.Sprint(from+i) {
				t.Fatalf("round %d: got %q", round, payload)
			}
		}
		c.conn.Close()
		eventually(t, "gone", func() bool { return b.Clients() == 0 })
		publish(10)
		c = connectWindow(t, address, 0, 1)
		eventually(t, "established", func() bool {
			cl, _ := b.server.Clients.Get("window")
			w := b.session(cl).window
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.ready
		})
		publish(5)
		c.take(from, 19)
	}
	publish(10)
	c.conn.Close()
	eventually(t, "gone", func() bool { return b.Clients() == 0 })
	c = connectWindow(t, address, 2, 0) // a clean start
	c.send(subscribePacket(5, 1, "news"))
	c.expect(0x90)
	from := n
	publish(5)
	c.take(from, 5)
}
