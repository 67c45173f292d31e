package external

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/cloud/identity"
	"gnomon/cloud/message"
	"gnomon/shadow/wire"
)

var (
	errForbidden   = &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden"}
	errAway        = &wire.Error{Code: wire.CodeUnavailable, Message: "The MQTT broker is out of reach; try again"}
	errNotRetained = &wire.Error{Code: http.StatusNotImplemented, Message: "Retained messages are held by the external MQTT broker: subscribe to the topic there to get them"}
)

// maxTopic is the contract's bound on the bytes of a topic published over HTTP.
const maxTopic = 256

// Send publishes a message as if a client of p had. A shadow request is handed to
// the shadow service, and Send returns once that has dealt with it; other
// messages go to the broker, and Send returns once it has those of quality of
// service 1.
func (b *Broker) Send(ctx context.Context, p identity.Principal, m message.Message) error {
	if p.Kind == identity.Nobody {
		return errForbidden
	}
	if m.Topic == "" || len(m.Topic) > maxTopic || strings.ContainsAny(m.Topic, "+#\x00") || m.QoS > 1 || len(m.Payload) > b.cfg.MaxPacket {
		return &wire.Error{Code: wire.CodeInvalidRequest, Message: "Invalid topic, qos or payload: a topic has 1 to 256 bytes and no wildcard, qos is 0 or 1"}
	}
	if t, ok := wire.ParseTopic(m.Topic); ok {
		return b.request(ctx, p, t, m.Payload)
	}
	if wire.Reserved(m.Topic) || m.Topic[0] == '$' {
		return &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden: nobody but the service publishes to this topic"}
	}
	s := b.session.Load()
	if s == nil {
		return errAway
	}
	if s.largest > 0 && len(m.Payload)+len(m.Topic)+maxProperties > s.largest {
		return &wire.Error{Code: wire.CodeTooLarge, Message: "The payload exceeds the maximum size that the MQTT broker allows"}
	}
	ctx, cancel := s.during(ctx)
	defer cancel()
	answer, err := s.client.Publish(ctx, packetOf(m))
	if answer != nil && answer.ReasonCode >= 0x80 {
		return refusal(answer.ReasonCode)
	}
	if errors.Is(err, paho.ErrInvalidArguments) {
		return &wire.Error{Code: wire.CodeInvalidRequest, Message: "The MQTT broker doesn't support this: " + err.Error()}
	}
	if err != nil {
		return errAway
	}
	return nil
}

// request hands a shadow request over and waits until it has been dealt with.
func (b *Broker) request(ctx context.Context, p identity.Principal, t wire.Topic, body []byte) error {
	done := make(chan error, 1)
	b.shadows.Handle(ctx, p, t, body, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func refusal(code byte) error {
	status := wire.CodeInvalidRequest
	switch code {
	case 0x87:
		status = wire.CodeForbidden
	case 0x97:
		status = wire.CodeThrottled
	}
	return &wire.Error{Code: status, Message: "The MQTT broker refuses the message: " + reasonText(code, "")}
}

// maxProperties is more than what a message has beside topic and payload: the
// HTTP API bounds its properties.
const maxProperties = 20 << 10

func packetOf(m message.Message) *paho.Publish {
	p := &paho.Publish{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Properties: &paho.PublishProperties{
		ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.Correlation,
	}}
	if m.Expiry > 0 {
		p.Properties.MessageExpiry = &m.Expiry
	}
	if m.UTF8 {
		one := byte(1)
		p.Properties.PayloadFormat = &one
	}
	for _, u := range m.User {
		p.Properties.User = append(p.Properties.User, paho.UserProperty{Key: u.Key, Value: u.Value})
	}
	return p
}

// Retained says that what is retained can't be read back: MQTT has no way to ask
// for it without subscribing, and none to ask since when.
func (b *Broker) Retained(context.Context, identity.Principal, string) (*message.Retained, error) {
	return nil, errNotRetained
}

// ListRetained says the same as Retained.
func (b *Broker) ListRetained(context.Context, identity.Principal, string, int) ([]message.Retained, string, error) {
	return nil, "", errNotRetained
}
