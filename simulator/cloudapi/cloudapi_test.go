package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(Options{Base: s.URL + "/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPathsOfShadowsAreEscaped(t *testing.T) {
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.EscapedPath() + "?" + r.URL.RawQuery + " " + string(body)
		fmt.Fprint(w, `{"version":3,"clientToken":"t"}`)
	})
	a, err := c.UpdateShadow(t.Context(), "a:b", "app:w$b", []byte(`{}`))
	if err != nil || a.Version != 3 || a.ClientToken != "t" {
		t.Fatalf("%+v, %v", a, err)
	}
	if want := "POST /things/a:b/shadow?name=app%3Aw%24b {}"; got != want {
		t.Errorf("requested %s, want %s", got, want)
	}
	if _, err := c.GetShadow(t.Context(), "a", ""); err != nil || got != "GET /things/a/shadow? " {
		t.Errorf("requested %s, %v", got, err)
	}
}

func TestAnswersThatAreNoSuccess(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/things/conflict/shadow":
			http.Error(w, strings.Repeat("no", 1000), http.StatusConflict)
		case "/things/huge/shadow":
			_, _ = w.Write(make([]byte, maxBody+2))
		default:
			fmt.Fprint(w, "not json")
		}
	})
	var status *StatusError
	if _, err := c.GetShadow(t.Context(), "conflict", ""); !errors.As(err, &status) || status.Status != 409 || len(status.Body) > 512 {
		t.Errorf("conflict: %v", err)
	}
	if _, err := c.GetShadow(t.Context(), "huge", ""); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("huge: %v", err)
	}
	if _, err := c.GetShadow(t.Context(), "text", ""); err == nil || !strings.Contains(err.Error(), "decode") {
		t.Errorf("text: %v", err)
	}
}

func TestBadAddressesAreRefused(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:8080", "http://", "://x"} {
		if _, err := New(Options{Base: base}); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
}

func TestEventsAreReadAndResumed(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Last-Event-ID") {
		case "":
			fmt.Fprint(w, ": hello\n\nid: r-1\nevent: updated\ndata: {\"thing\":\"n1\",\"shadow\":\"app:web\",\n")
			fmt.Fprint(w, "data: \"desiredVersion\":4,\"converged\":true}\n\nid: r-2\ndata:{\"thing\":\"n2\"}\n\n")
		case "r-2":
			http.Error(w, "gone", http.StatusGone)
		default:
			http.Error(w, "?", http.StatusTeapot)
		}
	})
	var got []Event
	opened := 0
	last, err := c.Events(t.Context(), "", func() { opened++ }, func(e Event) { got = append(got, e) })
	want := []Event{{Thing: "n1", Shadow: "app:web", DesiredVersion: 4, Converged: true}, {Thing: "n2"}}
	if last != "r-2" || err == nil || opened != 1 || !reflect.DeepEqual(got, want) {
		t.Fatalf("last %q, error %v, opened %d, events %+v", last, err, opened, got)
	}
	if last, err = c.Events(t.Context(), last, func() {}, nil); !errors.Is(err, ErrEventsGone) || last != "" {
		t.Errorf("after the ring went on: last %q, %v", last, err)
	}
	var status *StatusError
	if _, err = c.Events(t.Context(), "x", func() {}, nil); !errors.As(err, &status) {
		t.Errorf("another status: %v", err)
	}
}

func TestEventsEndWithTheirContext(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Events(ctx, "", cancel, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
