package broker

import (
	"cmp"
	"slices"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/shadow/wire"
)

// session is what the broker knows of a connected client beyond mochi.
type session struct {
	broker     *Broker
	number     uint64 // counts connections
	client     *mqtt.Client
	conn       *guardedConn
	who        principal
	unanswered atomic.Int32 // shadow requests
	acks       acks
	standIn    standIn
	window     *window

	lastTopic  string // of a request, for most are to the same
	lastParsed wire.Topic
}

// write writes whole packets. It takes mochi's lock of the client, so that packets
// don't mix, and waits for room.
func (s *session) write(p []byte) error {
	if s.client.Closed() {
		return nil
	}
	s.client.Lock()
	return s.finishWrite(p)
}

// tryWrite is write as far as there is room, and nobody else writes. When it has
// stopped in between, the lock is still taken: finishWrite goes on.
func (s *session) tryWrite(p []byte) (n int, locked bool, err error) {
	if s.client.Closed() {
		return len(p), false, nil
	}
	if !s.client.TryLock() {
		return 0, false, nil
	}
	if n, err = s.conn.tryWrite(p); err == nil && n > 0 && n < len(p) {
		return n, true, nil
	}
	s.client.Unlock()
	return n, false, err
}

func (s *session) finishWrite(p []byte) error {
	defer s.client.Unlock()
	_, err := s.conn.Write(p)
	return err
}

// standIn is the identifier that mochi sees of the packet in hand in place of the
// client's own. Client and server number their packets apart, but mochi keeps
// both in one table: a SUBSCRIBE numbered like a message that the client has yet
// to acknowledge would be refused, and a PUBLISH would end that message's being
// delivered again. It belongs to the goroutine that reads the connection, which
// also writes the answers concerned.
type standIn struct{ id, own uint16 }

// OnPacketRead gives a packet another identifier where its own is taken, and
// makes use of the room that an acknowledgement makes.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	conn, ok := cl.Net.Conn.(*guardedConn)
	if !ok || conn.session == nil {
		return pk, nil
	}
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Pubcomp, packets.Pubrec:
		if pk.FixedHeader.Type != packets.Pubrec || pk.ReasonCode >= 0x80 { // else there is a PUBCOMP to come
			conn.session.window.acknowledged(pk.PacketID)
		}
		return pk, nil
	case packets.Subscribe, packets.Unsubscribe:
	case packets.Publish:
		if pk.FixedHeader.Qos != 1 {
			return pk, nil
		}
	default:
		return pk, nil
	}
	s := conn.session
	s.standIn = standIn{}
	if outgoing(cl, pk.PacketID) {
		s.standIn.own = pk.PacketID
		for pk.PacketID--; outgoing(cl, pk.PacketID) || pk.PacketID == 0; pk.PacketID-- {
		}
		s.standIn.id = pk.PacketID
	}
	return pk, nil
}

// outgoing tells whether a message to the client goes by an identifier.
func outgoing(cl *mqtt.Client, id uint16) bool {
	m, ok := cl.State.Inflight.Get(id)
	return ok && (m.FixedHeader.Type == packets.Publish || m.FixedHeader.Type == packets.Pubrel)
}

// own returns the identifier that the client gave a packet.
func (s *session) own(id uint16) uint16 {
	if id != 0 && id == s.standIn.id {
		return s.standIn.own
	}
	return id
}

// unsent is no type of packet: mochi can't encode it, and so doesn't send it.
const unsent = packets.Reserved

// OnPacketEncode answers a packet under the client's own identifier, and keeps
// mochi from sending what the client doesn't take, or not yet.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	conn, ok := cl.Net.Conn.(*guardedConn)
	if !ok || conn.session == nil {
		return pk
	}
	switch pk.FixedHeader.Type {
	case packets.Suback, packets.Unsuback, packets.Puback:
		pk.PacketID = conn.session.own(pk.PacketID)
	case packets.Publish:
		if pk.FixedHeader.Qos == 0 {
			return pk
		}
		if tooLarge(cl, pk) {
			h.broker.discard(cl.State.Inflight, pk.PacketID)
			pk.FixedHeader.Type = unsent
		} else if conn.session.window.take(pk) {
			pk.FixedHeader.Type = unsent
		}
	}
	return pk
}

// arrange has mochi send what a session missed in the order it was published, as
// far as its client takes it. Mochi orders by the low bits of the second of a
// message's publication, which orders nothing within one second.
func (b *Broker) arrange(s *session, in *mqtt.Inflight) {
	missed := in.GetAll(false)
	missed = slices.DeleteFunc(missed, func(m packets.Packet) bool {
		large := m.FixedHeader.Type == packets.Publish && tooLarge(s.client, m)
		if large {
			b.discard(in, m.PacketID)
		}
		return large
	})
	slices.SortStableFunc(missed, func(a, b packets.Packet) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), int(int16(a.PacketID-b.PacketID)))
	})
	for i := range missed {
		missed[i].Created = int64(i) // older than all that come later
		in.Set(missed[i])
	}
	s.window.begin(missed, in)
}

// OnClientExpired clears away the subscriptions of a session that has ended,
// which mochi would match against for ever.
func (h *hook) OnClientExpired(cl *mqtt.Client) {
	h.broker.server.UnsubscribeClient(cl)
	cl.ClearInflights()
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
		if held++; held > h.broker.cfg.Subscriptions {
			h.broker.metrics.refused.WithLabelValues("subscriptions").Inc()
			f.Filter = ""
		}
	}
	return pk
}
