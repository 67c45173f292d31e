package broker

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// window keeps to the receive maximum that a client of MQTT 5 stated: no more
// messages are unacknowledged. Mochi's own quota is not to be used (see
// OnSessionEstablished), so the messages of such a client are sent from here.
// They stay among mochi's outstanding ones, which bounds them, and go out as
// acknowledgements come in.
type window struct {
	session *session
	most    int // unacknowledged messages; 0 = as many as mochi keeps, and mochi sends

	sending sync.Mutex // held over sending, so that nothing overtakes

	mu     sync.Mutex
	ready  bool            // the connection has been established
	sent   map[uint16]bool // and not acknowledged
	held   []uint16        // in order
	missed []packets.Packet
}

func newWindow(s *session) *window {
	w := &window{session: s}
	props := s.client.Properties
	if n := int(props.Props.ReceiveMaximum); n > 0 && n < maxOutstanding && props.ProtocolVersion == 5 {
		w.most, w.sent = n, make(map[uint16]bool, n)
	}
	return w
}

// take has a message sent from here, in its turn, if that is how its client gets
// messages.
func (w *window) take(pk packets.Packet) bool {
	if w.most == 0 {
		return false
	}
	id := pk.PacketID
	w.mu.Lock()
	if pk.FixedHeader.Dup && !w.ready {
		// Mochi takes what was published at this very moment for missed, and
		// would end the connection if it couldn't send it.
		w.sent[id] = true
		w.mu.Unlock()
		return false
	}
	if !w.sent[id] && !slices.Contains(w.held, id) {
		w.held = append(w.held, id)
	}
	w.mu.Unlock()
	w.release()
	return true
}

// begin keeps what a session missed from being sent all at once by mochi.
func (w *window) begin(missed []packets.Packet, in *mqtt.Inflight) {
	if w.most == 0 {
		return
	}
	for _, m := range missed {
		if m.FixedHeader.Type == packets.Publish {
			in.Delete(m.PacketID)
			m.FixedHeader.Dup = true
			w.missed = append(w.missed, m)
		}
	}
	if len(w.missed) == 0 {
		return
	}
	// What comes meanwhile must not be given the identifiers that are put back:
	// it goes on counting after the last.
	last := uint32(w.missed[len(w.missed)-1].PacketID)
	for {
		if id, err := w.session.client.NextPacketID(); err != nil || id == last {
			return
		}
	}
}

// established puts what begin took back, to be sent before anything new.
func (w *window) established() {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]uint16, 0, len(w.missed)+len(w.held))
	for _, m := range w.missed {
		w.session.client.State.Inflight.Set(m)
		ids = append(ids, m.PacketID)
	}
	w.missed, w.held, w.ready = nil, append(ids, w.held...), true
}

func (w *window) acknowledged(id uint16) {
	if w.most == 0 {
		return
	}
	w.mu.Lock()
	delete(w.sent, id)
	w.mu.Unlock()
	w.release()
}

// release sends what there is room for.
func (w *window) release() {
	w.sending.Lock()
	defer w.sending.Unlock()
	for {
		w.mu.Lock()
		if !w.ready || len(w.held) == 0 || len(w.sent) >= w.most {
			w.mu.Unlock()
			return
		}
		id := w.held[0]
		w.held = slices.Delete(w.held, 0, 1)
		m, ok := w.session.client.State.Inflight.Get(id)
		if ok { // it may have expired
			w.sent[id] = true
		}
		w.mu.Unlock()
		if ok {
			w.send(m)
		}
	}
}

func (w *window) send(m packets.Packet) {
	if m.Expiry > 0 {
		m.Properties.MessageExpiryInterval = uint32(max(1, m.Expiry-time.Now().Unix()))
	}
	m.ProtocolVersion, m.Mods.AllowResponseInfo = w.session.client.Properties.ProtocolVersion, true
	var out bytes.Buffer
	if err := m.PublishEncode(&out); err == nil {
		_ = w.session.write(out.Bytes()) // a connection that fails ends its reader
	}
}

// discard forgets a message that its client doesn't take, as if it had been
// sent and acknowledged (MQTT 5.0, 3.1.2.11.4).
func (b *Broker) discard(in *mqtt.Inflight, id uint16) {
	if in.Delete(id) {
		atomic.AddInt64(&b.server.Info.Inflight, -1)
		atomic.AddInt64(&b.server.Info.InflightDropped, 1)
	}
}

// tooLarge tells whether a message is larger than a client takes.
func tooLarge(cl *mqtt.Client, pk packets.Packet) bool {
	limit := int(cl.Properties.Props.MaximumPacketSize)
	if limit == 0 {
		return false
	}
	const rest = 128 // everything in a message that is of a fixed size, and more
	p := &pk.Properties
	size := rest + len(pk.TopicName) + len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData) + 5*len(p.SubscriptionIdentifier)
	for _, u := range p.User {
		size += len(u.Key) + len(u.Val) + 5
	}
	if size <= limit {
		return false
	}
	var exact bytes.Buffer
	pk.ProtocolVersion, pk.Mods.AllowResponseInfo = cl.Properties.ProtocolVersion, true
	return pk.PublishEncode(&exact) == nil && exact.Len() > limit
}
