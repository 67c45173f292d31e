package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gnomon/cloud/identity"
	"gnomon/cloud/message"
	"gnomon/shadow/wire"
)

func retainedPacket(version byte, topic string, id uint16, payload string) []byte {
	p := publishPacket(version, topic, id, payload)
	p[0] |= 1
	return p
}

// subscribeAll returns once what is retained has been looked for, too, which is
// after the SUBACK: what is published in between would come twice.
func (c *rawClient) subscribeAll() {
	c.t.Helper()
	c.send(subscribePacket(4, 1, "#"))
	c.expect(0x90)
	c.send([]byte{0xc0, 0})
	c.expect(0xd0)
}

func retainedTopics(t *testing.T, b *Broker) string {
	t.Helper()
	list, next, err := b.ListRetained(context.Background(), identity.LocalOperator, "", 100)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	var out []string
	for _, m := range list {
		out = append(out, m.Topic)
	}
	return strings.Join(out, " ")
}

// What is retained is bounded in number and bytes. At the bound MQTT 5 is told
// so; MQTT 3.1.1, which can't be, has its message delivered but not kept.
func TestRetainedIsBounded(t *testing.T) {
	b, address := start(t, accepting, func(c *Config) { c.Retained, c.RetainedBytes = 2, 20 })
	watch := connectRaw(t, address, 4, "watch")
	watch.subscribeAll()
	five, old := connectRaw(t, address, 5, "five"), connectRaw(t, address, 4, "old")
	publish := func(c *rawClient, version byte, topic, payload string, reason byte) {
		t.Helper()
		c.next++
		c.send(retainedPacket(version, topic, c.next, payload))
		body := c.expect(0x40)
		if got := append(body, 0)[2]; got != reason {
			t.Errorf("%s: acknowledged with %x, want %x", topic, got, reason)
		}
		if reason == 0 {
			if got := watch.expect(0x30); !strings.HasSuffix(string(got), payload) {
				t.Errorf("%s: delivered %q", topic, got)
			}
			id := watch.lastID(t)
			watch.send([]byte{0x40, 2, id[0], id[1]})
		}
	}
	publish(five, 5, "a", "1", 0)
	publish(old, 4, "b", "2", 0)
	publish(five, 5, "c", "3", 0x97)
	publish(old, 4, "c", "4", 0)
	publish(old, 4, "b", "more", 0)
	publish(five, 5, "a", strings.Repeat("x", 15), 0x97) // 20 bytes are for all topics and payloads
	if got := retainedTopics(t, b); got != "a b" {
		t.Errorf("retained on %q, want a b", got)
	}
	publish(old, 4, "a", "", 0)
	publish(five, 5, "c", "5", 0)
	if got := retainedTopics(t, b); got != "b c" {
		t.Errorf("retained on %q, want b c", got)
	}
	if err := b.Send(context.Background(), identity.LocalOperator, message.Message{Topic: "d", Payload: []byte("6"), Retain: true}); code(err) != 429 {
		t.Errorf("over HTTP: %v, want 429", err)
	}
}

func code(err error) int {
	if err == nil {
		return 200
	}
	n, _ := wire.Rejection(err)
	return n
}

// A will is retained within the same bounds.
func TestRetainedWill(t *testing.T) {
	b, address := start(t, accepting, func(c *Config) { c.Retained = 1 })
	watch := connectRaw(t, address, 4, "watch")
	watch.subscribeAll()
	for _, topic := range []string{"w1", "w2"} {
		c := dialRaw(t, address)
		c.send(packet(0x10, text("MQTT"), []byte{4, 0x26, 0, 60}, text(topic), text(topic), text("gone")))
		c.expect(0x20)
		c.conn.Close()
		watch.expect(0x30)
	}
	if got := retainedTopics(t, b); got != "w1" {
		t.Errorf("retained on %q, want w1", got)
	}
	late := connectRaw(t, address, 4, "late")
	late.send(subscribePacket(4, 1, "+"))
	late.expect(0x90)
	if body := late.expect(0x30); !strings.HasSuffix(string(body), "gone") || body[3] != '1' {
		t.Errorf("a later subscriber got %q", body)
	}
}

// What was published with an expiry is retained until then.
func TestRetainedExpires(t *testing.T) {
	b, _ := start(t, accepting, nil)
	for topic, expiry := range map[string]uint32{"soon": 1, "never": 0, "later": 1000} {
		if err := b.Send(context.Background(), identity.LocalOperator, message.Message{Topic: topic, Payload: []byte("x"), Retain: true, Expiry: expiry}); err != nil {
			t.Fatal(err)
		}
	}
	if got := retainedTopics(t, b); got != "later never soon" {
		t.Errorf("retained on %q", got)
	}
	eventually(t, "one has expired", func() bool { return retainedTopics(t, b) == "later never" })
	if _, err := b.Retained(context.Background(), identity.LocalOperator, "soon"); code(err) != 404 {
		t.Errorf("the expired one: %v, want 404", err)
	}
}

// A shadow request that comes by HTTP is the shadow service's, whole.
func TestSend_ShadowRequest(t *testing.T) {
	failure := errors.New("disk")
	b, _ := start(t, service(func(topic wire.Topic, body []byte, done func(error)) {
		if topic.Thing != "t" || topic.Op != wire.OpUpdate {
			done(fmt.Errorf("%+v", topic))
		} else if string(body) == "fail" {
			done(failure)
		} else {
			done(nil)
		}
	}), nil)
	for body, want := range map[string]error{"{}": nil, "fail": failure} {
		err := b.Send(context.Background(), identity.LocalOperator, message.Message{Topic: updateTopic, Payload: []byte(body), Retain: true})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
	for topic, want := range map[string]int{
		"": 400, "a/+": 400, "#": 400, strings.Repeat("t", 257): 400, "a\x00b": 400,
		"$SYS/x": 403, "$aws/things/t/shadow/update/delta": 403, "things/t/shadow/x": 403, "plain": 200,
	} {
		if err := b.Send(context.Background(), identity.LocalOperator, message.Message{Topic: topic, Payload: []byte("x")}); code(err) != want {
			t.Errorf("%q: %v, want %d", topic, err, want)
		}
	}
	if err := b.Send(context.Background(), identity.Principal{}, message.Message{Topic: "plain"}); code(err) != 403 {
		t.Errorf("nobody: %v, want 403", err)
	}
	if got := retainedTopics(t, b); got != "" {
		t.Errorf("retained on %q", got)
	}
}
