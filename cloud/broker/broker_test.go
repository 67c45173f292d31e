package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"gnomon/cloud/identity"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a shadow service whose answers a test decides.
type service func(t wire.Topic, body []byte, done func(error))

func (f service) Handle(_ context.Context, _ identity.Principal, t wire.Topic, body []byte, done func(error)) {
	f(t, body, done)
}

var accepting = service(func(_ wire.Topic, _ []byte, done func(error)) { done(nil) })

func start(t *testing.T, s Shadows, change func(*Config)) (*Broker, string) {
	t.Helper()
	cfg := Config{Address: "127.0.0.1:0", Shadows: s}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	address, err := b.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the broker does not end")
		}
	})
	return b, address.String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// A SUBSCRIBE of MQTT 5 without its options byte makes mochi's decoder panic.
// It must cost the sender its connection and nobody else anything.
func TestMalformedSubscribe(t *testing.T) {
	b, address := start(t, accepting, nil)
	reader := connectRaw(t, address, 5, "reader")
	reader.send(subscribePacket(5, 1, "free/topic"))
	reader.expect(0x90)
	writer := connectRaw(t, address, 4, "writer")
	const rounds = 1000
	for i := range rounds {
		c := connectRaw(t, address, 5, fmt.Sprintf("bad-%d", i))
		c.send([]byte{0x82, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 0x61})
		if kind, _ := c.receive(); kind != 0 {
			t.Fatalf("round %d: answered with %x", i, kind)
		}
		c.conn.Close()
		if i%100 == 0 { // others go on undisturbed
			payload := fmt.Sprintf("message %d", i)
			writer.send(publishPacket(4, "free/topic", uint16(i+1), payload))
			writer.expect(0x40)
			if body := reader.expect(0x30); string(body[len(body)-len(payload):]) != payload {
				t.Fatalf("round %d: got % x", i, body)
			}
			ack := reader.lastID(t)
			reader.send([]byte{0x40, 2, ack[0], ack[1]})
		}
	}
	eventually(t, "only the two clients are left, with their sessions", func() bool {
		names := b.server.Clients.GetAll()
		delete(names, "inline")
		sessions := 0
		b.sessions.Range(func(any, any) bool { sessions++; return true })
		return b.Clients() == 2 && len(names) == 2 && names["reader"] != nil && names["writer"] != nil && sessions == 2
	})
	if subs := b.server.Topics.Subscribers("a"); len(subs.Subscriptions) != 0 {
		t.Errorf("ghost subscriptions: %v", subs.Subscriptions)
	}
	var m dto.Metric
	if err := b.metrics.panics.Write(&m); err != nil || m.GetCounter().GetValue() != rounds {
		t.Errorf("%v decoders broken, want %d: the test does not test what it says (%v)", m.GetCounter().GetValue(), rounds, err)
	}
	if n := b.listener.HalfOpen(); n != 0 {
		t.Errorf("half-open places not given back: %d", n)
	}
}

// lastID is the packet id of the test's message: mochi counts from 1.
func (c *rawClient) lastID(*testing.T) []byte {
	c.next++
	return []byte{byte(c.next >> 8), byte(c.next)}
}

// Every packet cut at every byte, as a whole packet of that length: the broker
// lives, and no client stays.
func TestMalformedPackets(t *testing.T) {
	b, address := start(t, accepting, nil)
	bodies := map[byte][]byte{
		0x32: append(text("a/b"), 0, 1, 0, 'x'), 0x40: {0, 1, 0, 0}, 0x50: {0, 1, 0, 0}, 0x62: {0, 1, 0, 0}, 0x70: {0, 1, 0, 0},
		0x82: append([]byte{0, 1, 0}, append(text("a/b"), 1)...), 0xa2: append([]byte{0, 1, 0}, text("a/b")...),
		0xc0: {0}, 0xe0: {0, 5, 0x11, 0, 0, 0, 9}, 0xf0: {0, 0}, 0x20: {0, 0, 0}, 0x90: {0, 1, 0, 0}, 0x00: {1},
	}
	n := 0
	for _, version := range []byte{4, 5} {
		for first, body := range bodies {
			for cut := range len(body) + 1 {
				n++
				c := connectRaw(t, address, version, fmt.Sprintf("c-%d", n))
				c.send(packet(first, body[:cut]))
				c.conn.Close()
			}
		}
	}
	eventually(t, "all are gone", func() bool { return b.Clients() == 0 })
	connectRaw(t, address, 5, "after")
}

func TestLimitsBeforeConnect(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		_, address := start(t, accepting, func(c *Config) { c.ConnectTimeout = 50 * time.Millisecond })
		if kind, _ := dialRaw(t, address).receive(); kind != 0 {
			t.Errorf("a silent connection got %x", kind)
		}
	})
	t.Run("size announced", func(t *testing.T) {
		_, address := start(t, accepting, nil)
		c := dialRaw(t, address)
		c.send([]byte{0x10, 0xff, 0xff, 0xff, 0x7f}) // 268,435,455 bytes to come
		if kind, _ := c.receive(); kind != 0 {
			t.Errorf("got %x", kind)
		}
	})
	t.Run("not a CONNECT", func(t *testing.T) {
		_, address := start(t, accepting, nil)
		c := dialRaw(t, address)
		c.send([]byte{0xc0, 0})
		if kind, _ := c.receive(); kind != 0 {
			t.Errorf("got %x", kind)
		}
	})
	t.Run("too many half open", func(t *testing.T) {
		_, address := start(t, accepting, func(c *Config) { c.HalfOpen = 2 })
		first, second := dialRaw(t, address), dialRaw(t, address)
		if kind, _ := dialRaw(t, address).receive(); kind != 0 {
			t.Errorf("got %x", kind)
		}
		first.send(connectPacket(5, "one"))
		first.expect(0x20)
		second.conn.Close()
		eventually(t, "places come free", func() bool {
			c := dialRaw(t, address)
			c.send(connectPacket(4, "two"))
			kind, _ := c.receive()
			return kind == 0x20
		})
	})
	t.Run("packet too large", func(t *testing.T) {
		_, address := start(t, accepting, func(c *Config) { c.MaxPacket = 1024 })
		c := connectRaw(t, address, 5, "big")
		c.send(packet(0x30, text("a"), []byte{0}, make([]byte, 2000)))
		for kind, _ := c.receive(); kind != 0; kind, _ = c.receive() {
			if kind != 0xe0 {
				t.Fatalf("got %x", kind)
			}
		}
	})
}

const updateTopic = "$aws/things/t/shadow/update"

// The acknowledgement comes after the commit, for both versions, in order, for
// a whole window of requests.
func TestAckAfterCommit(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			var mu sync.Mutex
			var waiting []func(error)
			arrived := make(chan struct{}, 16)
			_, address := start(t, service(func(_ wire.Topic, _ []byte, done func(error)) {
				mu.Lock()
				waiting = append(waiting, done)
				mu.Unlock()
				arrived <- struct{}{}
			}), nil)
			c := connectRaw(t, address, version, "c")
			for id := range uint16(8) {
				c.send(publishPacket(version, updateTopic, id+1, "{}"))
			}
			for range 8 {
				<-arrived
			}
			c.send([]byte{0xc0, 0})
			c.expect(0xd0) // the answer to the ping comes, no acknowledgement before it
			mu.Lock()
			for _, done := range waiting {
				done(nil)
			}
			mu.Unlock()
			for id := range uint16(8) {
				if body := c.expect(0x40); body[1] != byte(id+1) {
					t.Fatalf("acknowledged %d, want %d", body[1], id+1)
				}
			}
		})
	}
}

// What could not be committed is not acknowledged, and the client learns of it
// by losing the connection.
func TestNoAckOnFailure(t *testing.T) {
	_, address := start(t, service(func(_ wire.Topic, _ []byte, done func(error)) { done(errors.New("disk")) }), nil)
	c := connectRaw(t, address, 4, "c")
	c.send(publishPacket(4, updateTopic, 1, "{}"))
	if kind, body := c.receive(); kind != 0 {
		t.Errorf("got %x % x", kind, body)
	}
}

func TestExactlyOnceAfterCommit(t *testing.T) {
	got := make(chan string, 1)
	_, address := start(t, service(func(_ wire.Topic, body []byte, done func(error)) { got <- string(body); done(nil) }), nil)
	c := connectRaw(t, address, 4, "c")
	c.send(packet(0x34, text(updateTopic), []byte{0, 7}, []byte("{}")))
	c.expect(0x50)
	if body := <-got; body != "{}" {
		t.Errorf("body %q", body)
	}
	c.send([]byte{0x62, 2, 0, 7})
	c.expect(0x70)
}

// Nobody but the service publishes answers and deltas.
func TestReservedTopics(t *testing.T) {
	_, address := start(t, accepting, nil)
	for _, topic := range []string{updateTopic + "/accepted", updateTopic + "/delta", "things/t/shadow/name/x/desired", "$aws/anything"} {
		c := connectRaw(t, address, 5, "five")
		c.send(publishPacket(5, topic, 1, "x"))
		if body := c.expect(0x40); len(body) < 3 || body[2] != 0x87 {
			t.Errorf("%s: acknowledged with % x, want not authorized", topic, body)
		}
		old := connectRaw(t, address, 4, "old")
		old.send(publishPacket(4, topic, 1, "x"))
		for kind, _ := old.receive(); kind != 0; kind, _ = old.receive() {
			if kind == 0x40 {
				t.Errorf("%s: acknowledged over MQTT 3.1.1", topic)
			}
		}
	}
}

func TestWillIsChecked(t *testing.T) {
	_, address := start(t, accepting, nil)
	c := dialRaw(t, address)
	c.send(packet(0x10, text("MQTT"), []byte{5, 0x06, 0, 60, 0}, text("w"), []byte{0}, text(updateTopic+"/accepted"), text("forged")))
	if body := c.expect(0x20); body[1] != 0x87 {
		t.Errorf("CONNACK % x, want not authorized", body)
	}
}

func TestPublishAndSubscribed(t *testing.T) {
	b, address := start(t, accepting, nil)
	if b.Subscribed("$aws/things/t/shadow/update/delta") || b.Subscribed("things/t/shadow/update/delta") {
		t.Error("subscribed without subscribers")
	}
	for i, tt := range []struct{ filter, topic string }{
		{"$aws/things/t/shadow/update/delta", "$aws/things/t/shadow/update/delta"},
		{"$aws/things/+/shadow/name/+/desired", "$aws/things/n/shadow/name/app:web/desired"},
		{"things/#", "things/t/shadow/update/accepted"},
		{"$share/g/$aws/things/q/shadow/get/accepted", "$aws/things/q/shadow/get/accepted"},
	} {
		version := byte(4 + i%2)
		c := connectRaw(t, address, version, fmt.Sprintf("s%d", i))
		c.send(subscribePacket(version, 9, tt.filter))
		c.expect(0x90)
		if !b.Subscribed(tt.topic) {
			t.Errorf("%s: not subscribed to %s", tt.filter, tt.topic)
		}
		b.Publish(tt.topic, []byte("hello"))
		if body := c.expect(0x30); string(body[len(body)-5:]) != "hello" {
			t.Errorf("%s: got % x", tt.filter, body)
		}
	}
	if b.Subscribed("$aws/things/other/shadow/update/delta") {
		t.Error("subscribed to what nobody asked for")
	}
}

// A client that stops reading delays nobody: neither the service nor others.
func TestStalledClient(t *testing.T) {
	b, address := start(t, accepting, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
	stalled := connectRaw(t, address, 4, "stalled")
	stalled.send(subscribePacket(4, 1, "$aws/things/t/shadow/update/delta"))
	stalled.expect(0x90)
	lively := connectRaw(t, address, 4, "lively")
	payload := make([]byte, 64<<10)
	for range 200 {
		b.Publish("$aws/things/t/shadow/update/delta", payload)
	}
	started := time.Now()
	for id := range uint16(50) {
		lively.send(publishPacket(4, updateTopic, id+1, "{}"))
		lively.expect(0x40)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("50 requests beside a stalled client took %v", took)
	}
}

// A session goes only to the principal it began with.
func TestSessionKeepsItsPrincipal(t *testing.T) {
	b, address := start(t, accepting, func(c *Config) {
		c.Authenticate = func(_ net.Conn, _, username, _ string) (identity.Principal, error) {
			if username == "" {
				return identity.Principal{}, errors.New("who?")
			}
			return identity.Principal{Kind: identity.Thing, Name: username}, nil
		}
	})
	connect := func(user string) *rawClient {
		c := dialRaw(t, address)
		c.send(packet(0x10, text("MQTT"), []byte{4, 0x80, 0, 60}, text("same-id"), text(user)))
		return c
	}
	first := connect("a")
	first.expect(0x20)
	first.send(subscribePacket(4, 1, "secret/of/a"))
	first.expect(0x90)
	again := connect("a")
	if body := again.expect(0x20); body[0] != 1 {
		t.Error("the same principal lost its session")
	}
	other := connect("b")
	if body := other.expect(0x20); body[0] != 0 {
		t.Error("another principal inherited the session")
	}
	if b.Subscribed("secret/of/a") {
		t.Error("another principal inherited a subscription")
	}
	nobody := dialRaw(t, address)
	nobody.send(connectPacket(4, "nobody"))
	if body := nobody.expect(0x20); body[1] == 0 {
		t.Error("nobody was let in")
	}
}
