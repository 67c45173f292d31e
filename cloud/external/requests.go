package external

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/cloud/trace"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// request is one on its way to the shadow service.
type request struct {
	session *session
	entry   *entry // nil: of quality of service 0, which isn't acknowledged
	topic   wire.Topic
	reading *reading // not nil: it is none to the shadow service
	body    []byte
	trace   string // traceparent; "" = none
}

// reading is what a node says of readings.
type reading struct {
	topic wire.Readings
	batch bool
}

var laneSeed = maphash.MakeSeed()

// received takes one message, on the goroutine that hands them out. While there
// is no room it waits, and the broker with it.
func (s *session) received(p paho.PublishReceived) (bool, error) {
	b := s.broker
	if s.tidings != nil && p.Packet.QoS == 0 && s.tidings(p.Packet.Topic, string(p.Packet.Payload)) {
		return true, nil
	}
	if b.draining.Load() {
		return true, nil // not acknowledged: the broker keeps it
	}
	r := request{session: s, body: p.Packet.Payload}
	if p.Packet.QoS > 0 {
		r.entry = s.ledger.add(p.Packet.PacketID)
	}
	if p.Packet.Properties != nil {
		r.trace = p.Packet.Properties.User.Get(wire.TraceProperty)
	}
	var ok bool
	if r.topic, ok = wire.ParseTopic(p.Packet.Topic); !ok && b.readings != nil {
		var said reading
		if said.topic, said.batch, ok = wire.ParseReadings(p.Packet.Topic); ok {
			r.reading, r.topic.Thing = &said, said.topic.Thing
		}
	}
	if !ok {
		b.metrics.refused.WithLabelValues("topic").Inc()
		s.settle(r.entry)
		return true, nil
	}
	select {
	case b.room <- struct{}{}:
	case <-s.conn.gone:
		return true, nil
	}
	b.lanes[maphash.String(laneSeed, r.topic.Thing)%lanes] <- r // has room for all that are under way
	return true, nil
}

// settle has a request acknowledged, in its turn.
func (s *session) settle(e *entry) {
	if e == nil || s.over() {
		return
	}
	s.ledger.settle(e, func(ids []uint16) { s.broker.queue.acknowledge(s.tail, ids) })
}

// serve hands the requests of a lane to the shadow service.
func (b *Broker) serve(ctx context.Context, requests <-chan request) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-requests:
			b.handle(ctx, r)
		}
	}
}

func (b *Broker) handle(ctx context.Context, r request) {
	if r.entry != nil && r.session.over() {
		<-b.room
		return // it comes again
	}
	if r.reading != nil {
		b.readings.Handle(ctx, b.cfg.Principal, r.reading.topic, r.reading.batch, r.body, func(error) {
			r.session.settle(r.entry)
			<-b.room
		})
		return
	}
	if _, ok := wire.TraceID(r.trace); ok {
		ctx = trace.With(ctx, trace.Origin{Parent: r.trace, Door: trace.MQTT})
	}
	b.shadows.Handle(ctx, b.cfg.Principal, r.topic, r.body, func(err error) {
		switch {
		case err == nil:
			r.session.settle(r.entry)
		case errors.Is(err, shadow.ErrCorrupt):
			// It has been rejected, and would be again and again, to the harm of all others.
			b.cfg.Log.Error("request to a damaged shadow", "thing", r.topic.Thing, "shadow", r.topic.Shadow, "error", err)
			r.session.settle(r.entry)
		case r.entry != nil:
			r.session.fail(fmt.Errorf("%s not done, so that the broker shall send it again: %w", r.topic.Request(), err))
		}
		<-b.room
	})
}
