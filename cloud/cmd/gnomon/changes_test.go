package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Change-sets over HTTP: created with a place to look, done once under one key,
// cancelled, and refused with a problem that names every member.
func TestChangesOverHTTP(t *testing.T) {
	s := startCloud(t, t.TempDir())
	for _, base := range []string{s.http + "/v1/nodes/n1/changes", s.http + "/v1/things/n1/changes"} {
		body := `{"shadows":{"cfg":{"desired":{"a":1}}},"notBefore":"2026-12-31T00:00:00Z"}`
		key := []string{"Idempotency-Key", "k-" + base[len(base)-18:]}
		status, header, first := call(t, "POST", base, body, key...)
		if status != 201 || !strings.HasPrefix(header.Get("Location"), base[len(s.http):]) {
			t.Fatalf("%d, Location %q: %s", status, header.Get("Location"), first)
		}
		status, header, again := call(t, "POST", base, body, key...)
		if status != 201 || again != first || header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("again: %d %s", status, again)
		}
		var c struct {
			Generation uint64
			Status     string
		}
		if err := json.Unmarshal([]byte(first), &c); err != nil || c.Status != "scheduled" {
			t.Fatalf("%s, %v", first, err)
		}
		one := fmt.Sprint(base, "/", c.Generation)
		if status, _, body := call(t, "GET", one, ""); status != 200 || !strings.Contains(body, `"nextWindow":"2026-12-31T00:00:00Z"`) {
			t.Errorf("GET: %d %s", status, body)
		}
		if status, _, body := call(t, "DELETE", one, ""); status != 200 || !strings.Contains(body, `"status":"cancelled"`) {
			t.Errorf("DELETE: %d %s", status, body)
		}
		if status, _, body := call(t, "DELETE", one, ""); status != 409 || !strings.Contains(body, `"code":"conflict"`) {
			t.Errorf("DELETE again: %d %s", status, body)
		}
		if status, _, _ := call(t, "GET", base+"/999", ""); status != 404 {
			t.Errorf("of none: %d", status)
		}
		if status, _, body := call(t, "POST", base+"?dryRun=server", `{"shadows":{"cfg":{"desired":{"a":1}}}}`); status != 200 || !strings.Contains(body, `"status":"applied"`) {
			t.Errorf("dry run: %d %s", status, body)
		}
		if status, _, _ := call(t, "GET", s.http+"/v1/things/n1/history?shadow=cfg", ""); status != 404 {
			t.Errorf("a dry run made a shadow: %d", status)
		}
	}
	status, _, body := call(t, "POST", s.http+"/v1/nodes/n1/changes", `{"shadows":{"cfg":{"desired":7},"a b":{"desired":{}}},"notBefore":"2099-01-01T00:00:00Z","note":"`+strings.Repeat("x", 1100)+`"}`)
	var p struct {
		Code   string
		Errors []struct {
			Path         string
			Value, Limit any
		}
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || status != 400 || p.Code != "invalid" || len(p.Errors) != 4 {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := call(t, "POST", s.http+"/v1/nodes/n1/changes", `{"shadows":{"cfg":{"desired":{"a":"`+strings.Repeat("x", 200_000)+`"}}}}`); status != 413 || !strings.Contains(body, "too_large") {
		t.Errorf("too large: %d %s", status, body)
	}
	// Nobody names what is kept beside shadows.
	for _, url := range []string{"/things/n1/shadow?name=%23changes", "/v1/things/n1/receipts?shadow=%23changes", "/v1/things/n1/history?shadow=%23history:"} {
		if status, _, body := call(t, "GET", s.http+url, ""); status != 400 {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	if status, _, body := call(t, "POST", s.http+"/things/n1/shadow?name=%23changes", `{"state":{"desired":{}}}`); status != 400 {
		t.Errorf("written: %d %s", status, body)
	}
	if _, _, body := call(t, "GET", s.http+"/api/things/shadow/ListNamedShadowsForThing/n1", ""); strings.Contains(body, "#") {
		t.Errorf("listed: %s", body)
	}
	if _, _, body := call(t, "GET", s.http+"/v1/shadows", ""); strings.Contains(body, "#") {
		t.Errorf("found: %s", body)
	}
}
