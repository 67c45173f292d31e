package rest

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"gnomon/shadow/wire"
)

const (
	idempotencyKey      = "Idempotency-Key"
	idempotencyReplayed = "Idempotency-Replayed"
)

// Bounds of the answers that are kept. They are in memory only: a server that was
// started again answers a request that it saw before as if it were new.
const (
	answersKept  = 10_000
	answersBytes = 32 << 20
	answersAge   = 24 * time.Hour
)

// answers keeps answers to be given again, those given longest ago go first.
type answers struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[string]*answer
	order *list.List // of *answer, oldest first
	bytes int
}

// answer is what a request was answered, or is going to be.
type answer struct {
	key     string
	request [sha256.Size]byte
	ready   chan struct{} // closed when the rest is known, or the answer is forgotten
	kept    bool
	at      time.Time
	status  int
	header  http.Header
	body    []byte
	place   *list.Element
}

func newAnswers(now func() time.Time) *answers {
	return &answers{now: now, byKey: make(map[string]*answer), order: list.New()}
}

// claim returns the answer under a key. mine tells that there was none, and
// that the caller must finish it.
func (a *answers) claim(key string, request [sha256.Size]byte) (found *answer, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.evict()
	if found = a.byKey[key]; found != nil {
		return found, false
	}
	found = &answer{key: key, request: request, ready: make(chan struct{})}
	a.byKey[key] = found
	return found, true
}

// finish makes an answer known, or forgets it when it isn't to be kept: after a
// failure of ours the client may try again.
func (a *answers) finish(x *answer, keep bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x.kept = keep; keep {
		x.at = a.now()
		x.place = a.order.PushBack(x)
		a.bytes += x.size()
		a.evict()
	} else {
		delete(a.byKey, x.key)
	}
	close(x.ready)
}

func (a *answers) evict() {
	for at := a.order.Front(); at != nil; at = a.order.Front() {
		x := at.Value.(*answer)
		if a.order.Len() <= answersKept && a.bytes <= answersBytes && a.now().Sub(x.at) < answersAge {
			return
		}
		a.order.Remove(at)
		a.bytes -= x.size()
		delete(a.byKey, x.key)
	}
}

func (x *answer) size() int { return len(x.body) + len(x.key) + 1024 }

// idempotent answers a write that comes again under the same Idempotency-Key as
// the first time, without doing it again. A request under that key that is not
// the same gets 422; one that comes while the first is under way waits for it.
func (s *Server) idempotent(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		key := r.Header.Get(idempotencyKey)
		if key == "" || !strings.HasPrefix(r.URL.Path, "/v1/") || r.Method == http.MethodGet || r.Method == http.MethodHead {
			return next(c)
		}
		if !plainKey(key) {
			return echo.NewHTTPError(http.StatusBadRequest, "Idempotency-Key must be 1 to 255 visible ASCII characters")
		}
		body, err := s.body(r)
		if err != nil {
			return refuse(c, problem(err, false))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		request := fingerprint(r, body)
		key = s.principal(r.Context()).String() + "\x00" + key
		for {
			x, mine := s.answers.claim(key, request)
			if mine {
				return s.answerFirst(c, x, next)
			}
			if x.request != request {
				p := newProblem(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request")
				p.Code = "idempotency_key_reused"
				return refuse(c, p)
			}
			select {
			case <-x.ready:
			case <-r.Context().Done():
				return refuse(c, problem(context.Cause(r.Context()), false))
			}
			if x.kept {
				return x.replay(c)
			}
		}
	}
}

func plainKey(key string) bool {
	return len(key) <= 255 && strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}

// fingerprint tells requests apart by all that decides what they do.
func fingerprint(r *http.Request, body []byte) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type"), r.Header.Get("If-Match")} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	h.Write(body)
	return [sha256.Size]byte(h.Sum(nil))
}

// answerFirst serves a request and keeps what it was answered.
func (s *Server) answerFirst(c echo.Context, x *answer, next echo.HandlerFunc) error {
	w := &recorder{ResponseWriter: c.Response().Writer}
	c.Response().Writer = w
	keep := false
	defer func() { // also when the handler panics
		c.Response().Writer = w.ResponseWriter
		s.answers.finish(x, keep)
	}()
	if err := next(c); err != nil {
		c.Error(err)
	}
	x.status, x.body = c.Response().Status, w.body.Bytes()
	x.header = http.Header{}
	for _, name := range []string{"Content-Type", "ETag", wire.TraceProperty} {
		if v := c.Response().Header().Get(name); v != "" {
			x.header.Set(name, v)
		}
	}
	keep = x.status < 500 && x.status != http.StatusRequestTimeout && x.status != http.StatusTooManyRequests
	return nil
}

func (x *answer) replay(c echo.Context) error {
	header := c.Response().Header()
	for name, values := range x.header {
		header[name] = values
	}
	header.Set(idempotencyReplayed, "true")
	c.Response().WriteHeader(x.status)
	_, err := c.Response().Write(x.body)
	return err
}

// recorder keeps a copy of what is answered.
type recorder struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach what is behind.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
