package broker

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"gnomon/shadow/wire"
)

// publish is a PUBLISH (MQTT 5.0, 3.3) as far as a shadow request needs it. What
// it refers to belongs to whoever read the packet.
type publish struct {
	topic, body []byte
	trace       []byte // the traceparent among its properties, if there is one
	id          uint16
	qos         byte
}

// parsePublish reads the commonest form of a shadow request; ok false means that
// mochi shall read it: quality of service 2, topic aliases, and whatever is wrong.
func parsePublish(f frame, packet []byte, version byte) (p publish, ok bool) {
	const duplicate = 0x8
	p.qos = f.flags >> 1 & 3
	if p.qos > 1 || p.qos == 0 && f.flags&duplicate != 0 {
		return p, false
	}
	rest := packet[f.head:]
	if p.topic, rest, ok = cutString(rest); !ok {
		return p, false
	}
	if p.qos == 1 {
		if len(rest) < 2 {
			return p, false
		}
		p.id, rest = binary.BigEndian.Uint16(rest), rest[2:]
		if p.id == 0 {
			return p, false
		}
	}
	if version == 5 {
		if p.trace, rest, ok = cutProperties(rest); !ok {
			return p, false
		}
	}
	p.body = rest
	return p, true
}

// The properties of a PUBLISH that a request may have (MQTT 5.0, 3.3.2.3).
const (
	propertyFormat = 0x01
	propertyExpiry = 0x02
	propertyUser   = 0x26
)

// cutProperties takes the properties off. Of all of them only a traceparent is of
// interest.
func cutProperties(b []byte) (trace, rest []byte, ok bool) {
	size, n := binary.Uvarint(b[:min(len(b), 4)])
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	b, rest = b[n:n+int(size)], b[n+int(size):]
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		switch kind {
		case propertyFormat:
			ok = len(b) >= 1 && b[0] <= 1
			b = b[min(1, len(b)):]
		case propertyExpiry:
			ok = len(b) >= 4
			b = b[min(4, len(b)):]
		case propertyUser:
			var key, value []byte
			if key, b, ok = cutString(b); ok {
				value, b, ok = cutString(b)
			}
			if string(key) == wire.TraceProperty {
				trace = value
			}
		default:
			ok = false
		}
		if !ok {
			return nil, nil, false
		}
	}
	return trace, rest, true
}

// cutString takes a string off (MQTT 5.0, 1.5.4).
func cutString(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) || !utf8.Valid(b[:n]) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// take serves a shadow request without mochi. It runs where the connection is
// read.
func (s *session) take(f frame, packet []byte) bool {
	p, ok := parsePublish(f, packet, s.client.Properties.ProtocolVersion)
	if !ok {
		return false
	}
	if string(p.topic) != s.lastTopic {
		topic := string(p.topic)
		parsed, ok := wire.ParseTopic(topic)
		if !ok {
			return false
		}
		s.lastTopic, s.lastParsed = topic, parsed
	}
	info := s.broker.server.Info
	atomic.AddInt64(&info.PacketsReceived, 1)
	atomic.AddInt64(&info.MessagesReceived, 1)
	atomic.AddInt64(&info.BytesReceived, int64(len(packet)))
	_ = s.conn.stayAlive() // a failing socket fails the read
	ctx := *s.broker.ctx.Load()
	if len(p.trace) > 0 {
		ctx = withProperty(ctx, wire.TraceProperty, string(p.trace))
	}
	id, qos := p.id, p.qos // or the packet would be kept until the answer
	s.serve(ctx, s.lastParsed, p.body, func(err error) { s.answered(qos, id, err) })
	return true
}

// serve hands a request to the shadow service, if the client doesn't have too
// many unanswered.
func (s *session) serve(ctx context.Context, t wire.Topic, body []byte, done func(error)) {
	b := s.broker
	handle := b.shadows.Handle
	if s.unanswered.Add(1) > int32(b.cfg.InFlight) {
		handle = b.throttle
	}
	atomic.AddInt64(&b.metrics.inFlight, 1)
	handle(ctx, s.who, t, body, done)
}

// serveReadings hands over what a node says of readings. How many batches of a node
// may be on their way is for who takes them to say: they get a verdict either way.
func (s *session) serveReadings(ctx context.Context, t wire.Readings, batch bool, body []byte, done func(error)) {
	s.unanswered.Add(1)
	atomic.AddInt64(&s.broker.metrics.inFlight, 1)
	s.broker.readings.Handle(ctx, s.who, t, batch, body, done)
}

// answered acknowledges a request that has been dealt with, or ends the
// connection so that its client sends it again.
func (s *session) answered(qos byte, id uint16, err error) {
	s.release()
	switch {
	case err != nil:
		s.acks.fail()
	case qos == 1:
		s.acks.add(id)
	}
}

func (s *session) release() {
	atomic.AddInt64(&s.broker.metrics.inFlight, -1)
	s.unanswered.Add(-1)
}

// throttle answers a request in the shadow service's place, which is spared it.
func (b *Broker) throttle(_ context.Context, _ principal, t wire.Topic, body []byte, done func(error)) {
	b.metrics.refused.WithLabelValues("throttled").Inc()
	if topic := t.Rejected(); b.Subscribed(topic) {
		b.Publish(topic, wire.AppendRejected(nil, wire.ErrThrottled, time.Now().Unix(), wire.ClientToken(body)))
	}
	done(nil)
}
