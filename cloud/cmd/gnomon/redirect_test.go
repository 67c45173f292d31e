package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A door that redirects a write, as from http to https, has it become a read, whose
// answer looks as if it had been done. Reads go through, and so does what is sent on
// as it is.
func TestRedirected(t *testing.T) {
	s := startCloud(t, t.TempDir())
	door := func(status int) *server {
		d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, s.http+r.URL.RequestURI(), status)
		}))
		t.Cleanup(d.Close)
		return &server{http: d.URL}
	}
	if status, _, body := call(t, "PUT", s.http+"/v1/nodes/n1", `{"node":{"site":"here"}}`); status/100 != 2 {
		t.Fatal(status, body)
	}
	file := filepath.Join(t.TempDir(), "n1.yaml")
	write := func(site string) {
		if err := os.WriteFile(file, []byte("kind: node\nname: n1\ndesired: {node: {site: "+site+"}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := func() string {
		_, _, body := call(t, "GET", s.http+"/v1/nodes/n1", "")
		return body
	}
	for _, status := range []int{301, 302, 303} {
		write("there")
		_, err := gnomon(door(status), "apply", "-f", file)
		if err == nil || !strings.Contains(err.Error(), "redirects to") || strings.Contains(site(), "there") {
			t.Errorf("%d: %v; it is now %s", status, err, site())
		}
		if _, err := gnomon(door(status), "delete", "node", "n1"); err == nil || !strings.Contains(site(), "here") {
			t.Errorf("%d: deleted: %v; %s", status, err, site())
		}
		if out := mustGnomon(t, door(status), "get", "nodes"); !strings.Contains(out, "n1") {
			t.Errorf("%d: %s", status, out)
		}
	}
	for i, status := range []int{307, 308} {
		to := []string{"there", "elsewhere"}[i]
		write(to)
		if mustGnomon(t, door(status), "apply", "-f", file); !strings.Contains(site(), to) {
			t.Errorf("%d: %s", status, site())
		}
	}
}
