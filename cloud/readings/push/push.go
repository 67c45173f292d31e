// Package push hands readings on to a time-series database as they are stored, over
// Prometheus remote write: to Prometheus, VictoriaMetrics, Mimir, Thanos and others.
//
// It promises to hold up nobody: what waits is bounded, and beyond it what is new is
// dropped and counted. What the database can't take now is sent again, in order, for
// as long as the process runs, and so is what is answered with a redirect, which is
// logged and not followed; what the database refuses is dropped and counted.
//
// It is no backup: what waits is lost when the process ends, and what was stored
// while it didn't run is not pushed. An export has it.
package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// Config says where readings go. Zero fields but URL have the defaults given.
type Config struct {
	URL        string        // such as http://127.0.0.1:9090/api/v1/write
	Token      string        // sent as a bearer token; "" = none
	Bytes      int           // of batches waiting, decoded; default 32 MiB, some 500,000 values
	Samples    int           // in one request; default 5000
	Timeout    time.Duration // of a request; default 30s
	BackoffMin time.Duration // before a request is sent again; default 500ms
	BackoffMax time.Duration // default 1m
	Log        *slog.Logger
	Metrics    prometheus.Registerer // nil: not exported
}

// Push is a readings.Follower. Run sends; until it runs, Stored only queues.
type Push struct {
	cfg     Config
	client  http.Client
	metrics metrics
	wake    chan struct{}

	mu      sync.Mutex
	waiting []readings.Told
	values  int // that there are to push, of those waiting and under way
	bytes   int // that these batches take
}

var _ readings.Follower = (*Push)(nil)

// ErrURL: what was given is no URL to push to.
var ErrURL = errors.New("not a URL to push readings to")

// New checks the configuration.
func New(cfg Config) (*Push, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%w: must be such as http://127.0.0.1:9090/api/v1/write, without a user or password", ErrURL)
	}
	setDefault(&cfg.Bytes, 32<<20)
	setDefault(&cfg.Samples, 5000)
	setDefault(&cfg.Timeout, 30*time.Second)
	setDefault(&cfg.BackoffMin, 500*time.Millisecond)
	setDefault(&cfg.BackoffMax, time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Push{cfg: cfg, wake: make(chan struct{}, 1), client: http.Client{
		Transport: &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute},
		// A POST that is redirected mostly becomes a GET, which is answered as if all was well.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.metrics = newMetrics(cfg.Metrics, p)
	return p, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Stored implements readings.Follower.
func (p *Push) Stored(t readings.Told) {
	n, size := good(t), t.Size()
	if n == 0 {
		return
	}
	p.mu.Lock()
	full := p.bytes > 0 && p.bytes+size > p.cfg.Bytes
	if !full {
		p.waiting = append(p.waiting, t)
		p.values += n
		p.bytes += size
	}
	p.mu.Unlock()
	if full {
		p.metrics.dropped.WithLabelValues("full").Add(float64(n))
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// good counts what there is to push.
func good(t readings.Told) (n int) {
	for i := range t.Batch.Rows {
		for k := range t.Batch.Rows[i].Values {
			if t.Batch.Rows[i].Values[k].State == reading.Good {
				n++
			}
		}
	}
	return n
}

// Run sends what is stored until ctx ends.
func (p *Push) Run(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	for {
		batch, values := p.next()
		if len(batch) > 0 {
			if !p.deliver(ctx, batch, values) {
				return nil
			}
			continue
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// next returns what goes into one request. It stays in the queue's account until it
// is delivered.
func (p *Push) next() (batch []readings.Told, values int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.waiting) {
		more := good(p.waiting[n])
		if n > 0 && values+more > p.cfg.Samples {
			break
		}
		values += more
		n++
	}
	batch = append(batch, p.waiting[:n]...)
	clear(p.waiting[:n])
	p.waiting = p.waiting[n:]
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
	return batch, values
}

// deliver sends a request until it is taken or refused; false when ctx ended first.
func (p *Push) deliver(ctx context.Context, batch []readings.Told, values int) bool {
	body := encode(batch)
	pause := p.cfg.BackoffMin
	for {
		err := p.send(ctx, body)
		var refused *refusal
		switch {
		case err == nil:
			p.metrics.sent.Add(float64(values))
			p.done(batch, values)
			return true
		case ctx.Err() != nil:
			return false
		case errors.As(err, &refused) && !refused.passing():
			p.cfg.Log.Warn("readings are refused", "url", p.cfg.URL, "values", values, "error", err)
			p.metrics.dropped.WithLabelValues("refused").Add(float64(values))
			p.done(batch, values)
			return true
		}
		p.metrics.retries.Inc()
		p.cfg.Log.Warn("readings are not taken, and sent again", "url", p.cfg.URL, "again in", pause.Round(time.Millisecond), "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		pause = min(p.cfg.BackoffMax, p.cfg.BackoffMin+rand.N(3*pause))
	}
}

func (p *Push) done(batch []readings.Told, values int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values -= values
	for _, t := range batch {
		p.bytes -= t.Size()
	}
}

// refusal is an answer that says no.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return strconv.Itoa(r.status) + ": " + r.text }

// passing tells whether another attempt may do. After a redirect it may, once somebody
// has seen to what stands before the database.
func (r *refusal) passing() bool {
	return r.status/100 == 3 || r.status >= 500 || r.status == http.StatusTooManyRequests || r.status == http.StatusRequestTimeout
}

func (p *Push) send(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	req.Header.Set("User-Agent", "gnomon")
	if p.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.cfg.Token)
	}
	answer, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 500))
	if answer.StatusCode/100 == 2 {
		return nil
	}
	if to := answer.Header.Get("Location"); answer.StatusCode/100 == 3 && to != "" {
		text = []byte("redirected to " + to + ", which is not followed")
	}
	return errors.Join(&refusal{answer.StatusCode, string(bytes.TrimSpace(text))}, err)
}
