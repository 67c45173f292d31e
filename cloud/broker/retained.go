package broker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/cloud/identity"
	"gnomon/cloud/message"
	"gnomon/shadow/wire"
)

// retained bounds what mochi retains, which has no bounds of its own, and knows
// what mochi doesn't: since when.
type retained struct {
	count, bytes int // the limits

	mu      sync.Mutex
	entries map[string]retainedEntry
	used    int // bytes of topics and payloads
}

type retainedEntry struct {
	size     int
	modified time.Time
}

// fits tells whether a message may be retained in place of what its topic has.
func (r *retained) fits(topic string, size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.room(topic, size)
}

func (r *retained) room(topic string, size int) bool {
	old, replaces := r.entries[topic]
	if replaces {
		return r.used-old.size+size <= r.bytes
	}
	return len(r.entries) < r.count && r.used+len(topic)+size <= r.bytes
}

func (r *retained) put(topic string, size int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.room(topic, size) {
		return false
	}
	r.drop(topic)
	r.entries[topic] = retainedEntry{size, now}
	r.used += len(topic) + size
	return true
}

func (r *retained) remove(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(topic)
}

func (r *retained) drop(topic string) {
	if old, ok := r.entries[topic]; ok {
		r.used -= len(topic) + old.size
		delete(r.entries, topic)
	}
}

func (r *retained) modified(topic string) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[topic]
	return e.modified, ok
}

// after returns up to limit topics in order, after the topic after.
func (r *retained) after(after string, limit int) (topics []string, more bool) {
	r.mu.Lock()
	for topic := range r.entries {
		if topic > after {
			topics = append(topics, topic)
		}
	}
	r.mu.Unlock()
	slices.Sort(topics)
	if len(topics) > limit {
		return topics[:limit], true
	}
	return topics, false
}

// retain lets a message go on, without its being retained where there is no room
// for it. Over MQTT 5 its sender is told, and nobody gets it.
func (h *hook) retain(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if !pk.FixedHeader.Retain || len(pk.Payload) == 0 || h.broker.retained.fits(pk.TopicName, len(pk.Payload)) {
		return pk, nil
	}
	h.broker.metrics.refused.WithLabelValues("retained").Inc()
	if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos == 1 {
		return pk, packets.ErrQuotaExceeded
	}
	pk.FixedHeader.Retain = false
	return pk, nil
}

// OnRetainMessage keeps account of what mochi has retained just now, wills
// included, and has it forget what came in between retain and here.
func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	if len(pk.Payload) == 0 {
		h.broker.retained.remove(pk.TopicName)
		return
	}
	if !h.broker.retained.put(pk.TopicName, len(pk.Payload), time.Now()) {
		h.broker.metrics.refused.WithLabelValues("retained").Inc()
		h.broker.retained.remove(pk.TopicName)
		h.broker.server.Topics.RetainMessage(packets.Packet{TopicName: pk.TopicName})
	}
}

// OnRetainedExpired keeps account of what mochi has forgotten.
func (h *hook) OnRetainedExpired(topic string) { h.broker.retained.remove(topic) }

// Retained returns the message that is retained on a topic.
func (b *Broker) Retained(_ context.Context, p identity.Principal, topic string) (*message.Retained, error) {
	if p.Kind == identity.Nobody {
		return nil, errForbidden
	}
	m := b.retainedAt(topic)
	if m == nil {
		return nil, &wire.Error{Code: wire.CodeNotFound, Message: "No retained message exists on topic: '" + topic + "'"}
	}
	return m, nil
}

func (b *Broker) retainedAt(topic string) *message.Retained {
	modified, ok := b.retained.modified(topic)
	pk, there := b.server.Topics.Retained.Get(topic)
	if !ok || !there {
		return nil
	}
	m := &message.Retained{Topic: topic, Payload: pk.Payload, Size: len(pk.Payload), QoS: pk.FixedHeader.Qos, Modified: modified}
	for _, u := range pk.Properties.User {
		m.User = append(m.User, message.Pair{Key: u.Key, Value: u.Val})
	}
	return m
}

// ListRetained returns up to limit retained messages without their payloads, in
// order of their topics, after the topic after. next is what to give as after
// for more, "" when there are no more.
func (b *Broker) ListRetained(_ context.Context, p identity.Principal, after string, limit int) (list []message.Retained, next string, err error) {
	if p.Kind != identity.Operator {
		return nil, "", errForbidden
	}
	topics, more := b.retained.after(after, limit)
	for _, topic := range topics {
		if m := b.retainedAt(topic); m != nil {
			m.Payload = nil
			list = append(list, *m)
		}
	}
	if more {
		next = topics[len(topics)-1]
	}
	return list, next, nil
}

var errForbidden = &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden"}

// maxTopic is the contract's bound on the bytes of a topic published over HTTP.
const maxTopic = 256

// Send publishes a message as if a client of p had: a shadow request is handed to
// the shadow service, and Send returns once that has dealt with it.
func (b *Broker) Send(ctx context.Context, p identity.Principal, m message.Message) error {
	if p.Kind == identity.Nobody {
		return errForbidden
	}
	if m.Topic == "" || len(m.Topic) > maxTopic || strings.ContainsAny(m.Topic, "+#\x00") || m.QoS > 1 || len(m.Payload) > b.cfg.MaxPacket {
		return &wire.Error{Code: wire.CodeInvalidRequest, Message: "Invalid topic, qos or payload: a topic has 1 to 256 bytes and no wildcard, qos is 0 or 1"}
	}
	if t, ok := wire.ParseTopic(m.Topic); ok {
		done := make(chan error, 1)
		for _, u := range m.User {
			ctx = withProperty(ctx, u.Key, u.Value)
		}
		b.shadows.Handle(ctx, p, t, m.Payload, func(err error) { done <- err })
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if wire.Reserved(m.Topic) || m.Topic[0] == '$' {
		return &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden: nobody but the service publishes to this topic"}
	}
	if m.Retain && len(m.Payload) > 0 && !b.retained.fits(m.Topic, len(m.Payload)) {
		b.metrics.refused.WithLabelValues("retained").Inc()
		return &wire.Error{Code: wire.CodeThrottled, Message: "Too many retained messages: remove some by publishing to their topics with retain and without a payload"}
	}
	return b.server.InjectPacket(b.outside, packetOf(m))
}

func packetOf(m message.Message) packets.Packet {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: m.QoS, Retain: m.Retain},
		TopicName:   m.Topic, Payload: m.Payload,
		PacketID: uint16(m.QoS), // mochi wants one where there is an acknowledgement
		Properties: packets.Properties{
			ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.Correlation,
			MessageExpiryInterval: m.Expiry, PayloadFormatFlag: m.UTF8,
		},
	}
	if m.UTF8 {
		pk.Properties.PayloadFormat = 1
	}
	for _, u := range m.User {
		pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: u.Key, Val: u.Value})
	}
	return pk
}
