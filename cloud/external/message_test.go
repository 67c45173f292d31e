package external

import (
	"errors"
	"strings"
	"testing"

	"gnomon/cloud/external/mosquittotest"
	"gnomon/cloud/identity"
	"gnomon/cloud/message"
	"gnomon/shadow/wire"
)

func TestSend(t *testing.T) {
	m := mosquittotest.Start(t, "max_packet_size 40000")
	cfg := config(m, "one")
	cfg.Alone = true
	s := make(service, 1)
	r := launch(t, cfg, s)
	d := connectDevice(t, m, "device", "line/#")
	op := identity.LocalOperator
	for _, qos := range []byte{0, 1} {
		if err := r.Send(t.Context(), op, message.Message{Topic: "line/1", Payload: []byte("hi"), QoS: qos, ContentType: "text/plain", UTF8: true, Expiry: 9, User: []message.Pair{{Key: "k", Value: "v"}}}); err != nil {
			t.Fatal(err)
		}
		d.expect("line/1 hi")
	}
	if err := r.Send(t.Context(), op, message.Message{Topic: "line/kept", Payload: []byte("state"), QoS: 1, Retain: true}); err != nil {
		t.Fatal(err)
	}
	connectDevice(t, m, "later", "line/kept").expect("line/kept state")

	answer := make(chan error, 1)
	go func() { answer <- r.Send(t.Context(), op, message.Message{Topic: update, Payload: []byte("{}")}) }()
	a := s.next(t, "{}")
	if len(answer) != 0 {
		t.Error("answered before it was done")
	}
	a.done(nil)
	if err := <-answer; err != nil {
		t.Error(err)
	}

	for want, m := range map[int]message.Message{
		wire.CodeInvalidRequest: {Topic: "a/#"},
		wire.CodeForbidden:      {Topic: update + "/delta"},
		wire.CodeTooLarge:       {Topic: "a", Payload: make([]byte, 39000)},
	} {
		if code, _ := wire.Rejection(r.Send(t.Context(), op, m)); code != want {
			t.Errorf("%s: %d, want %d", m.Topic, code, want)
		}
	}
	if err := r.Send(t.Context(), identity.Principal{}, message.Message{Topic: "a"}); !errors.Is(err, errForbidden) {
		t.Errorf("nobody: %v", err)
	}
	if code, text := wire.Rejection(second(r.Retained(t.Context(), op, "line/kept"))); code != 501 || !strings.Contains(text, "subscribe") {
		t.Errorf("retained: %d %s", code, text)
	}
	if _, _, err := r.ListRetained(t.Context(), op, "", 10); !errors.Is(err, errNotRetained) {
		t.Errorf("list: %v", err)
	}
	m.Kill()
	eventually(t, "it is noticed", func() bool { return r.Ready() != nil })
	if code, _ := wire.Rejection(r.Send(t.Context(), op, message.Message{Topic: "a", QoS: 1})); code != wire.CodeUnavailable {
		t.Errorf("while the broker is away: %d", code)
	}
}

func second[T any](_ T, err error) error { return err }

// What is too large for the broker is dropped and counted; it would end every
// connection.
func TestMessagesTooLargeForTheBroker(t *testing.T) {
	m := mosquittotest.Start(t, "max_packet_size 20000")
	cfg := config(m, "one")
	cfg.Alone = true
	r := launch(t, cfg, make(service, 1))
	d := connectDevice(t, m, "device", "news")
	r.Publish("news", make([]byte, 20000))
	r.Publish("news", []byte("small"))
	d.expect("news small")
	if n, c := count(t, r.metrics.dropped), count(t, r.metrics.connects); n != 1 || c != 1 {
		t.Errorf("%d dropped, %d connections", n, c)
	}
}
