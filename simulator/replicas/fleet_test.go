package replicas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/simulator/cloudapi"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/cloudtest"
	"gnomon/simulator/node"
)

func TestMain(m *testing.M) { os.Exit(cloudtest.Main(m)) }

// replica is one gnomon cloud of several.
type replica struct {
	t    *testing.T
	cfg  cloudproc.Config
	door string // host:port where MQTT clients connect
	proc *cloudproc.Cloud
	api  *cloudapi.Client
}

// start starts n replicas on a store. They end with the test.
func start(t *testing.T, n int, url string) []*replica {
	t.Helper()
	all := make([]*replica, n)
	for i := range all {
		all[i] = spawn(t, url)
	}
	for _, r := range all {
		r.ready()
	}
	return all
}

// spawn starts a replica and doesn't wait for it.
func spawn(t *testing.T, url string) *replica {
	t.Helper()
	cfg := cloudtest.Config(t)
	cfg.Args = []string{"--store", url}
	return run(t, cfg, cfg.MQTT)
}

// run starts a cloud whose clients connect to door, and doesn't wait for it.
func run(t *testing.T, cfg cloudproc.Config, door string) *replica {
	t.Helper()
	api, err := cloudapi.New(cloudapi.Options{Base: "http://" + cfg.HTTP, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{t: t, cfg: cfg, door: door, api: api}
	r.again()
	t.Cleanup(func() {
		r.proc.Kill()
		api.Close()
		if t.Failed() {
			t.Logf("replica %s: %s", cfg.HTTP, r.proc.LogTail())
		}
	})
	return r
}

func (r *replica) again() {
	r.t.Helper()
	var err error
	if r.proc, err = cloudproc.Start(r.cfg); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) ready() {
	r.t.Helper()
	if err := r.proc.Ready(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for something that no event tells of.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// balance dials a replica by chance, another one if that is down: what a load
// balancer does.
func balance(all []*replica) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		var dialer net.Dialer
		errs := errors.New("no replica is there")
		for _, i := range rand.Perm(len(all)) {
			conn, err := dialer.DialContext(ctx, "tcp", all[i].door)
			if err == nil {
				return conn, nil
			}
			errs = errors.Join(errs, err)
		}
		return nil, errs
	}
}

// fleet is nodes, each with an application whose desired state writers change
// through any replica, always to a higher value.
type fleet struct {
	t     *testing.T
	all   []*replica
	nodes []*written
	stop  atomic.Bool
	group sync.WaitGroup
	acks  atomic.Int64
	fails atomic.Int64
	last  atomic.Pointer[error]
	gap   gap
}

// written is what the writers know of one node's application.
type written struct {
	name string
	mu   sync.Mutex
	next int
	acks []ack // the last of them
}

type ack struct {
	value int
	at    time.Time
}

const (
	writers = 8
	app     = "web"
)

// nodes is how many there are: few, so that the tests are quick; NODES=1000 in
// the environment for the real thing.
var nodes = func() int {
	if n, err := strconv.Atoi(os.Getenv("NODES")); err == nil && n > 0 {
		return n
	}
	return 40
}()

// launch starts nodes, waits until all have registered, and starts writers.
func launch(t *testing.T, all []*replica) *fleet {
	t.Helper()
	f := &fleet{t: t, all: all}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { f.stop.Store(true); f.group.Wait(); cancel(); running.Wait() })
	cfg := node.Config{
		Dial: balance(all), BootEpoch: 1, SyncInterval: 3 * time.Second, Timeout: 5 * time.Second,
		BackoffMin: 50 * time.Millisecond, BackoffMax: time.Second,
	}
	var registered []*node.Node
	for i := range nodes {
		f.nodes = append(f.nodes, &written{name: fmt.Sprintf("node-%04d", i)})
		n := node.New(cfg, f.nodes[i].name, uint64(i))
		registered = append(registered, n)
		running.Go(func() { _ = n.Run(ctx) }) // nil: ends with ctx only
	}
	for _, n := range registered {
		select {
		case <-n.Registered():
		case <-time.After(30 * time.Second):
			t.Fatalf("%s does not register: %v", n.Name(), n.Problem())
		}
	}
	f.resume()
	f.traffic(200)
	return f
}

// resume starts writers.
func (f *fleet) resume() {
	f.stop.Store(false)
	for w := range writers {
		f.group.Go(func() {
			for i := w; !f.stop.Load(); i += writers {
				f.write(f.nodes[i%nodes])
			}
		})
	}
}

// each does something for every node, for some at a time.
func (f *fleet) each(do func(n *written)) {
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := w; i < len(f.nodes); i += writers {
				do(f.nodes[i])
			}
		})
	}
	group.Wait()
}

// write sets the next value once, through any replica.
func (f *fleet) write(n *written) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	body := fmt.Sprintf(`{"component":"web@1","run":{"env":{"V":"%d"}}}`, n.next)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := f.all[rand.IntN(len(f.all))].api.PutApplication(ctx, n.name, app, []byte(body)); err != nil {
		f.fails.Add(1)
		f.last.Store(&err)
		time.Sleep(5 * time.Millisecond)
		return false
	}
	if len(n.acks) == 1000 {
		n.acks = append(n.acks[:0], n.acks[500:]...)
	}
	n.acks = append(n.acks, ack{n.next, time.Now()})
	f.acks.Add(1)
	f.gap.note()
	return true
}

// traffic waits until n more writes have been acknowledged.
func (f *fleet) traffic(n int64) {
	f.t.Helper()
	goal := f.acks.Load() + n
	defer func() {
		if p := f.last.Load(); p != nil && f.t.Failed() {
			f.t.Logf("the last failure: %v", *p)
		}
	}()
	until(f.t, "traffic goes on", func() bool { return f.acks.Load() >= goal })
}

// held returns the value that an application has at a replica.
func (f *fleet) held(r *replica, n *written) (value int, converged bool, err error) {
	a, err := r.api.GetApplication(f.t.Context(), n.name, app)
	if err != nil {
		return 0, false, err
	}
	var desired struct {
		Run struct{ Env struct{ V string } }
	}
	if err := json.Unmarshal(a.Desired, &desired); err != nil {
		return 0, false, err
	}
	_, err = fmt.Sscan(desired.Run.Env.V, &value)
	return value, a.Status.Converged, err
}

// check compares what was acknowledged before a moment with what is there.
func (f *fleet) check(before time.Time) {
	f.t.Helper()
	for _, n := range f.nodes {
		n.mu.Lock()
		promised := 0
		for _, a := range n.acks {
			if a.at.Before(before) {
				promised = a.value
			}
		}
		var value int
		until(f.t, "read "+n.name, func() bool {
			var err error
			value, _, err = f.held(f.all[rand.IntN(len(f.all))], n)
			return err == nil
		})
		if value < promised {
			f.t.Errorf("%s holds %d, but %d was acknowledged", n.name, value, promised)
		}
		n.mu.Unlock()
	}
}

// converge ends the traffic with one acknowledged write for every node and waits
// until all nodes have it, as every replica sees it.
func (f *fleet) converge() {
	f.t.Helper()
	began := time.Now()
	f.settle(f.all)
	f.t.Logf("%d nodes have converged, as all %d replicas see it, %v after the last round of writes began; %d writes acknowledged, %d failed",
		len(f.nodes), len(f.all), time.Since(began).Round(time.Millisecond), f.acks.Load(), f.fails.Load())
}

// settle ends the traffic with one acknowledged write for every node and waits
// until all have it, as these replicas see it.
func (f *fleet) settle(seen []*replica) {
	f.t.Helper()
	f.stop.Store(true)
	f.group.Wait()
	var late atomic.Pointer[string]
	end := time.Now().Add(90 * time.Second)
	patiently := func(what string, ok func() bool) {
		for !ok() {
			if time.Now().After(end) {
				late.Store(&what)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	f.each(func(n *written) { patiently("write "+n.name, func() bool { return f.write(n) }) })
	f.each(func(n *written) {
		for _, r := range seen {
			patiently(n.name+" converged at "+r.cfg.HTTP, func() bool {
				value, converged, err := f.held(r, n)
				return err == nil && converged && value == n.next
			})
		}
	})
	if what := late.Load(); what != nil {
		f.t.Fatalf("never: %s", *what)
	}
}

// gap is the longest time between two acknowledged writes.
type gap struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

func (g *gap) note() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.longest, g.last = max(g.longest, now.Sub(g.last)), now
}

// begin forgets what was before, and end returns the longest gap since.
func (g *gap) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last, g.longest = time.Now(), 0
}

func (g *gap) end() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.longest
}
