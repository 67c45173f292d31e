package rest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// keep answers a request under a key.
func keep(a *answers, key string, body []byte) {
	x, mine := a.claim(key, sha256.Sum256(nil))
	if mine {
		x.status, x.body = 200, body
		a.finish(x, true)
	}
}

// Answers are forgotten after a day, and the oldest when there are too many or
// they are too large.
func TestAnswers_Bounded(t *testing.T) {
	now := time.Unix(1000, 0)
	a := newAnswers(func() time.Time { return now })
	for i := range answersKept + 10 {
		keep(a, fmt.Sprint(i), nil)
	}
	if _, first := a.claim("9", sha256.Sum256(nil)); !first || a.order.Len() != answersKept {
		t.Errorf("%d answers, the oldest forgotten: %v", a.order.Len(), first)
	}
	if _, first := a.claim("10", sha256.Sum256(nil)); first {
		t.Error("an answer within the bound is forgotten")
	}
	for i := range 40 {
		keep(a, fmt.Sprint("large", i), make([]byte, 1<<20))
	}
	if a.bytes > answersBytes || a.order.Len() > 32 {
		t.Errorf("%d bytes in %d answers", a.bytes, a.order.Len())
	}
	now = now.Add(answersAge)
	if _, first := a.claim("large39", sha256.Sum256(nil)); !first || a.bytes != 0 {
		t.Errorf("after a day: %d bytes, first %v", a.bytes, first)
	}
}

// What we failed to do is done when it is asked for again.
func TestIdempotent_Failures(t *testing.T) {
	s := New(Config{})
	status := http.StatusServiceUnavailable
	s.echo.PUT("/v1/test", func(c echo.Context) error {
		if status == 0 {
			panic("boom")
		}
		return c.String(status, fmt.Sprint(status))
	})
	put := func() *httptest.ResponseRecorder {
		return request(s, func(r *http.Request) {
			r.Method, r.URL.Path = http.MethodPut, "/v1/test"
			r.Header.Set("Idempotency-Key", "k")
		})
	}
	for _, status = range []int{http.StatusServiceUnavailable, 0, http.StatusTooManyRequests, http.StatusCreated} {
		if rec := put(); rec.Code != status && status != 0 || rec.Header().Get(idempotencyReplayed) != "" {
			t.Errorf("%d: %d %s", status, rec.Code, rec.Body)
		}
	}
	status = http.StatusOK
	if rec := put(); rec.Code != http.StatusCreated || rec.Body.String() != "201" || rec.Header().Get(idempotencyReplayed) != "true" {
		t.Errorf("after it was done: %d %s", rec.Code, rec.Body)
	}
	if rec := request(s, func(r *http.Request) {
		r.Method, r.URL.Path = http.MethodPut, "/v1/test"
		r.Header.Set("Idempotency-Key", strings.Repeat("k", 256))
	}); rec.Code != http.StatusBadRequest {
		t.Errorf("a long key: %d", rec.Code)
	}
}
