package bus

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/mqttguard"
	"gnomon/shadow/wire"
)

// conn is a guarded connection, and what is known of the client on it. It belongs
// to the goroutine that reads it.
type conn struct {
	*mqttguard.Conn
	client *mqtt.Client
	tokens float64 // messages it may publish at once
	filled time.Time
}

func (b *Bus) refuse(string) { b.refused.Add(1) }

func (b *Bus) wrap(nc net.Conn, connected func()) mqttguard.Guarded {
	l := mqttguard.Limits{Connect: maxConnect, Packet: maxPacket, ConnectTimeout: connectTimeout, WriteTimeout: writeTimeout}
	return &conn{Conn: mqttguard.NewConn(nc, l, connected, b.refuse), tokens: publishBurst, filled: time.Now()}
}

func (b *Bus) ended(g mqttguard.Guarded, err error) {
	if err != nil {
		b.cfg.Log.Debug("connection ended", "remote", g.RemoteAddr(), "error", err)
	}
}

// clear removes what a connection whose packet made mochi panic has left in it.
func (b *Bus) clear(g mqttguard.Guarded, cause any, stack []byte) {
	b.malformed.Add(1)
	b.cfg.Log.Warn("malformed packet", "remote", g.RemoteAddr(), "cause", fmt.Sprint(cause), "stack", string(stack))
	cl := g.(*conn).client
	if cl == nil {
		return
	}
	cl.Stop(errors.New("malformed packet"))
	b.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	if current, ok := b.server.Clients.Get(cl.ID); ok && current == cl {
		b.server.Clients.Delete(cl.ID)
	}
}

// slow waits until a client may publish again.
func (c *conn) slow() {
	now := time.Now()
	c.tokens = min(publishBurst, c.tokens+now.Sub(c.filled).Seconds()*publishRate) - 1
	c.filled = now
	if c.tokens < 0 {
		time.Sleep(time.Duration(-c.tokens / publishRate * float64(time.Second)))
	}
}

// hook is where mochi asks the bus.
type hook struct {
	mqtt.HookBase
	bus *Bus
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "gnomon" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablished,
		mqtt.OnPublish, mqtt.OnSubscribe, mqtt.OnClientExpired,
	}, b) >= 0
}

// OnConnect checks the will, which mochi sends without asking anybody.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	if c, ok := cl.Net.Conn.(*conn); ok {
		c.client = cl
	}
	if !pk.Connect.WillFlag {
		return nil
	}
	if topic := pk.Connect.WillTopic; wire.Reserved(topic) || strings.HasPrefix(topic, "$") || strings.ContainsAny(topic, "+#") || len(pk.Connect.WillPayload) > maxRetainedBytes {
		h.bus.refused.Add(1)
		_ = h.bus.server.SendConnack(cl, packets.ErrNotAuthorized, false, nil) // the connection ends either way
		return packets.ErrNotAuthorized
	}
	return nil
}

// OnConnectAuthenticate lets in whoever is on the node: in this version there is
// no other identity there, so that a session goes to nobody else's principal.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	_, ok := cl.Net.Conn.(*conn)
	return ok
}

// OnSessionEstablished ends the connection's being half-open. It takes mochi's
// send quota away, too, with which two of its locks stop each other for good.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	cl.State.Inflight.ResetSendQuota(0)
	cl.Properties.Props.TopicAliasMaximum = 0 // a message kept for later would have an alias of this connection
	if c, ok := cl.Net.Conn.(*conn); ok {
		c.Connected()
	}
}

// OnACLCheck keeps clients from publishing what only the service may.
func (h *hook) OnACLCheck(_ *mqtt.Client, topic string, write bool) bool {
	if !write || !wire.Reserved(topic) {
		return true
	}
	_, ok := wire.ParseTopic(topic)
	if !ok {
		h.bus.refused.Add(1)
	}
	return ok
}

// OnSubscribe bounds a session's filters: one too many is made one that mochi
// refuses, in its place among the others.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	held := cl.State.Subscriptions.Len()
	for i := range pk.Filters {
		f := &pk.Filters[i]
		if _, ok := cl.State.Subscriptions.Get(f.Filter); ok {
			continue
		}
		if held++; held > maxFilters {
			h.bus.refused.Add(1)
			f.Filter = ""
		}
	}
	return pk
}

// OnClientExpired clears away the subscriptions of a session that has ended.
func (h *hook) OnClientExpired(cl *mqtt.Client) {
	h.bus.server.UnsubscribeClient(cl)
	cl.ClearInflights()
}

// OnPublish takes shadow requests out of mochi's hands, which would acknowledge
// before anything is on disk. The reader of this one client waits.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := cl.Net.Conn.(*conn)
	if cl.Net.Inline || !ok {
		return pk, nil
	}
	c.slow()
	t, ok := wire.ParseTopic(pk.TopicName)
	if !ok {
		return h.bounded(pk), nil
	}
	if err := h.bus.cfg.Shadows.Request(*h.bus.ctx.Load(), t, pk.Payload); err != nil {
		h.bus.cfg.Log.Error("shadow request can't be kept", "topic", pk.TopicName, "error", err)
		cl.Stop(err) // so that the client sends it again
		return pk, packets.ErrRejectPacket
	}
	return pk, packets.CodeSuccessIgnore
}

// bounded is a message that is retained only where there is room for it.
func (h *hook) bounded(pk packets.Packet) packets.Packet {
	if !pk.FixedHeader.Retain || len(pk.Payload) == 0 {
		return pk
	}
	retained := h.bus.server.Topics.Retained
	if _, there := retained.Get(pk.TopicName); len(pk.Payload) > maxRetainedBytes || !there && retained.Len() >= maxRetained {
		h.bus.refused.Add(1)
		pk.FixedHeader.Retain = false
	}
	return pk
}
