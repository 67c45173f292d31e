package broker

import (
	"fmt"
	"strings"
	"testing"
)

// sessionPacket is a CONNECT that goes on with a session: clean=false, or for
// MQTT 5 an expiry of an hour, and up to 10 topic aliases.
func sessionPacket(version byte, id string) []byte {
	parts := [][]byte{text("MQTT"), {version, 0, 1200 >> 8, 1200 & 0xff}}
	if version == 5 {
		parts = append(parts, []byte{8, 0x11, 0, 0, 14, 16, 0x22, 0, 10})
	}
	return packet(0x10, append(parts, text(id))...)
}

func connectSession(t *testing.T, address string, version byte, id string, present byte) *rawClient {
	t.Helper()
	c := dialRaw(t, address)
	c.send(sessionPacket(version, id))
	if body := c.expect(0x20); body[0] != present || body[1] != 0 {
		t.Fatalf("CONNACK % x, want session present %d", body, present)
	}
	return c
}

// message takes a PUBLISH of quality of service 1 apart.
func (c *rawClient) message(version byte) (topic, payload string, id []byte) {
	c.t.Helper()
	body := c.expect(0x30)
	n := int(body[0])<<8 | int(body[1])
	topic, body = string(body[2:2+n]), body[2+n:]
	id, body = body[:2], body[2:]
	if version == 5 {
		body = body[1+int(body[0]):]
	}
	return topic, string(body), id
}

func (c *rawClient) leave() {
	c.send([]byte{0xe0, 0})
	c.receive()
	c.conn.Close()
}

// What a session missed it gets in the order of publication, whole, and the rest
// of its subscription with it; beyond 64 messages it gets the first.
func TestSessionResumes(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			b, address := start(t, accepting, nil)
			c := connectSession(t, address, version, "s", 0)
			c.send(subscribePacket(version, 1, "news/#"))
			c.expect(0x90)
			for round := range 3 {
				c.leave()
				eventually(t, "gone", func() bool { return b.Clients() == 0 })
				for i := range 100 {
					b.Publish("news/today", fmt.Appendf(nil, "%d-%d", round, i))
				}
				c = connectSession(t, address, version, "s", 1)
				for i := range 64 {
					topic, payload, id := c.message(version)
					if want := fmt.Sprintf("%d-%d", round, i); topic != "news/today" || payload != want {
						t.Fatalf("got %q on %q, want %q", payload, topic, want)
					}
					c.send([]byte{0x40, 2, id[0], id[1]})
				}
				c.send([]byte{0xc0, 0})
				c.expect(0xd0)
				b.Publish("news/live", []byte("live"))
				topic, payload, id := c.message(version)
				if topic != "news/live" || payload != "live" {
					t.Fatalf("got %q on %q", payload, topic)
				}
				c.send([]byte{0x40, 2, id[0], id[1]})
			}
		})
	}
}

// A client numbers its packets as it likes: what it has yet to acknowledge is in
// nobody's way, is answered under the client's numbers, and is sent again.
func TestPacketIdentifiersAreApart(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			b, address := start(t, accepting, nil)
			c := connectSession(t, address, version, "s", 0)
			c.send(subscribePacket(version, 1, "news"))
			c.expect(0x90)
			for i := range 3 { // these go by 1, 2, 3
				b.Publish("news", fmt.Appendf(nil, "n%d", i))
				c.message(version)
			}
			properties := []byte{}
			if version == 5 {
				properties = []byte{0}
			}
			c.send(subscribePacket(version, 1, "other"))
			if body := c.expect(0x90); body[1] != 1 || body[len(body)-1] != 1 {
				t.Errorf("SUBACK % x, want number 1, granted", body)
			}
			c.send(packet(0xa2, []byte{0, 2}, properties, text("other")))
			if body := c.expect(0xb0); body[1] != 2 || version == 5 && body[len(body)-1] != 0 {
				t.Errorf("UNSUBACK % x, want number 2, success", body)
			}
			for id, topic := range map[uint16]string{1: updateTopic, 2: "free/topic", 3: "free/topic"} {
				c.send(publishPacket(version, topic, id, "{}"))
				if body := c.expect(0x40); body[1] != byte(id) || len(body) > 2 && body[2] > 0x10 {
					t.Errorf("PUBACK % x, want number %d", body, id)
				}
			}
			c.conn.Close()
			eventually(t, "gone", func() bool { return b.Clients() == 0 })
			c = connectSession(t, address, version, "s", 1)
			for i := range 3 {
				if _, payload, _ := c.message(version); payload != fmt.Sprintf("n%d", i) {
					t.Errorf("sent again: %q, want n%d", payload, i)
				}
			}
		})
	}
}

// A session that has ended leaves nothing to match messages against.
func TestSessionExpires(t *testing.T) {
	b, address := start(t, accepting, func(c *Config) { c.SessionExpiry = 1 })
	for _, version := range []byte{4, 5} {
		c := connectSession(t, address, version, fmt.Sprintf("s%d", version), 0)
		c.send(subscribePacket(version, 1, "$aws/things/t/shadow/update/delta"))
		c.expect(0x90)
		c.leave()
	}
	if !b.Subscribed("$aws/things/t/shadow/update/delta") {
		t.Error("a session ended with its connection")
	}
	eventually(t, "nobody is subscribed", func() bool { return !b.Subscribed("$aws/things/t/shadow/update/delta") })
	connectSession(t, address, 4, "s4", 0)
}

// Seven filters at two qualities of service in one SUBSCRIBE, one of them a
// wildcard, are granted each for itself; one too many is refused for itself.
func TestSubscribe(t *testing.T) {
	b, address := start(t, accepting, func(c *Config) { c.Subscriptions = 8 })
	const base = "$aws/things/t/shadow/"
	filters := []string{"get/+", "delete/+", "update/accepted", "update/rejected", "update/delta", "update/documents", "name/n/update/delta"}
	for _, version := range []byte{4, 5} {
		c := connectRaw(t, address, version, fmt.Sprint("c", version))
		parts := [][]byte{{0, 1}}
		if version == 5 {
			parts = append(parts, []byte{0})
		}
		for i, f := range filters {
			parts = append(parts, text(base+f), []byte{byte(i % 2)})
		}
		c.send(packet(0x82, parts...))
		body := c.expect(0x90)
		if got := fmt.Sprintf("% x", body[len(body)-7:]); got != "00 01 00 01 00 01 00" {
			t.Errorf("granted %s", got)
		}
		for _, leaf := range []string{"get/accepted", "get/rejected", "delete/accepted", "update/delta"} {
			b.Publish(base+leaf, []byte(leaf))
			first, body := c.receive()
			if qos := first >> 1 & 3; first&0xf0 != 0x30 || qos > 1 || !strings.HasSuffix(string(body), leaf) {
				t.Errorf("%s: got %x %q", leaf, first, body)
			}
		}
		c.send(subscribePacket(version, 2, "eighth"))
		if body := c.expect(0x90); body[len(body)-1] != 1 {
			t.Errorf("the eighth: % x", body)
		}
		c.send(subscribePacket(version, 3, "eighth")) // the same again
		if body := c.expect(0x90); body[len(body)-1] != 1 {
			t.Errorf("the eighth again: % x", body)
		}
		c.send(subscribePacket(version, 4, "ninth"))
		if body := c.expect(0x90); body[len(body)-1] < 0x80 {
			t.Errorf("the ninth: % x, want it refused", body)
		}
	}
}
