package broker

import (
	"context"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/cloud/trace"
	"gnomon/shadow/wire"
)

// Traces hears what becomes of messages, and who comes and goes. None of it may
// block or call the broker.
type Traces interface {
	// Expects tells whether acknowledgements are of interest at all.
	Expects() bool
	Acknowledged(clientID, topic string, payload []byte)
	Connected(clientID string)
	Left(clientID string)
}

// follower is where mochi tells what traces are made of.
type follower struct {
	mqtt.HookBase
	broker *Broker
	traces Traces
}

// Follow has t hear of acknowledgements and connections. It must be called
// before Run.
func (b *Broker) Follow(t Traces) error {
	return b.server.AddHook(&follower{broker: b, traces: t}, nil)
}

// ID implements mqtt.Hook.
func (f *follower) ID() string { return "traces" }

// Provides implements mqtt.Hook.
func (f *follower) Provides(b byte) bool {
	return b == mqtt.OnPacketRead || b == mqtt.OnSessionEstablished || b == mqtt.OnDisconnect
}

// OnPacketRead looks up what a client acknowledges. Mochi keeps every message
// until then, so that no other table of them is needed.
func (f *follower) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if (pk.FixedHeader.Type == packets.Puback || pk.FixedHeader.Type == packets.Pubcomp) && pk.ReasonCode < 0x80 && f.traces.Expects() {
		if m, ok := cl.State.Inflight.Get(pk.PacketID); ok && m.FixedHeader.Type == packets.Publish {
			f.traces.Acknowledged(cl.ID, m.TopicName, m.Payload)
		}
	}
	return pk, nil
}

// OnSessionEstablished implements mqtt.Hook.
func (f *follower) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) { f.traces.Connected(cl.ID) }

// OnDisconnect implements mqtt.Hook. A client whose next connection is there
// already has not left.
func (f *follower) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	if cl.Net.Inline || cl.IsTakenOver() {
		return
	}
	if current, ok := f.broker.server.Clients.Get(cl.ID); !ok || current == cl || current.Closed() {
		f.traces.Left(cl.ID)
	}
}

// Listeners tells how many clients get what is published to a topic, and how many
// of those acknowledge it.
func (b *Broker) Listeners(topic string) (all, acknowledging int) {
	if b.plain.Load() == 0 && !isAWS(topic) {
		return 0, 0
	}
	subs := b.server.Topics.Subscribers(topic)
	for _, s := range subs.Subscriptions {
		all++
		if s.Qos > 0 {
			acknowledging++
		}
	}
	for _, group := range subs.Shared { // one of each gets it
		all++
		for _, s := range group {
			if s.Qos > 0 {
				acknowledging++
				break
			}
		}
	}
	return all, acknowledging
}

// withTrace gives a request the trace that its user properties name.
func withTrace(ctx context.Context, user []packets.UserProperty) context.Context {
	for _, u := range user {
		ctx = withProperty(ctx, u.Key, u.Val)
	}
	return ctx
}

func withProperty(ctx context.Context, key, value string) context.Context {
	if key != wire.TraceProperty {
		return ctx
	}
	if _, ok := wire.TraceID(value); !ok {
		return ctx
	}
	return trace.With(ctx, trace.Origin{Parent: value, Door: trace.MQTT})
}
