package broker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"gnomon/cloud/identity"
	"gnomon/cloud/trace"
	"gnomon/shadow/wire"
)

// heard collects what a broker tells of its clients.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) add(line string) {
	h.mu.Lock()
	h.lines = append(h.lines, line)
	h.mu.Unlock()
}

func (h *heard) has(line string) func() bool {
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Contains(h.lines, line)
	}
}

func (h *heard) Expects() bool { return true }
func (h *heard) Acknowledged(client, topic string, payload []byte) {
	h.add(fmt.Sprintf("%s has %s %s", client, topic, payload))
}
func (h *heard) Connected(client string) { h.add(client + " is there") }
func (h *heard) Left(client string)      { h.add(client + " is away") }

// originService notes where requests come from.
type originService struct{ origins chan trace.Origin }

func (o originService) Handle(ctx context.Context, _ identity.Principal, _ wire.Topic, _ []byte, done func(error)) {
	o.origins <- trace.From(ctx)
	done(nil)
}

func TestFollow(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			h := new(heard)
			b, address := startPrepared(t, func(b *Broker) error { return b.Follow(h) })
			const topic = "$aws/things/edge-1/shadow/desired"
			c := connectRaw(t, address, version, "edge-1")
			eventually(t, "connected", h.has("edge-1 is there"))
			c.send(subscribePacket(version, 1, topic))
			c.expect(0x90)
			if all, acknowledging := b.Listeners(topic); all != 1 || acknowledging != 1 {
				t.Errorf("%d listen, %d acknowledge", all, acknowledging)
			}
			if all, _ := b.Listeners("$aws/things/edge-2/shadow/desired"); all != 0 {
				t.Errorf("%d listen for another", all)
			}
			b.Publish(topic, []byte("one"))
			b.Publish(topic, []byte("two"))
			c.expect(0x30)
			c.lastID(t) // it keeps this one to itself
			c.expect(0x30)
			c.send(packet(0x40, c.lastID(t)))
			eventually(t, "acknowledged", h.has("edge-1 has "+topic+" two"))
			if h.has("edge-1 has " + topic + " one")() {
				t.Error("what was not acknowledged is taken for it")
			}
			c.leave()
			eventually(t, "left", h.has("edge-1 is away"))
		})
	}
}

// The trace of a request is the user property that it comes with, by whichever
// way the request is read.
func TestTraceOfRequests(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	o := originService{make(chan trace.Origin, 8)}
	_, address := start(t, o, nil)
	c := connectRaw(t, address, 5, "edge-1")
	user := func(key, value string) []byte { return slices.Concat([]byte{0x26}, text(key), text(value)) }
	send := func(first byte, properties []byte) trace.Origin {
		t.Helper()
		c.send(packet(first, text("$aws/things/t/shadow/update"), []byte{0, 7}, []byte{byte(len(properties))}, properties, []byte(`{}`)))
		return <-o.origins
	}
	want := trace.Origin{Parent: parent, Door: trace.MQTT}
	traced := slices.Concat(user("a", "b"), user(wire.TraceProperty, parent))
	if got := send(0x32, traced); got != want {
		t.Errorf("%+v", got)
	}
	c.expect(0x40)
	for _, none := range [][]byte{nil, user("a", parent), user(wire.TraceProperty, "nonsense")} {
		if got := send(0x32, none); got != (trace.Origin{}) {
			t.Errorf("%q: %+v", none, got)
		}
		c.expect(0x40)
	}
	if got := send(0x34, traced); got != want { // quality of service 2, which mochi reads
		t.Errorf("%+v", got)
	}
	c.expect(0x50)
}
