package broker

import (
	"context"
	"fmt"
	"testing"

	"gnomon/cloud/identity"
	"gnomon/shadow/wire"
)

// taking is a service of readings whose answers a test decides.
type taking chan taken

type taken struct {
	node  string
	batch bool
	body  string
	done  func(error)
}

func (s taking) Handle(_ context.Context, _ identity.Principal, t wire.Readings, batch bool, body []byte, done func(error)) {
	s <- taken{t.Thing, batch, string(body), done}
}

// What nodes say of readings is acknowledged when it has been dealt with, and goes
// to nobody else; what only the cloud says nobody else may.
func TestReadings(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			said := make(taking, 4)
			b, address := startPrepared(t, func(b *Broker) error {
				b.SetReadings(said)
				return nil
			})
			spy := connectRaw(t, address, version, "spy")
			spy.send(subscribePacket(version, 1, "things/#"))
			spy.expect(0x90)
			c := connectRaw(t, address, version, "n1")
			for i, topic := range []string{"things/n1/readings", "things/n1/read/answer"} {
				p := publishPacket(version, topic, uint16(7+i), "body")
				p[0] |= 1 // retain: nothing of it is
				c.send(p)
				got := <-said
				if got.node != "n1" || got.batch != (i == 0) || got.body != "body" {
					t.Fatalf("%s: handed over %+v", topic, got)
				}
				if b.retainedAt(topic) != nil {
					t.Errorf("%s is retained", topic)
				}
				got.done(nil)
				if ack := c.expect(0x40); ack[1] != byte(7+i) {
					t.Errorf("%s: acknowledged % x", topic, ack)
				}
			}
			b.Publish("things/n1/readings/accepted", []byte("{}"))
			if heard := spy.expect(0x30); string(heard[2:2+len("things/n1/readings/accepted")]) != "things/n1/readings/accepted" {
				t.Errorf("the spy has heard %q", heard)
			}
			for _, topic := range []string{"things/n1/readings/accepted", "things/n1/readings/rejected", "things/n1/read", "things/n1/readings/x"} {
				forger := connectRaw(t, address, version, "forger")
				forger.send(publishPacket(version, topic, 9, "{}"))
				kind, body := forger.receive()
				if refused := kind == 0 || kind == 0xe0 || kind == 0x40 && len(body) > 2 && body[2] >= 0x80; !refused {
					t.Errorf("%s: anybody may publish it: %x % x", topic, kind, body)
				}
			}
		})
	}
}

// Without anybody who takes readings they are refused.
func TestReadings_NotTaken(t *testing.T) {
	_, address := start(t, accepting, nil)
	c := connectRaw(t, address, 5, "n1")
	c.send(publishPacket(5, "things/n1/readings", 7, "body"))
	if ack := c.expect(0x40); len(ack) < 3 || ack[2] < 0x80 {
		t.Errorf("acknowledged % x", ack)
	}
}
