package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
)

// decode reads an answer.
func decode[T any](t testing.TB, body string) (out T) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return out
}

type problemBody struct {
	Code, Detail string
	Errors       []struct{ Path, Message string }
}

// somewhere makes a few nodes in two zones with an application each.
func somewhere(t testing.TB, s *server) {
	for i, zone := range []string{"east", "west", "east"} {
		node := fmt.Sprintf("n%d", i+1)
		call(t, "PUT", s.http+"/v1/nodes/"+node, fmt.Sprintf(`{"node":{"site":"s%d","labels":{"zone":%q}}}`, i+1, zone))
		call(t, "PUT", s.http+"/v1/nodes/"+node+"/apps/web", fmt.Sprintf(`{"component":"web@%d.0.0"}`, i%2+1))
	}
	call(t, "POST", s.http+"/things/n2/shadow?name=app:web", `{"state":{"reported":{"component":"web@2.0.0","phase":"running","observedVersion":1}}}`)
}

// What was just written is found, across nodes, in parts, and counted.
func TestFind(t *testing.T) {
	s := startCloud(t, t.TempDir())
	somewhere(t, s)
	type item struct {
		Node, Name, Phase, Component string
		Converged                    bool
		PendingSince                 int64
	}
	type list struct {
		Items              []item
		Continue, Position string
		Read               int
	}
	find := func(query string) list {
		status, _, body := call(t, "GET", s.http+"/v1/shadows?"+query, "")
		if status != 200 {
			t.Fatalf("%s: %d %s", query, status, body)
		}
		return decode[list](t, body)
	}
	if l := find("kind=application&selector=" + url.QueryEscape("zone=east")); len(l.Items) != 2 || l.Items[0].Node != "n1" || l.Items[0].PendingSince == 0 {
		t.Errorf("in the east: %+v", l)
	}
	if l := find("kind=application&selector=converged"); len(l.Items) != 1 || l.Items[0] != (item{"n2", "web", "running", "web@2.0.0", true, 0}) {
		t.Errorf("converged: %+v", l)
	}
	first := find("kind=application&limit=2&sort=pendingSince&selector=name%3Dweb")
	if len(first.Items) != 2 || first.Continue != "" {
		t.Errorf("pending: %+v", first)
	}
	part := find("kind=application&limit=2")
	call(t, "DELETE", s.http+"/v1/nodes/n2/apps/web", "")
	if rest := find("kind=application&limit=2&continue=" + part.Continue); len(rest.Items) != 1 || rest.Items[0].Node != "n3" {
		t.Errorf("the rest: %+v", rest)
	}
	if l := find("selector=" + url.QueryEscape("desired.component=web@1.0.0,node!=n1")); len(l.Items) != 1 || l.Items[0].Node != "n3" || l.Read == 0 {
		t.Errorf("by document: %+v", l)
	}
	if l := find("minVersion=n1/app:web@1&limit=1"); len(l.Items) != 1 {
		t.Errorf("at a version: %+v", l)
	}
	data, _ := follow(t, s.http+"/v1/events", part.Position, 1) // what came after the answer
	if len(data) != 1 || !strings.Contains(data[0], `"kind":"deleted","thing":"n2"`) {
		t.Errorf("after the list: %v", data)
	}
	_, _, body := call(t, "GET", s.http+"/v1/counts?kind=application&by=label.zone", "")
	counts := decode[struct {
		Groups []struct {
			Value string
			Count int
		}
		Total struct{ Count int }
	}](t, body)
	if len(counts.Groups) != 1 || counts.Groups[0].Value != "east" || counts.Total.Count != 2 {
		t.Errorf("counts: %s", body)
	}
	_, _, body = call(t, "GET", s.http+"/v1/nodes?limit=1&selector=zone%3Deast", "")
	nodes := decode[struct {
		Items []struct {
			Name    string
			Desired any
		}
		Continue string
	}](t, body)
	if len(nodes.Items) != 1 || nodes.Items[0].Name != "n1" || nodes.Items[0].Desired == nil || nodes.Continue == "" {
		t.Errorf("nodes: %s", body)
	}
}

func TestFind_Problems(t *testing.T) {
	s := startCloud(t, t.TempDir())
	for _, tt := range []struct {
		path, detail string
	}{
		{"/v1/shadows?selector=phase%3E5", "character 6: phase does not take >"},
		{"/v1/nodes?selector=Site", `character 1: "Site" is no key`},
		{"/v1/shadows?continue=zz", "continue is not a token"},
		{"/v1/shadows?sort=size", "validation failed"},
		{"/v1/shadows?kind=cat", "validation failed"},
		{"/v1/shadows?sort=pendingSince&selector=desired.a", "can't be selected"},
		{"/v1/shadows?minVersion=n1", "THING@VERSION"},
		{"/v1/counts?by=name", "component, phase, site"},
		{"/v1/counts?selector=desired.a", "indexed keys"},
		{"/v1/events?selector=pendingFor%3E1m", "without any"},
		{"/v1/watch?selector=reported.a", "what documents hold"},
	} {
		status, header, body := call(t, "GET", s.http+tt.path, "")
		if p := decode[problemBody](t, body); status != 400 || p.Code != "invalid" || !strings.Contains(p.Detail, tt.detail) || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", tt.path, status, body)
		}
	}
}

func TestJSONPatch(t *testing.T) {
	s := startCloud(t, t.TempDir())
	app := s.http + "/v1/nodes/n1/apps/web"
	call(t, "PUT", app, `{"component":"web@1.0.0","run":{"args":["a","b"],"env":{"A":"1"}}}`)
	call(t, "PUT", s.http+"/v1/nodes/n1", `{"node":{"site":"s"}}`)
	many := strings.Repeat(`{"op":"remove","path":"/a"},`, 257)
	for _, tt := range []struct {
		name, url, body string
		match           string
		status          int
		says            string
	}{
		{"set and insert", app, `[{"op":"test","path":"/component","value":"web@1.0.0"},{"op":"replace","path":"/component","value":"web@2.0.0"},{"op":"add","path":"/run/args/1","value":"x"}]`, "", 200, `"args":["a","x","b"]`},
		{"an escaped name", app, `[{"op":"add","path":"/run/env/A~1B","value":"2"}]`, "", 200, `"A/B":"2"`},
		{"nothing", app, `[]`, "", 200, `"version":3`},
		{"move", app, `[{"op":"move","from":"/run/env/A","path":"/run/env/C"}]`, `"v3"`, 200, `"C":"1"`},
		{"stale", app, `[]`, `"v3"`, 412, "version_mismatch"},
		{"dry run", app + "?dryRun=server", `[{"op":"replace","path":"/component","value":"web@9.0.0"}]`, "", 200, `web@9.0.0`},
		{"a failed test", app, `[{"op":"replace","path":"/component","value":"x@1"},{"op":"test","path":"/component","value":"web@2.0.0"}]`, "", 409, "test of the patch has failed"},
		{"nothing there", app, `[{"op":"remove","path":"/run/none"}]`, "", 409, "does not fit"},
		{"out of the array", app, `[{"op":"add","path":"/run/args/9","value":"x"}]`, "", 409, "does not fit"},
		{"refused by the schema", app, `[{"op":"add","path":"/mode","value":"vm"}]`, "", 400, "mode"},
		{"no array", app, `{"op":"add"}`, "", 400, "array of operations"},
		{"unknown operation", app, `[{"op":"append","path":"/a"}]`, "", 400, "0.op"},
		{"no pointer", app, `[{"op":"remove","path":"a"}]`, "", 400, "0.path"},
		{"a bad escape", app, `[{"op":"remove","path":"/a~2"}]`, "", 400, "0.path"},
		{"no value", app, `[{"op":"add","path":"/a"}]`, "", 400, "0.value"},
		{"too many", app, "[" + strings.TrimSuffix(many, ",") + "]", "", 413, "256 operations"},
		{"no object left", app, `[{"op":"replace","path":"","value":[1]}]`, "", 400, "else than an object"},
		{"no application", s.http + "/v1/nodes/n1/apps/none", `[]`, "", 404, "not_found"},
		{"a node", s.http + "/v1/nodes/n1", `[{"op":"add","path":"/node/labels","value":{"zone":"east"}}]`, "", 200, `"zone":"east"`},
		{"a node no more", s.http + "/v1/nodes/n1", `[{"op":"remove","path":"/node"}]`, "", 400, "no node"},
	} {
		header := []string{"Content-Type", "application/json-patch+json"}
		if tt.match != "" {
			header = append(header, "If-Match", tt.match)
		}
		status, _, body := call(t, "PATCH", tt.url, tt.body, header...)
		if status != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d %s, want %d and %s", tt.name, status, body, tt.status, tt.says)
		}
	}
	_, _, body := call(t, "GET", app, "")
	if r := decode[struct{ Version uint64 }](t, body); r.Version != 4 {
		t.Errorf("in the end: %s", body)
	}
}

// Patches of many at a time are applied one after the other, none is lost.
func TestJSONPatch_Concurrent(t *testing.T) {
	s := startCloud(t, t.TempDir())
	app := s.http + "/v1/nodes/n1/apps/web"
	call(t, "PUT", app, `{"component":"web@1.0.0","run":{"args":[]}}`)
	const writers = 16
	var done sync.WaitGroup
	for range writers {
		done.Go(func() {
			status, _, body := call(t, "PATCH", app, `[{"op":"add","path":"/run/args/-","value":"x"}]`, "Content-Type", "application/json-patch+json")
			if status != 200 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	done.Wait()
	_, _, body := call(t, "GET", app, "")
	r := decode[struct {
		Desired struct{ Run struct{ Args []string } }
	}](t, body)
	if len(r.Desired.Run.Args) != writers {
		t.Errorf("%d of %d arguments: %s", len(r.Desired.Run.Args), writers, body)
	}
}

// A write that comes again under its key is answered as before and not done again.
func TestIdempotencyKey(t *testing.T) {
	s := startCloud(t, t.TempDir())
	app := s.http + "/v1/nodes/n1/apps/web"
	key := []string{"Idempotency-Key", "k-1"}
	status, header, first := call(t, "PUT", app, `{"component":"web@1.0.0"}`, key...)
	if status != 201 || header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %s", status, first)
	}
	call(t, "PUT", app, `{"component":"web@2.0.0"}`)
	status, header, again := call(t, "PUT", app, `{"component":"web@1.0.0"}`, key...)
	if status != 201 || again != first || header.Get("ETag") != `"v1"` || header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %d %v %s", status, header, again)
	}
	for name, other := range map[string][]string{
		"another body":   {"PUT", app, `{"component":"web@3.0.0"}`},
		"another method": {"DELETE", app, ""},
		"another path":   {"PUT", app + "2", `{"component":"web@1.0.0"}`},
	} {
		if status, _, body := call(t, other[0], other[1], other[2], key...); status != 422 || !strings.Contains(body, "idempotency_key_reused") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	status, _, refused := call(t, "PUT", app, `{"mode":"vm"}`, "Idempotency-Key", "k-2")
	if _, header, again := call(t, "PUT", app, `{"mode":"vm"}`, "Idempotency-Key", "k-2"); status != 400 || again != refused || header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a refusal: %d %s, then %s", status, refused, again)
	}
	if status, _, body := call(t, "PUT", app, `{}`, "Idempotency-Key", "ü"); status != 400 || !strings.Contains(body, "visible ASCII") {
		t.Errorf("a bad key: %d %s", status, body)
	}
	if _, _, body := call(t, "GET", app, "", key...); !strings.Contains(body, "web@2.0.0") {
		t.Errorf("in the end: %s", body)
	}
}

// Of a write that many send at once under one key, one happens.
func TestIdempotencyKey_AtOnce(t *testing.T) {
	s := startCloud(t, t.TempDir())
	app := s.http + "/v1/nodes/n1/apps/web"
	call(t, "PUT", app, `{"component":"web@1.0.0","run":{"args":[]}}`)
	var done sync.WaitGroup
	for range 16 {
		done.Go(func() {
			call(t, "PATCH", app, `[{"op":"add","path":"/run/args/-","value":"x"}]`, "Content-Type", "application/json-patch+json", "Idempotency-Key", "once")
		})
	}
	done.Wait()
	if _, _, body := call(t, "GET", app, ""); !strings.Contains(body, `"version":2,`) {
		t.Errorf("in the end: %s", body)
	}
}

type message struct {
	ID, Kind, Thing, Shadow string
	Version                 uint64
}

// socket opens a WebSocket and reads its greeting.
func socket(t *testing.T, s *server, query string) (*websocket.Conn, message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.http, "http")+"/v1/watch?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, receive(t, conn)
}

func receive(t *testing.T, conn *websocket.Conn) (m message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := wsjson.Read(ctx, conn, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A WebSocket gives the same events, goes on where another was, and is closed
// with a code when that is too long ago.
func TestWatchSocket(t *testing.T) {
	s := startCloud(t, t.TempDir())
	conn, hello := socket(t, s, "")
	somewhere(t, s)
	for i, want := range []string{"n1/", "n1/app:web", "n2/"} {
		if m := receive(t, conn); m.Thing+"/"+m.Shadow != want || m.Kind != "updated" {
			t.Errorf("message %d: %+v, want %s", i, m, want)
		}
	}
	later, _ := socket(t, s, "after="+hello.ID+"&selector="+url.QueryEscape("zone=west,kind=application,converged"))
	m := receive(t, later)
	if m.Thing != "n2" || m.Shadow != "app:web" || m.Version != 2 {
		t.Errorf("selected: %+v", m)
	}
	call(t, "DELETE", s.http+"/v1/nodes/n1/apps/web", "")
	data, _ := follow(t, s.http+"/v1/events?selector="+url.QueryEscape("node=n1,kind=application"), m.ID, 1)
	if len(data) != 1 || !strings.Contains(data[0], `"kind":"deleted"`) {
		t.Errorf("by events: %v", data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	gone, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.http, "http")+"/v1/watch?after=elsewhere-7", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gone.CloseNow() }()
	if _, _, err := gone.Read(ctx); websocket.CloseStatus(err) != 4410 {
		t.Errorf("after an event of another run: %v", err)
	}
	_, resp, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.http, "http")+"/v1/watch", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("from a page elsewhere: %v", err)
	}
	s.stop()
	if _, _, err := conn.Read(ctx); err == nil {
		for err == nil {
			_, _, err = conn.Read(ctx)
		}
		if websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("when the server ends: %v", err)
		}
	}
}

// gnomon watch prints what is selected, from where it is told to.
func TestWatch_Selector(t *testing.T) {
	s := startCloud(t, t.TempDir())
	_, start := follow(t, s.http+"/v1/events", "", 0)
	somewhere(t, s)
	r, w := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	ended := make(chan error, 1)
	go func() {
		session := &session{Client: &client.Client{Server: s.http, HTTP: &http.Client{}}, format: output.Table}
		ended <- session.watch(ctx, w, io.Discard, watching{start, url.Values{"selector": {"zone=east,kind=application"}}})
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	for _, want := range []string{"application n1/web", "application n3/web"} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Errorf("%q, want %s", lines.Text(), want)
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("watching ended by itself")
	}
}
