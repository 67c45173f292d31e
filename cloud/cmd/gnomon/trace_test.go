package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/shadow/wire"
)

const (
	parent  = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
)

// The answer to every write, by whichever door, names the trace it came with, or
// a new one; a read has none.
func TestTraceparent(t *testing.T) {
	s := startCloud(t, t.TempDir())
	app := s.http + "/v1/nodes/n1/apps/web"
	for _, write := range [][3]string{
		{"PUT", s.http + "/v1/nodes/n1", `{"node":{}}`}, {"PUT", app, `{"component":"web@1.0.0"}`}, {"PATCH", app, `{"component":"web@2.0.0"}`},
		{"DELETE", app, ``}, {"POST", s.http + "/things/t/shadow", `{"state":{"desired":{"a":1}}}`}, {"DELETE", s.http + "/things/t/shadow", ``},
		{"POST", s.http + "/topics/%24aws/things/t/shadow/update?qos=1", `{"state":{"desired":{"a":2}}}`}, {"PUT", app, `[`},
	} {
		_, header, _ := call(t, write[0], write[1], write[2], "traceparent", parent)
		if got := header.Get("traceparent"); got != parent {
			t.Errorf("%s %s: traceparent %q", write[0], write[1], got)
		}
		for _, none := range []string{"", "nonsense", strings.ToUpper(parent)} {
			_, header, _ := call(t, write[0], write[1], write[2], "traceparent", none)
			if id, ok := wire.TraceID(header.Get("traceparent")); !ok || id == traceID {
				t.Errorf("%s %s with %q: traceparent %q", write[0], write[1], none, header.Get("traceparent"))
			}
		}
	}
	if _, header, _ := call(t, "GET", s.http+"/v1/nodes/n1", "", "traceparent", parent); header.Get("traceparent") != "" {
		t.Error("a read has a trace")
	}
	// A repeated request is answered as the first, with the trace of what was done.
	_, first, _ := call(t, "PUT", app, `{"component":"web@3.0.0"}`, "Idempotency-Key", "k")
	_, again, _ := call(t, "PUT", app, `{"component":"web@3.0.0"}`, "Idempotency-Key", "k", "traceparent", parent)
	if first.Get("traceparent") == "" || again.Get("traceparent") != first.Get("traceparent") {
		t.Errorf("done under %q, repeated under %q", first.Get("traceparent"), again.Get("traceparent"))
	}
}

// Steps are streamed and resumed as events are.
func TestTraceEvents(t *testing.T) {
	s := startCloud(t, t.TempDir())
	_, start := follow(t, s.http+"/v1/events?kind=trace", "", 0)
	call(t, "POST", s.http+"/things/t/shadow", `{"state":{"desired":{"a":1}}}`, "traceparent", parent)
	call(t, "POST", s.http+"/things/t/shadow?name=s", `{"state":{"desired":{"a":1}}}`)
	call(t, "POST", s.http+"/things/t/shadow", `{"state":{"reported":{"a":1}}}`)
	first, at := follow(t, s.http+"/v1/events?kind=trace&thing=t&shadow=", start, 2)
	rest, _ := follow(t, s.http+"/v1/events?kind=trace&thing=t&shadow=", at, 3)
	if len(first) != 2 || len(rest) != 3 || !strings.Contains(first[0], `"trace":"`+traceID+`","step":"written"`) || !strings.Contains(rest[0], `"step":"published"`) ||
		!strings.Contains(rest[1], `"step":"reported"`) || !strings.Contains(rest[2], `"step":"converged"`) {
		t.Errorf("first %v, then %v", first, rest)
	}
	for path, want := range map[string]int{
		"/v1/events?kind=trace&after=t0-1": 410, "/v1/events?kind=trace&selector=site%3Dx": 400,
		"/v1/events?kind=step": 400, "/v1/watch?kind=trace": 400,
	} {
		if status, _, body := call(t, "GET", s.http+path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// A write over MQTT 5 has the trace that its user property names.
func TestTraceOverMQTT(t *testing.T) {
	s := startCloud(t, t.TempDir())
	conn, err := net.Dial("tcp", s.mqtt)
	if err != nil {
		t.Fatal(err)
	}
	client := paho.NewClient(paho.ClientConfig{Conn: conn})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := client.Connect(ctx, &paho.Connect{ClientID: "operator", CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(&paho.Disconnect{}); <-client.Done() })
	p := &paho.PublishProperties{}
	p.User.Add(wire.TraceProperty, parent)
	if _, err := client.Publish(ctx, &paho.Publish{
		QoS: 1, Topic: "$aws/things/n1/shadow/name/app:web/update", Properties: p,
		Payload: []byte(`{"state":{"desired":{"component":"web@1.0.0"}}}`),
	}); err != nil {
		t.Fatal(err)
	}
	_, _, body := call(t, "GET", s.http+"/v1/nodes/n1/apps/web/explain?trace="+parent, "")
	var e struct {
		Change story `json:"change"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Change.Trace != traceID || e.Change.Steps[0].Text != "by operator local, MQTT" {
		t.Errorf("%v: %s", err, body)
	}
}

// A cloud that is restarted still knows the trace, and who wrote; what happened
// then it doesn't.
func TestTraceAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := startCloud(t, dir)
	call(t, "PUT", s.http+"/v1/nodes/n1/apps/web", `{"component":"web@1.0.0"}`, "traceparent", parent)
	s.stop()
	again := startCloud(t, dir)
	_, _, body := call(t, "GET", again.http+"/v1/nodes/n1/apps/web/explain?trace="+traceID, "")
	var e struct {
		Change story `json:"change"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Change.Trace != traceID || len(e.Change.Steps) < 3 ||
		e.Change.Steps[0].Text != "by operator local, HTTP" || e.Change.Steps[2].State != "unknown" {
		t.Errorf("%v: %s", err, body)
	}
	if _, _, body := call(t, "GET", again.http+"/v1/nodes/n1/apps/web/history", ""); !strings.Contains(body, `"trace":"`+traceID+`"`) {
		t.Errorf("history: %s", body)
	}
}
