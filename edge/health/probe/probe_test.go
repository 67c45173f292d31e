package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// health is a probe as its defaults make it.
func health(t *testing.T, text string) schema.Health {
	t.Helper()
	a, err := schema.ParseApplication([]byte(`{"component":"a@1","run":{"health":` + text + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	return *a.Run.Health
}

// Real programs on real ports.
func TestTry(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/bad":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case "/slow":
			<-r.Context().Done()
		case "/query":
			if r.URL.RawQuery != "deep=1" {
				http.Error(w, "no", http.StatusBadRequest)
			}
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 1<<10))
			}
		}
	}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := strconv.Itoa(closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	for _, test := range []struct{ probe, want string }{
		{`{"http":{"port":` + port + `}}`, ""},
		{`{"http":{"port":` + port + `,"path":"/moved"}}`, ""},
		{`{"http":{"port":` + port + `,"path":"/query?deep=1"}}`, ""},
		{`{"http":{"port":` + port + `,"path":"/endless"}}`, ""},
		{`{"http":{"port":` + port + `,"path":"/bad"}}`, "GET /bad: status 503"},
		{`{"http":{"port":` + port + `,"path":"/slow"},"timeout":"100ms"}`, "no answer within 100ms"},
		{`{"http":{"port":` + dead + `}}`, "dial 127.0.0.1:" + dead + ": connect: connection refused"},
		{`{"tcp":{"port":` + port + `}}`, ""},
		{`{"tcp":{"port":` + dead + `}}`, "dial 127.0.0.1:" + dead + ": connect: connection refused"},
	} {
		err := Target{Probe: health(t, test.probe)}.try(t.Context(), Config{Dial: new(net.Dialer).DialContext})
		if got := fmt.Sprint(err); err == nil && test.want != "" || err != nil && got != test.want {
			t.Errorf("%s: %v, want %q", test.probe, err, test.want)
		}
	}
}

// node is what probes find, in synctest's time.
type node struct {
	t       *testing.T
	prober  *Prober
	mu      sync.Mutex
	open    map[string]bool // ports
	hanging map[string]bool
	asked   map[string]int
	most    int // probes at a time
	now     atomic.Int32
}

func newNode(t *testing.T, parallel int) *node {
	n := &node{t: t, open: map[string]bool{}, hanging: map[string]bool{}, asked: map[string]int{}}
	n.prober = New(Config{Parallel: parallel, Dial: n.dial})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.prober.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *node) dial(ctx context.Context, _, address string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(address)
	n.mu.Lock()
	n.asked[port]++
	open, hangs := n.open[port], n.hanging[port]
	n.most = max(n.most, int(n.now.Add(1)))
	n.mu.Unlock()
	defer n.now.Add(-1)
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !open {
		return nil, errors.New("refused")
	}
	here, there := net.Pipe()
	return here, there.Close()
}

func (n *node) set(port string, open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[port] = open
}

func (n *node) count(port string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[port]
}

func (n *node) watch(text ...string) {
	n.t.Helper()
	var all []Target
	for i, one := range text {
		all = append(all, Target{App: "web", Instance: fmt.Sprint("i", i), StartedAt: time.Now(), Probe: health(n.t, one)})
	}
	n.prober.Watch(all)
	synctest.Wait()
}

// is checks the state of the first instance, and whether a change was signalled.
func (n *node) is(want schema.HealthState, signalled bool) {
	n.t.Helper()
	synctest.Wait()
	if h := n.prober.Health()["i0"]; h.State != want {
		n.t.Errorf("it is %+v, want %s", h, want)
	}
	select {
	case <-n.prober.Changes():
		if !signalled {
			n.t.Errorf("a change was signalled: %+v", n.prober.Health())
		}
	default:
		if signalled {
			n.t.Error("no change was signalled")
		}
	}
}

func TestProber_CountsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 0)
		n.watch(`{"tcp":{"port":1},"startPeriod":"1s","failures":2,"successes":2}`)
		n.is(schema.HealthStarting, false)
		time.Sleep(1500 * time.Millisecond) // the first that counts
		n.is(schema.HealthStarting, false)
		time.Sleep(10 * time.Second)
		n.is(schema.HealthUnhealthy, true)
		first := n.prober.Health()["i0"]
		if first.Message != "refused" || first.Failures != 3 {
			t.Errorf("%+v", first)
		}
		n.set("1", true)
		time.Sleep(10 * time.Second)
		n.is(schema.HealthUnhealthy, false)
		time.Sleep(10 * time.Second)
		n.is(schema.HealthHealthy, true)
		n.set("1", false)
		time.Sleep(10 * time.Second)
		n.is(schema.HealthHealthy, false)
		n.set("1", true)
		time.Sleep(10 * time.Second)
		n.set("1", false)
		time.Sleep(10 * time.Second)
		n.is(schema.HealthHealthy, false) // not two in a row
		time.Sleep(10 * time.Second)
		n.is(schema.HealthUnhealthy, true)
	})
}

// In the start period failures don't count, and success shows within a second.
func TestProber_StartPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 0)
		n.watch(`{"tcp":{"port":1},"startPeriod":"1m","failures":1,"interval":"20s"}`)
		time.Sleep(58500 * time.Millisecond)
		n.is(schema.HealthStarting, false)
		n.set("1", true)
		time.Sleep(time.Second)
		n.is(schema.HealthHealthy, true)
		asked := n.count("1")
		time.Sleep(60 * time.Second)
		if more := n.count("1") - asked; more != 3 {
			t.Errorf("asked %d times a minute once it had come up", more)
		}
	})
}

// An agent that finds an old instance gives it no time to start.
func TestProber_OldInstanceHasStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 0)
		n.prober.Watch([]Target{{Instance: "i0", StartedAt: time.Now().Add(-time.Hour), Probe: health(t, `{"tcp":{"port":1},"startPeriod":"1m","failures":1}`)}})
		n.is(schema.HealthUnhealthy, true)
		// Nor more than it asks for when the clock was set back.
		n.prober.Watch([]Target{{Instance: "i0", StartedAt: time.Now().Add(time.Hour), Probe: health(t, `{"tcp":{"port":2},"startPeriod":"1m","failures":1}`)}})
		time.Sleep(59 * time.Second)
		n.is(schema.HealthStarting, false)
		time.Sleep(10 * time.Second)
		n.is(schema.HealthUnhealthy, true)
	})
}

// What was found by another probe, or of another instance, doesn't count.
func TestProber_ChangeOfProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 0)
		n.set("2", true)
		n.watch(`{"tcp":{"port":1},"startPeriod":"1s","failures":1}`)
		time.Sleep(20 * time.Second)
		n.is(schema.HealthUnhealthy, true)
		n.mu.Lock() // the new probe has no answer yet
		n.prober.Watch([]Target{{Instance: "i0", Probe: health(t, `{"tcp":{"port":2}}`)}})
		h := n.prober.Health()["i0"]
		n.mu.Unlock()
		if h.State != schema.HealthStarting {
			t.Errorf("%+v", h)
		}
		n.is(schema.HealthHealthy, true)
		// Asked more often, what is known stays.
		asked := n.count("2")
		n.prober.Watch([]Target{{Instance: "i0", Probe: health(t, `{"tcp":{"port":2},"interval":"1s"}`)}})
		time.Sleep(5 * time.Second)
		n.is(schema.HealthHealthy, false)
		if more := n.count("2") - asked; more != 5 {
			t.Errorf("asked %d times in five seconds", more)
		}
		n.watch()
		time.Sleep(time.Minute)
		if all := n.prober.Health(); len(all) > 0 || n.count("2") != asked+5 {
			t.Errorf("still probed: %v", all)
		}
	})
}

// A result that comes too late is nobody's.
func TestProber_LateResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 0)
		n.hanging["1"] = true
		n.set("2", true)
		n.watch(`{"tcp":{"port":1},"startPeriod":"1s","failures":1,"timeout":"30s"}`)
		n.prober.Watch([]Target{{Instance: "i0", Probe: health(t, `{"tcp":{"port":2}}`)}})
		n.is(schema.HealthHealthy, true)
		time.Sleep(time.Minute)
		n.is(schema.HealthHealthy, false)
	})
}

// Those that hang are bounded in number, and end; the others get their turn.
func TestProber_Bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 2)
		all := make([]string, 0, 21)
		for port := range 20 {
			n.hanging[strconv.Itoa(port+100)] = true
			all = append(all, fmt.Sprintf(`{"tcp":{"port":%d}}`, port+100))
		}
		n.set("1", true)
		n.watch(append([]string{`{"tcp":{"port":1}}`}, all...)...)
		time.Sleep(25 * time.Second) // ten rounds of two seconds, and its own
		n.is(schema.HealthHealthy, true)
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.most > 2 {
			t.Errorf("%d at a time", n.most)
		}
		for port := range maps.Keys(n.hanging) {
			if n.asked[port] == 0 {
				t.Errorf("%s was never asked", port)
			}
		}
	})
}

func TestClip(t *testing.T) {
	if s := clip(strings.Repeat("é", 300)); len(s) > 304 || !strings.HasSuffix(s, "é…") {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}
