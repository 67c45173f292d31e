package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// call makes a request and returns status, header and body.
func call(t testing.TB, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// Writes are conditional where a client asks for it, and every refusal is a
// problem with a stable code.
func TestConditionsAndProblems(t *testing.T) {
	s := startCloud(t, t.TempDir())
	app := s.http + "/v1/nodes/n1/apps/web"
	status, header, _ := call(t, "PUT", app, `{"component":"web@1.0.0"}`)
	if status != 201 || header.Get("ETag") != `"v1"` {
		t.Fatalf("created: %d, ETag %s", status, header.Get("ETag"))
	}
	for _, tt := range []struct {
		name, method, url, body string
		header                  []string
		status                  int
		code                    string
	}{
		{"unchanged", "PUT", app, `{"component":"web@1.0.0"}`, nil, 200, ""},
		{"stale", "PUT", app, `{"component":"web@2.0.0"}`, []string{"If-Match", `"v9"`}, 412, "version_mismatch"},
		{"stale patch", "PATCH", app, `{"component":"web@2.0.0"}`, []string{"If-Match", `"v9"`}, 412, "version_mismatch"},
		{"stale delete", "DELETE", app, ``, []string{"If-Match", `"v9"`}, 412, "version_mismatch"},
		{"bad If-Match", "PUT", app, `{"component":"web@2.0.0"}`, []string{"If-Match", `nine`}, 400, "invalid"},
		{"current", "PUT", app, `{"component":"web@2.0.0"}`, []string{"If-Match", `"v1"`}, 200, ""},
		{"dry run", "PUT", app + "?dryRun=server", `{"component":"web@3.0.0"}`, nil, 200, ""},
		{"dry run refused", "PUT", app + "?dryRun=server", `{"mode":"vm"}`, nil, 400, "invalid"},
		{"patch", "PATCH", app, `{"run":{"env":{"A":"1"}}}`, []string{"Content-Type", "application/merge-patch+json"}, 200, ""},
		{"patch of nothing", "PATCH", s.http + "/v1/nodes/n1/apps/none", `{"component":"a@1"}`, nil, 404, "not_found"},
		{"refused", "PUT", app, `{"component":"web@1.0.0","rnu":{}}`, nil, 400, "invalid"},
		{"no object", "PUT", app, `[1]`, nil, 400, "invalid"},
		{"no JSON", "PUT", app, `{`, nil, 400, "invalid"},
		{"injection", "PUT", app, `{}},"reported":{"a":{}`, nil, 400, "invalid"},
		{"too large", "PUT", app, `{"component":"` + strings.Repeat("x", 200_000) + `"}`, nil, 413, "too_large"},
		{"bad name", "PUT", s.http + "/v1/nodes/n1/apps/Web", `{"component":"a@1"}`, nil, 400, "invalid"},
		{"encoded slash", "GET", s.http + "/v1/nodes/n1%2Fapps/web", ``, nil, 400, "invalid"},
		{"unknown path", "GET", s.http + "/v2", ``, nil, 404, "not_found"},
		{"unknown query", "GET", app + "?pretty=1", ``, nil, 400, "invalid"},
		{"bad continue", "GET", s.http + "/v1/nodes?continue=!!", ``, nil, 400, "invalid"},
		{"a device is no node", "GET", s.http + "/v1/nodes/dev", ``, nil, 404, "not_found"},
		{"node without node", "PUT", s.http + "/v1/nodes/n1", `{"a":1}`, nil, 400, "invalid"},
	} {
		status, header, body := call(t, tt.method, tt.url, tt.body, tt.header...)
		if status != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.name, status, tt.status, body)
			continue
		}
		if tt.code == "" {
			continue
		}
		var p struct{ Code, Detail string }
		if err := json.Unmarshal([]byte(body), &p); err != nil || p.Code != tt.code || p.Detail == "" || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %s, want code %s", tt.name, header.Get("Content-Type"), body, tt.code)
		}
	}
	_, _, body := call(t, "GET", app, "")
	var r struct {
		Version uint64
		Desired struct {
			Component string
			Run       struct{ Env map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Version != 3 || r.Desired.Component != "web@2.0.0" || r.Desired.Run.Env["A"] != "1" {
		t.Errorf("in the end: %s (%v)", body, err)
	}
}

func TestListsInParts(t *testing.T) {
	s := startCloud(t, t.TempDir())
	const nodes = 7
	for i := range nodes {
		name := string(rune('a' + i))
		call(t, "PUT", s.http+"/v1/nodes/"+name, `{"node":{"site":"s"}}`)
		call(t, "POST", s.http+"/things/device-"+name+"/shadow", `{"state":{"reported":{"t":1}}}`)
	}
	var names []string
	next := ""
	for {
		_, _, body := call(t, "GET", s.http+"/v1/nodes?limit=3&continue="+next, "")
		var page struct {
			Items    []struct{ Name string }
			Continue string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Items) > 3 {
			t.Fatalf("%s (%v)", body, err)
		}
		for _, n := range page.Items {
			names = append(names, n.Name)
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	if got := strings.Join(names, ""); got != "abcdefg" {
		t.Errorf("listed %s", got)
	}
}

// follow reads events until it has n, and returns their data and the last id.
func follow(t *testing.T, url, after string, n int) (data []string, last string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for (n == 0 || len(data) < n) && lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			last = id
		}
		if d, ok := strings.CutPrefix(lines.Text(), "data: {\""); ok {
			data = append(data, d)
		} else if n == 0 && last != "" {
			break
		}
	}
	return data, last
}

// A stream that broke goes on where it was: nothing is missed, nothing comes twice.
func TestEventsResume(t *testing.T) {
	s := startCloud(t, t.TempDir())
	shadow := s.http + "/things/t/shadow"
	_, start := follow(t, s.http+"/v1/events", "", 0)
	for range 3 {
		call(t, "POST", shadow, `{"state":{"desired":{"a":1}}}`)
	}
	call(t, "POST", s.http+"/things/other/shadow", `{"state":{}}`)
	first, at := follow(t, s.http+"/v1/events?thing=t", start, 2)
	rest, _ := follow(t, s.http+"/v1/events", at, 2)
	if len(first) != 2 || len(rest) != 2 || !strings.Contains(rest[0], `"version":3`) || !strings.Contains(rest[1], `"thing":"other"`) {
		t.Errorf("first %v, then %v", first, rest)
	}
	if status, _, body := call(t, "GET", s.http+"/v1/events", "", "Last-Event-ID", "elsewhere-7"); status != 410 {
		t.Errorf("an event of another run: %d %s", status, body)
	}
}

// A cloud that is restarted knows what it acknowledged.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := startCloud(t, dir)
	call(t, "POST", s.http+"/things/t/shadow", `{"state":{"desired":{"a":1}}}`)
	s.stop()
	again := startCloud(t, dir)
	if _, _, body := call(t, "GET", again.http+"/things/t/shadow", ""); !strings.Contains(body, `"version":1`) {
		t.Errorf("after the restart: %s", body)
	}
	if status, _, body := call(t, "GET", again.http+"/metrics", ""); status != 200 || !strings.Contains(body, "gnomon_shadow_cached 1") {
		t.Errorf("metrics: %d %.100s", status, body)
	}
}
