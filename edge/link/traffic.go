package link

import (
	"context"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// Traffic is what else goes over the connection beside shadows, after them: it is
// asked for messages only when no report is due.
type Traffic interface {
	// Filters are the topics to subscribe to, eight at most.
	Filters() []string

	// Online tells that the connection carries messages now, or that it is lost and
	// with it whatever is not answered.
	Online(up bool)

	// Send returns the next message, nil if none is due. It must not block.
	Send() *Message

	// Receive takes a message. It must not block, and is acknowledged whatever
	// becomes of it.
	Receive(topic string, payload []byte)
}

// Message is one that goes out.
type Message struct {
	Topic   string
	Payload []byte
}

// Nudge has Traffic asked for messages.
func (l *Link) Nudge() { signal(l.kick) }

// subscribeTraffic subscribes to what Traffic wants to hear.
func (l *Link) subscribeTraffic(ctx context.Context, s *session) error {
	if l.cfg.Traffic == nil {
		return nil
	}
	sub := new(paho.Subscribe)
	for _, filter := range l.cfg.Traffic.Filters() {
		sub.Subscriptions = append(sub.Subscriptions, paho.SubscribeOptions{Topic: filter, QoS: 1, RetainHandling: 2})
	}
	_, err := s.client.Subscribe(ctx, sub)
	return err
}

// traffic sends what Traffic has, one message at a time: a report that becomes due
// meanwhile goes first. more tells that there may be another.
func (l *Link) traffic(ctx context.Context, s *session) (more bool, err error) {
	if l.cfg.Traffic == nil || s.mute || !l.tellOnline(s) {
		return false, nil
	}
	m := l.cfg.Traffic.Send()
	if m == nil {
		return false, nil
	}
	if err := s.publish(ctx, message{m.Topic, m.Payload}); err != nil {
		return false, fmt.Errorf("publish %s: %w", m.Topic, err)
	}
	return true, nil
}

// tellOnline tells Traffic once that the connection has synced, and whether it has.
func (l *Link) tellOnline(s *session) bool {
	l.mu.Lock()
	synced, told := s.synced, s.told
	s.told = synced
	l.mu.Unlock()
	if synced && !told {
		l.cfg.Traffic.Online(true)
	}
	return synced
}

// lostTraffic tells Traffic that the connection is lost.
func (l *Link) lostTraffic(s *session) {
	if l.cfg.Traffic != nil && s.told {
		l.cfg.Traffic.Online(false)
	}
}

// again is the wake that means at once.
const again = time.Duration(0)
