package rest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// All of these run before routing, so that what no route takes passes them too.

const requestID = "X-Request-Id"

// identify gives every request an id: the one it came with, when that is fit
// to be logged, or a new one. The answer and the log carry it.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(requestID)
		if !plainToken(id) {
			id = rand.Text()
		}
		c.Response().Header().Set(requestID, id)
		return next(c)
	}
}

func plainToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	return true
}

// metrics have no label that clients can make up: routes are patterns.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gnomon_http_requests_total", Help: "HTTP requests by method, route and class of status.",
		}, []string{"method", "route", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gnomon_http_request_seconds", Help: "Time to answer an HTTP request; event streams don't count.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30},
		}, []string{"route"}),
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}

func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		started := time.Now()
		if err := next(c); err != nil {
			c.Error(err)
		}
		route, status := c.Path(), c.Response().Status
		if route == "" {
			route = "none"
		}
		s.metrics.requests.WithLabelValues(methodLabel(c.Request().Method), route, fmt.Sprintf("%dxx", status/100)).Inc()
		took := time.Since(started)
		if !streaming(route) && !live(route) {
			s.metrics.seconds.WithLabelValues(route).Observe(took.Seconds())
		}
		s.cfg.Log.Debug("request", "id", c.Response().Header().Get(requestID), "trace", traceOf(c), "method", c.Request().Method,
			"route", route, "status", status, "took", took)
		return nil
	}
}

// methodLabel bounds a label that clients choose.
func methodLabel(m string) string {
	switch m {
	case http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodHead:
		return m
	default:
		return "other"
	}
}

// contain turns a panic into an answer and a log entry.
func (s *Server) contain(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p) // means: cut the connection
			default:
				s.cfg.Log.Error("panic in a request", "route", c.Path(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = echo.NewHTTPError(http.StatusInternalServerError, "Internal failure")
			}
		}()
		return next(c)
	}
}

// guard keeps web pages from writing through the browser of somebody who can
// reach this server: pages of other origins are refused, and, where there is no
// login, names that were made to point to loopback.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	origins := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		r := c.Request()
		if err := origins.Check(r); err != nil {
			return echo.NewHTTPError(http.StatusForbidden, "refused: the request comes from a web page of another origin")
		}
		if s.cfg.Local && !loopback(r.Host) {
			return echo.NewHTTPError(http.StatusForbidden, "refused: without a login only requests to localhost or a loopback address are answered")
		}
		return next(c)
	}
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// decodePath has the router see decoded paths: SDKs send the colon of a name as
// %3A. An encoded slash, which would then look like a separator, is refused but
// in topics, where it is one.
func (s *Server) decodePath(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u := c.Request().URL
		if strings.Contains(strings.ToLower(u.EscapedPath()), "%2f") && !namesTopic(u.Path) {
			return echo.NewHTTPError(http.StatusBadRequest, "an encoded slash is not allowed in the path")
		}
		u.RawPath = ""
		return next(c)
	}
}

// limit bounds the time of a request, and that of a client to take its answer.
// Event streams have bounds of their own.
func (s *Server) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if streaming(r.URL.Path) {
			return next(c)
		}
		timeout := s.cfg.Timeout
		// Not every writer has deadlines: a test's recorder has none.
		control := http.NewResponseController(c.Response())
		if live(r.URL.Path) {
			timeout = max(timeout, liveAtMost)
			_ = control.SetReadDeadline(time.Now().Add(timeout))
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		_ = control.SetWriteDeadline(time.Now().Add(2 * timeout))
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}
