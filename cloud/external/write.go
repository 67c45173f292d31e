package external

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// write tells the broker what is to be told until the connection is lost, or
// until finish was called and nothing is left.
func (s *session) write() {
	defer close(s.written)
	q := s.broker.queue
	defer q.leave(s.tail)
	for {
		acks, message, ok := q.next(s.tail)
		for _, id := range acks {
			if err := s.link.SessionManager.Ack(&packets.Publish{PacketID: id, QoS: 1}); err != nil {
				s.fail(err)
				return
			}
		}
		switch {
		case ok && s.publishes:
			if err := s.send(message); err != nil {
				s.fail(fmt.Errorf("publish %s: %w", message.topic, err))
				return
			}
			continue
		case len(acks) > 0:
			continue
		case s.finishing.Load() && q.empty(s.tail):
			return
		}
		select {
		case <-s.tail.wake:
		case <-s.conn.gone:
			return
		}
	}
}

// finish lets write end when there is nothing left to write.
func (s *session) finish() {
	s.finishing.Store(true)
	s.tail.signal()
}

// overhead is more than what a message's packet has beside topic and payload.
const overhead = 32

// send hands a message to the broker, which may take its time to acknowledge it:
// as many as it takes are under way.
func (s *session) send(p publication) error {
	b := s.broker
	if s.largest > 0 && p.size()+overhead > s.largest {
		b.metrics.dropped.Inc()
		b.complain("larger than the broker takes", "topic", p.topic, "bytes", p.size(), "limit", s.largest)
		b.queue.sent(p)
		return nil
	}
	_, err := s.client.PublishWithOptions(context.WithValue(context.Background(), numberOf{}, p.number), &paho.Publish{QoS: 1, Topic: p.topic, Payload: p.payload},
		paho.PublishOptions{Method: paho.PublishMethod_AsyncSend})
	switch {
	case err == nil:
		b.queue.sent(p)
	case errors.Is(err, paho.ErrNetworkErrorAfterStored): // goes out with the next connection
		b.queue.sent(p)
		return err
	case errors.Is(err, paho.ErrInvalidArguments):
		b.metrics.dropped.Inc()
		b.complain("the broker doesn't support it", "topic", p.topic, "error", err)
		b.queue.sent(p)
		return nil
	}
	return err
}

// refusedMessage notes that the broker didn't take a message.
func (b *Broker) refusedMessage(code byte) {
	b.metrics.unpublished.Inc()
	b.complain("the broker refuses it: may the cloud publish below things/+/shadow/# and $aws/things/+/shadow/#?", "reason", reasonText(code, ""))
}

// complaints are logged this far apart; the metrics count all of them.
const complaints = time.Minute

func (b *Broker) complain(problem string, about ...any) {
	now := time.Now().UnixNano()
	if last := b.said.Load(); now-last > int64(complaints) && b.said.CompareAndSwap(last, now) {
		b.cfg.Log.Warn("a message is not published", append([]any{"problem", problem}, about...)...)
	}
}
