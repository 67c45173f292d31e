package broker

import (
	"strings"
	"testing"
)

// A message larger than its client takes is as good as sent: it takes no place
// from others, and doesn't keep a session from being gone on with.
func TestLargerThanTheClientTakes(t *testing.T) {
	b, address := start(t, accepting, nil)
	connect := func(present byte) *rawClient {
		c := dialRaw(t, address) // a session expiry of an hour, packets up to 200 bytes
		c.send(packet(0x10, text("MQTT"), []byte{5, 0, 0, 60, 10, 0x11, 0, 0, 14, 16, 0x27, 0, 0, 0, 200}, text("small")))
		if body := c.expect(0x20); body[0] != present || body[1] != 0 {
			t.Fatalf("CONNACK % x", body)
		}
		return c
	}
	c := connect(0)
	c.send(subscribePacket(5, 1, "news"))
	c.expect(0x90)
	expect := func(want string) {
		t.Helper()
		_, payload, id := c.message(5)
		if payload != want {
			t.Fatalf("got %q, want %q", payload, want)
		}
		c.send([]byte{0x40, 2, id[0], id[1]})
	}
	large := []byte(strings.Repeat("x", 300))
	for range 3 {
		for range 30 { // 64 may be outstanding
			b.Publish("news", large)
		}
		b.Publish("news", []byte("live"))
		expect("live")
	}
	c.leave()
	eventually(t, "gone", func() bool { return b.Clients() == 0 })
	b.Publish("news", []byte("first"))
	b.Publish("news", large)
	b.Publish("news", []byte("second"))
	c = connect(1)
	expect("first")
	expect("second")
}
