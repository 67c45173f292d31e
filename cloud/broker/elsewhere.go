package broker

import (
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// elsewhere is where mochi tells of connections, for brokers that are one of
// several: a client has its session at one of them.
type elsewhere struct {
	mqtt.HookBase
	broker    *Broker
	connected func(clientID string)
	left      sync.Map // *mqtt.Client whose session goes when its connection has ended
}

// Announce has connected called for every client that connects, before it is told
// that it has. It must not block. It must be called before Run.
func (b *Broker) Announce(connected func(clientID string)) error {
	b.elsewhere = &elsewhere{broker: b, connected: connected}
	return b.server.AddHook(b.elsewhere, nil)
}

// TakeOver ends the session of a client that has connected to another broker,
// with all that waits for it: what it missed it learns from its shadows.
func (b *Broker) TakeOver(clientID string) {
	cl, ok := b.server.Clients.Get(clientID)
	if !ok || cl.Net.Inline || b.elsewhere == nil {
		return
	}
	if cl.Closed() {
		b.elsewhere.purge(cl)
		return
	}
	b.elsewhere.left.Store(cl, true)
	go func() { _ = b.server.DisconnectClient(cl, packets.ErrSessionTakenOver) }() // may wait for a slow client
}

// ID implements mqtt.Hook.
func (e *elsewhere) ID() string { return "elsewhere" }

// Provides implements mqtt.Hook.
func (e *elsewhere) Provides(b byte) bool {
	return b == mqtt.OnSessionEstablish || b == mqtt.OnDisconnect
}

// OnSessionEstablish tells of a client before it is answered. When it has the answer
// it may connect to another broker at once, whose word must not come before ours.
func (e *elsewhere) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) { e.connected(cl.ID) }

// OnDisconnect removes the session of a client that is elsewhere now. mochi does
// it itself when it ends with the connection.
func (e *elsewhere) OnDisconnect(cl *mqtt.Client, _ error, expires bool) {
	if _, left := e.left.LoadAndDelete(cl); left && !expires {
		e.purge(cl)
	}
}

func (e *elsewhere) purge(cl *mqtt.Client) {
	if current, ok := e.broker.server.Clients.Get(cl.ID); !ok || current != cl {
		return // it is back
	}
	e.broker.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	e.broker.server.Clients.Delete(cl.ID)
}
