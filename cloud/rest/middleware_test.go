package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func request(s *Server, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080/livez", nil)
	if change != nil {
		change(r)
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	return rec
}

// Without a login, whoever makes a browser send requests must not be obeyed.
func TestGuard(t *testing.T) {
	for name, test := range map[string]struct {
		host, origin, method string
		want                 int
	}{
		"loopback":               {"127.0.0.1:8080", "", http.MethodGet, 200},
		"loopback of IPv6":       {"[::1]:8080", "", http.MethodGet, 200},
		"localhost without port": {"localhost", "", http.MethodGet, 200},
		"a name made to point":   {"evil.example:8080", "", http.MethodGet, 403},
		"a page elsewhere":       {"127.0.0.1:8080", "https://evil.example", http.MethodPost, 403},
		"our own page":           {"127.0.0.1:8080", "http://127.0.0.1:8080", http.MethodPost, 405},
	} {
		t.Run(name, func(t *testing.T) {
			rec := request(New(Config{Local: true}), func(r *http.Request) {
				r.Host, r.Method = test.host, test.method
				if test.origin != "" {
					r.Header.Set("Origin", test.origin)
				}
			})
			if rec.Code != test.want {
				t.Errorf("%d %s, want %d", rec.Code, rec.Body, test.want)
			}
		})
	}
	if rec := request(New(Config{}), func(r *http.Request) { r.Host = "cloud.example" }); rec.Code != http.StatusOK {
		t.Errorf("with logins any host is served; got %d", rec.Code)
	}
}

func TestIdentify(t *testing.T) {
	s := New(Config{})
	if got := request(s, func(r *http.Request) { r.Header.Set(requestID, "abc-1") }).Header().Get(requestID); got != "abc-1" {
		t.Errorf("id %q, want the one sent", got)
	}
	for _, bad := range []string{"", "a b", "new\nline", strings.Repeat("x", 65)} {
		got := request(s, func(r *http.Request) { r.Header[requestID] = []string{bad} }).Header().Get(requestID)
		if got == bad || got == "" {
			t.Errorf("id %q for %q, want a new one", got, bad)
		}
	}
}

func TestContain(t *testing.T) {
	s := New(Config{Ready: func() error { panic("boom") }})
	rec := request(s, func(r *http.Request) { r.URL.Path = "/readyz" })
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "boom") {
		t.Errorf("%d %s, want a plain internal failure", rec.Code, rec.Body)
	}
}

func TestReady(t *testing.T) {
	s := New(Config{Ready: func() error { return errors.New("the disk is full") }})
	rec := request(s, func(r *http.Request) { r.URL.Path = "/readyz" })
	if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "the disk is full") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Paths that clients make up must not become series.
func TestMetrics_Bounded(t *testing.T) {
	r := prometheus.NewRegistry()
	s := New(Config{Metrics: r})
	for _, path := range []string{"/a", "/b", "/things/x/shadow/y", "/livez"} {
		request(s, func(r *http.Request) { r.URL.Path = path })
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "gnomon_http_requests_total" && len(f.GetMetric()) != 2 {
			t.Errorf("%d series, want 2: one route and none", len(f.GetMetric()))
		}
	}
}
