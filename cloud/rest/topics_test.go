package rest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gnomon/cloud/identity"
	"gnomon/cloud/message"
	"gnomon/shadow/wire"
)

// sent is a broker that keeps the last message.
type sent struct{ last message.Message }

func (s *sent) Send(_ context.Context, p identity.Principal, m message.Message) error {
	if p.Kind == identity.Nobody {
		return &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden"}
	}
	s.last = m
	return nil
}

func (s *sent) Retained(context.Context, identity.Principal, string) (*message.Retained, error) {
	return &message.Retained{Topic: s.last.Topic, Payload: s.last.Payload}, nil
}

func (s *sent) ListRetained(context.Context, identity.Principal, string, int) ([]message.Retained, string, error) {
	return nil, "", nil
}

func TestPublish(t *testing.T) {
	broker := new(sent)
	h := New(Config{Topics: broker}).Handler()
	for _, c := range []struct {
		target, header, value, want string
		status                      int
	}{
		{target: "a/b", want: "a/b 0 false", status: 200},
		{target: "a%2Fb%2f?qos=1&retain=true", want: "a/b/ 1 true", status: 200},
		{target: "/x//y?qos=0&retain=false", want: "/x//y 0 false", status: 200},
		{target: "a?qos=2", status: 400},
		{target: "a?retain=1", status: 400},
		{target: "a?messageExpiry=4294967296", status: 400},
		{target: "a?responseTopic=x/%23", status: 400},
		{target: "a?contentType=" + strings.Repeat("x", 9000), status: 400},
		{target: "a", header: headerCorrelation, value: "no base64", status: 400},
		{target: "a", header: headerFormat, value: "TEXT", status: 400},
		{target: "a", header: headerUser, value: "no base64", status: 400},
		{target: "a", header: headerUser, value: encoded(`{"k":"v"}`), status: 400},
		{target: "a", header: headerUser, value: encoded(`[{"k":1}]`), status: 400},
		{target: "a", header: headerUser, value: encoded(`[{"k":"v","l":"w"}]`), status: 400},
		{target: "a", header: headerUser, value: strings.Repeat("A", 9000), status: 400},
		{target: "a", header: headerUser, value: encoded(`[{"k":"v"}]`), want: "a 0 false", status: 200},
	} {
		req := httptest.NewRequest(http.MethodPost, "/topics/"+c.target, strings.NewReader("body"))
		if c.header != "" {
			req.Header.Set(c.header, c.value)
		}
		broker.last = message.Message{}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != c.status {
			t.Errorf("%.60s: %d %s, want %d", c.target, w.Code, w.Body, c.status)
			continue
		}
		m := broker.last
		if got := fmt.Sprintf("%s %d %v", m.Topic, m.QoS, m.Retain); c.status == 200 && (got != c.want || string(m.Payload) != "body") {
			t.Errorf("%s: sent %s %q", c.target, got, m.Payload)
		}
		if c.status != 200 && (w.Header().Get("x-amzn-ErrorType") != "InvalidRequestException" || m.Topic != "") {
			t.Errorf("%.60s: %v, sent %+v", c.target, w.Header(), m)
		}
	}
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// A server without a broker has no topics.
func TestPublish_WithoutBroker(t *testing.T) {
	w := httptest.NewRecorder()
	New(Config{}).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/topics/a", strings.NewReader("x")))
	if w.Code != http.StatusNotFound || w.Header().Get("x-amzn-ErrorType") != "ResourceNotFoundException" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
