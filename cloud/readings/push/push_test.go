package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/klauspost/compress/snappy"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func told(meter string, begin time.Time, values int) readings.Told {
	b := &reading.Batch{ID: 1, Policy: "curve", Version: 1, Items: []string{"V", "E"}}
	for i := range values {
		b.Rows = append(b.Rows, reading.Row{Meter: meter, At: begin.Add(time.Duration(i) * time.Minute), Arrived: begin, Source: reading.Cycle, Values: []reading.Value{
			{State: reading.Good, Number: reading.Number{Mantissa: int64(2301 + 10*i), Exponent: -1}}, {State: reading.Missing, Reason: "timeout"},
		}})
	}
	return readings.Told{Node: "n1", Batch: b, Stored: begin}
}

func start(t *testing.T, cfg Config) *Push {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func value(t *testing.T, c interface{ Write(*dto.Metric) error }) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// What can't be taken is sent again, whole; what is refused is dropped; what there
// is no room for, too.
func TestPush(t *testing.T) {
	var mu sync.Mutex
	var answers []int // still to give; then 204
	var bodies [][]byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if _, serr := snappy.Decode(nil, body); err != nil || serr != nil || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("body %v, %v; header %v", err, serr, r.Header)
		}
		bodies = append(bodies, body)
		status := http.StatusNoContent
		if len(answers) > 0 {
			status, answers = answers[0], answers[1:]
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	answers = []int{503, 429}
	p := start(t, Config{URL: server.URL, Token: "secret", BackoffMin: time.Millisecond, BackoffMax: 2 * time.Millisecond})
	begin := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	p.Stored(told("m1", begin, 8))
	eventually(t, "sent", func() bool { return value(t, p.metrics.sent) == 8 })
	mu.Lock()
	if len(bodies) != 3 || string(bodies[0]) != string(bodies[2]) || value(t, p.metrics.retries) != 2 {
		t.Errorf("%d requests, %g of them again", len(bodies), value(t, p.metrics.retries))
	}
	answers = []int{400}
	mu.Unlock()
	p.Stored(told("m1", begin, 3))
	eventually(t, "refused", func() bool { return value(t, p.metrics.dropped.WithLabelValues("refused")) == 3 })

	full, err := New(Config{URL: server.URL, Bytes: 2 * told("m1", begin, 4).Size()})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		full.Stored(told("m1", begin, 4))
	}
	if n := value(t, full.metrics.dropped.WithLabelValues("full")); n != 4 || full.values != 8 {
		t.Errorf("%g dropped, %d wait; want 4 and 8", n, full.values)
	}
}

// What sends elsewhere has taken nothing, and nothing is lost by it: a POST that is
// redirected becomes a GET, and the page for a login answers that it is all right.
func TestPush_Redirected(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if asked = append(asked, r.Method+" "+r.URL.Path); len(asked) < 3 {
					http.Redirect(w, r, "/login", status)
				}
			}))
			defer server.Close()
			var log bytes.Buffer
			p := start(t, Config{URL: server.URL + "/write", BackoffMin: time.Millisecond, BackoffMax: 2 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
			p.Stored(told("m1", time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), 3))
			sent, dropped, retries := p.metrics.sent, p.metrics.dropped.WithLabelValues("refused"), p.metrics.retries
			eventually(t, "dealt with", func() bool { return value(t, sent)+value(t, dropped) == 3 })
			mu.Lock()
			defer mu.Unlock()
			if want := "[POST /write POST /write POST /write]"; fmt.Sprint(asked) != want || value(t, retries) != 2 {
				t.Errorf("asked for %q, %g times again", asked, value(t, retries))
			}
			if value(t, dropped) != 0 {
				t.Errorf("%g values are dropped", value(t, dropped))
			}
			if !strings.Contains(log.String(), "/login") {
				t.Errorf("the log doesn't say where to: %s", &log)
			}
		})
	}
}

// Values that there is nothing to push of take as much memory as others.
func TestPush_BoundedMemory(t *testing.T) {
	sparse := readings.Told{Node: "n1", Batch: &reading.Batch{Policy: "curve", Items: make([]string, reading.MaxItems)}}
	for range reading.MaxValues / reading.MaxItems {
		sparse.Batch.Rows = append(sparse.Batch.Rows, reading.Row{Meter: "m1", Values: make([]reading.Value, reading.MaxItems)})
	}
	sparse.Batch.Rows[0].Values[0].State = reading.Good
	p, err := New(Config{URL: "http://127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		p.Stored(sparse)
	}
	each := len(sparse.Batch.Rows) * (int(unsafe.Sizeof(reading.Row{})) + reading.MaxItems*int(unsafe.Sizeof(reading.Value{})))
	if n := len(p.waiting); n == 0 || n*each > 64<<20 {
		t.Errorf("%d batches wait, of %d bytes each", n, each)
	}
	if n := value(t, p.metrics.dropped.WithLabelValues("full")); int(n) != 1000-len(p.waiting) {
		t.Errorf("%g values dropped, of %d batches", n, 1000-len(p.waiting))
	}
}

func TestNew_BadURL(t *testing.T) {
	for _, bad := range []string{"", "prometheus:9090", "ftp://x/y", "http://user:password@x/y"} {
		if _, err := New(Config{URL: bad}); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A real Prometheus takes what is pushed, also what is told late, and gives it back.
func TestPush_Prometheus(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is not installed; .ci/deps test installs it:", err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 7d}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	base := "http://" + address
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func(path string, into any) bool {
		answer, err := client.Get(base + path)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return err == nil && answer.StatusCode == http.StatusOK && (into == nil || json.Unmarshal(body, into) == nil)
	}
	p := start(t, Config{URL: base + "/api/v1/write", BackoffMin: 20 * time.Millisecond}) // before it is ready
	begin := time.Now().UTC().Truncate(time.Minute).Add(-time.Hour)
	p.Stored(told("m1", begin, 10))
	p.Stored(told("m2", begin, 1))
	p.Stored(told("m1", begin.Add(-2*time.Hour), 10)) // back-fill
	eventually(t, "ready", func() bool { return get("/-/ready", nil) })
	eventually(t, "all is there", func() bool {
		var found struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Values [][2]any
				}
			}
		}
		query := url.Values{"query": {fmt.Sprintf(`%s{node="n1",policy="curve",item="V",meter="m1"}[6h]`, Metric)}}
		if !get("/api/v1/query?"+query.Encode(), &found) || len(found.Data.Result) != 1 || len(found.Data.Result[0].Values) != 20 {
			return false
		}
		last := found.Data.Result[0].Values[19]
		if last[0] != float64(begin.Add(9*time.Minute).Unix()) || last[1] != "239.1" {
			t.Fatalf("the last is %v, want 239.1 of %s", last, begin.Add(9*time.Minute))
		}
		return true
	})
	if n := value(t, p.metrics.dropped.WithLabelValues("refused")); n != 0 {
		t.Errorf("%g refused", n)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
