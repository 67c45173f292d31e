package broker

import (
	"bytes"
	"errors"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/cloud/identity"
	"gnomon/shadow/wire"
)

type principal = identity.Principal

// hook is where mochi asks the broker.
type hook struct {
	mqtt.HookBase
	broker *Broker
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "gnomon" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish,
		mqtt.OnSessionEstablished, mqtt.OnSubscribed, mqtt.OnPublish,
		mqtt.OnRetainMessage, mqtt.OnRetainedExpired, mqtt.OnClientExpired,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnSubscribe,
	}, b) >= 0
}

// OnConnect checks the will, which mochi sends without asking anybody.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	if !pk.Connect.WillFlag {
		return nil
	}
	if topic := pk.Connect.WillTopic; wire.Reserved(topic) || strings.HasPrefix(topic, "$") || strings.ContainsAny(topic, "+#") {
		h.broker.metrics.refused.WithLabelValues("will").Inc()
		_ = h.broker.server.SendConnack(cl, packets.ErrNotAuthorized, false, nil) // the connection ends either way
		return packets.ErrNotAuthorized
	}
	return nil
}

// OnConnectAuthenticate finds out who the client is.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	conn, ok := cl.Net.Conn.(*guardedConn)
	if !ok {
		return false
	}
	who, err := h.broker.cfg.Authenticate(conn.Conn, cl.ID, string(pk.Connect.Username), string(pk.Connect.Password))
	if err != nil {
		h.broker.metrics.refused.WithLabelValues("authentication").Inc()
		return false
	}
	s := &session{broker: h.broker, number: h.broker.count.Add(1), client: cl, conn: conn, who: who}
	s.acks.session, s.window = s, newWindow(s)
	conn.session = s
	h.broker.sessions.Store(cl, s)
	return true
}

// OnSessionEstablish keeps a session from a principal it didn't begin with:
// mochi looks at the client id only. It also keeps mochi from using topic aliases
// towards clients: a message kept for a later connection would have one that was
// agreed on over an earlier one.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	cl.Properties.Props.TopicAliasMaximum = 0
	old, ok := h.broker.server.Clients.Get(cl.ID)
	if !ok {
		return
	}
	mine, theirs := h.broker.session(cl), old.Net.Conn
	if conn, ok := theirs.(*guardedConn); ok && conn.session != nil && mine != nil && conn.session.who == mine.who {
		if goesOn := !pk.Connect.Clean && (!old.Properties.Clean || old.Properties.ProtocolVersion == 5); goesOn {
			h.broker.arrange(mine, old.State.Inflight)
		}
		return
	}
	old.Stop(packets.ErrSessionTakenOver)
	h.broker.server.UnsubscribeClient(old)
	old.ClearInflights()
	h.broker.server.Clients.Delete(old.ID)
}

// OnSessionEstablished ends the connection's being half-open.
//
// It also takes mochi's send quota away, which means "no quota" to mochi: with
// one, every packet received makes mochi look for messages held back, under a
// read lock that it takes twice (Inflight.NextImmediate, GetAll). A publish that
// waits for the write lock in between stops both for good, and with them the
// committer that publishes. MaximumInflight bounds what is outstanding instead.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	cl.State.Inflight.ResetSendQuota(0)
	if s := h.broker.session(cl); s != nil {
		s.conn.connected()
		s.conn.take = s.take
		s.window.established()
		s.window.release()
	}
}

func (b *Broker) session(cl *mqtt.Client) *session {
	v, ok := b.sessions.Load(cl)
	if !ok {
		return nil
	}
	return v.(*session)
}

// OnACLCheck keeps clients from publishing what only the service may. What a
// principal may read or write of a shadow is the service's to decide.
func (h *hook) OnACLCheck(_ *mqtt.Client, topic string, write bool) bool {
	if !write || !wire.Reserved(topic) {
		return true
	}
	_, ok := wire.ParseTopic(topic)
	if !ok && h.broker.readings != nil {
		_, _, ok = wire.ParseReadings(topic)
	}
	if !ok {
		h.broker.metrics.refused.WithLabelValues("topic").Inc()
	}
	return ok
}

// OnSubscribed notes whether anybody may be listening to topics without $aws/,
// so that Subscribed needn't look when nobody ever was.
func (h *hook) OnSubscribed(_ *mqtt.Client, pk packets.Packet, _ []byte) {
	for _, f := range pk.Filters {
		if f.Filter != "" && !isAWS(f.Filter) || strings.HasPrefix(f.Filter, "$share/") {
			h.broker.plain.Add(1)
		}
	}
}

// errNotStored ends a connection whose request could not be committed, so that
// its client sends it again.
var errNotStored = errors.New("shadow request not committed")

// OnPublish takes shadow requests out of mochi's hands: mochi would acknowledge
// before anything is stored.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil
	}
	s := h.broker.session(cl)
	var serve func(done func(error))
	ctx := withTrace(*h.broker.ctx.Load(), pk.Properties.User)
	if topic, ok := wire.ParseTopic(pk.TopicName); ok {
		serve = func(done func(error)) { s.serve(ctx, topic, pk.Payload, done) }
	} else if topic, batch, ok := wire.ParseReadings(pk.TopicName); ok && h.broker.readings != nil {
		serve = func(done func(error)) { s.serveReadings(ctx, topic, batch, pk.Payload, done) }
	} else {
		return h.retain(cl, pk)
	}
	if s == nil {
		return pk, packets.ErrRejectPacket
	}
	id, qos := s.own(pk.PacketID), pk.FixedHeader.Qos
	if qos == 2 {
		done := make(chan error, 1)
		serve(func(err error) { done <- err })
		return pk, h.exactlyOnce(s, <-done)
	}
	serve(func(err error) { s.answered(qos, id, err) })
	return pk, packets.ErrRejectPacket
}

// exactlyOnce goes on once the request is committed, for which the reader has
// waited: it lets mochi run the handshake of quality of service 2 without
// delivering anything.
func (h *hook) exactlyOnce(s *session, err error) error {
	s.release()
	if err != nil {
		s.acks.fail()
		return packets.ErrRejectPacket
	}
	return packets.CodeSuccessIgnore
}
