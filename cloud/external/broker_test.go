package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"gnomon/cloud/external/mosquittotest"
	"gnomon/cloud/identity"
	"gnomon/cloud/trace"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is a request that a test answers.
type asked struct {
	topic wire.Topic
	body  string
	done  func(error)
}

// service is a shadow service whose answers a test decides.
type service chan asked

func (s service) Handle(_ context.Context, _ identity.Principal, t wire.Topic, body []byte, done func(error)) {
	s <- asked{t, string(body), done}
}

// next returns the next request, which must have the wanted body.
func (s service) next(t *testing.T, want string) asked {
	t.Helper()
	select {
	case a := <-s:
		if a.body != want {
			t.Fatalf("request %q, want %q", a.body, want)
		}
		return a
	case <-time.After(20 * time.Second):
		t.Fatalf("request %q doesn't come", want)
		return asked{}
	}
}

// logger writes to the test's log, as long as it runs.
func logger(t *testing.T) *slog.Logger {
	l := &lines{t: t}
	t.Cleanup(l.stop)
	return slog.New(slog.NewTextHandler(l, nil))
}

type lines struct {
	mu sync.Mutex
	t  *testing.T
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func (l *lines) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t = nil
}

// run is one end of a broker at work.
type run struct {
	*Broker
	t    *testing.T
	stop func() // ends it and waits
}

func config(m *mosquittotest.Broker, client string) Config {
	return Config{URL: m.URL(), ClientID: client, BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond, Timeout: 5 * time.Second}
}

// launch runs a Broker, and waits until it is ready.
func launch(t *testing.T, cfg Config, s Shadows) *run {
	t.Helper()
	return launchPrepared(t, cfg, s, func(*Broker) {})
}

// launchPrepared is launch for a Broker that something is done to before it runs.
func launchPrepared(t *testing.T, cfg Config, s Shadows, prepare func(*Broker)) *run {
	t.Helper()
	cfg.Log = logger(t)
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.SetShadows(s)
	prepare(b)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	r := &run{Broker: b, t: t}
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the broker does not end")
		}
	})
	t.Cleanup(r.stop)
	eventually(t, "ready", func() bool { return b.Ready() == nil })
	return r
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func count(t *testing.T, c interface{ Write(*dto.Metric) error }) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// device is a client of the broker that is not ours.
type device struct {
	t      *testing.T
	client *paho.Client
	heard  chan string // topic and payload
	leave  func()
}

func connectDevice(t *testing.T, m *mosquittotest.Broker, id string, filters ...string) *device {
	t.Helper()
	return openDevice(t, m, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 60}, filters)
}

// keptDevice is one whose session the broker keeps.
func keptDevice(t *testing.T, m *mosquittotest.Broker, id string, filters ...string) *device {
	t.Helper()
	expiry := uint32(600)
	return openDevice(t, m, &paho.Connect{ClientID: id, KeepAlive: 60, Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry}}, filters)
}

func openDevice(t *testing.T, m *mosquittotest.Broker, hello *paho.Connect, filters []string) *device {
	t.Helper()
	nc, err := net.Dial("tcp", m.Address())
	if err != nil {
		t.Fatal(err)
	}
	d := greet(t, nc, hello)
	for _, f := range filters {
		d.subscribe(f)
	}
	return d
}

func greet(t *testing.T, nc net.Conn, hello *paho.Connect) *device {
	t.Helper()
	d := &device{t: t, heard: make(chan string, 4096)}
	d.client = paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			d.heard <- p.Packet.Topic + " " + string(p.Packet.Payload)
			return true, nil
		},
	}})
	if _, err := d.client.Connect(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	d.leave = sync.OnceFunc(func() { _ = d.client.Disconnect(&paho.Disconnect{}) })
	t.Cleanup(d.leave)
	return d
}

func (d *device) subscribe(filter string) {
	d.t.Helper()
	if _, err := d.client.Subscribe(d.t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) publish(topic, body string) {
	d.t.Helper()
	if _, err := d.client.Publish(d.t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(body)}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) expect(want string) {
	d.t.Helper()
	select {
	case got := <-d.heard:
		if got != want {
			d.t.Fatalf("the device hears %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		d.t.Fatalf("the device doesn't hear %q", want)
	}
}

const update = "$aws/things/t/shadow/update"

// answering answers every request on its topic.
type answering struct{ b *atomic.Pointer[Broker] }

func (a answering) Handle(_ context.Context, _ identity.Principal, t wire.Topic, body []byte, done func(error)) {
	a.b.Load().Publish(t.Accepted(), body)
	done(nil)
}

// Both spellings and all requests are served, alone and by one of several, and
// what is published is not taken for requests.
func TestServesBothSpellings(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone=%v", alone), func(t *testing.T) {
			m := mosquittotest.StartForgetful(t)
			cfg := config(m, "one")
			cfg.Alone = alone
			b := new(atomic.Pointer[Broker])
			r := launch(t, cfg, answering{b})
			b.Store(r.Broker)
			d := connectDevice(t, m, "device", "$aws/things/t/shadow/#", "things/t/shadow/#")
			for _, topic := range []wire.Topic{
				{Op: wire.OpUpdate}, {Op: wire.OpGet, Shadow: "s"}, {Op: wire.OpDelete}, {Op: wire.OpSync},
				{Op: wire.OpUpdate, Shadow: "app:x", Plain: true}, {Op: wire.OpGet, Plain: true}, {Op: wire.OpDelete, Shadow: "s", Plain: true}, {Op: wire.OpSync, Plain: true},
			} {
				topic.Thing = "t"
				d.publish(topic.Request(), "{}")
				d.expect(topic.Request() + " {}") // its own
				d.expect(topic.Accepted() + " {}")
			}
			d.publish("$aws/things/a.b/shadow/get", "{}") // no thing can have this name
			d.publish("$aws/things/t/shadow/update/delta", "{}")
			d.expect("$aws/things/t/shadow/update/delta {}")
			eventually(t, "the bad name is counted", func() bool { return count(t, r.metrics.refused.WithLabelValues("topic")) == 1 })
			if !r.Subscribed(update) || !r.Subscribed("things/t/shadow/get") {
				t.Error("not subscribed")
			}
		})
	}
}

// What isn't settled comes again over the next connection, in its order, and
// nothing behind it is acknowledged before it.
func TestAcknowledgedInOrderAfterTheCommit(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone=%v", alone), func(t *testing.T) {
			m := mosquittotest.Start(t)
			cfg := config(m, "one")
			cfg.Alone = alone
			cfg.Topics = map[bool]Topics{true: TopicsBoth, false: TopicsPlain}[alone]
			s := make(service, 16)
			r := launch(t, cfg, s)
			topic := map[bool]string{true: update, false: "things/t/shadow/update"}[alone]
			d := connectDevice(t, m, "device")
			for _, body := range []string{"a", "b", "c"} {
				d.publish(topic, body)
			}
			a := s.next(t, "a")
			s.next(t, "b").done(nil)
			s.next(t, "c").done(nil)
			r.session.Load().conn.Close()
			for _, body := range []string{"a", "b", "c"} {
				s.next(t, body).done(nil)
			}
			a.done(errors.New("too late to matter"))
			r.settled()
			r.session.Load().conn.Close()
			eventually(t, "it is back", func() bool { return count(t, r.metrics.connects) == 3 && r.Ready() == nil })
			d.publish(topic, "d")
			s.next(t, "d").done(nil)
		})
	}
}

// settled waits until the broker has been told of all that is done.
func (r *run) settled() {
	r.t.Helper()
	eventually(r.t, "all is acknowledged", func() bool {
		s := r.session.Load()
		if s == nil {
			return false
		}
		s.ledger.mu.Lock()
		defer s.ledger.mu.Unlock()
		return len(s.ledger.entries) == 0 && r.queue.empty(s.tail)
	})
	// What was written before this answer has been read by the broker.
	s := r.session.Load()
	if _, err := s.client.Publish(r.t.Context(), &paho.Publish{Topic: "fence", QoS: 1}); err != nil {
		r.t.Fatal(err)
	}
}

// A request that the store failed at is not acknowledged: it comes again, and
// QoS 0 requests cost nobody the connection.
func TestComesAgainWhenTheStoreFails(t *testing.T) {
	m := mosquittotest.Start(t)
	cfg := config(m, "one")
	cfg.Alone = true
	s := make(service, 16)
	r := launch(t, cfg, s)
	d := connectDevice(t, m, "device")
	if _, err := d.client.Publish(t.Context(), &paho.Publish{Topic: update, Payload: []byte("zero")}); err != nil {
		t.Fatal(err)
	}
	s.next(t, "zero").done(errors.New("disk full"))
	d.publish(update, "one")
	for range 3 {
		s.next(t, "one").done(errors.New("disk full"))
	}
	s.next(t, "one").done(nil)
	r.settled()
	if n := count(t, r.metrics.connects); n != 4 {
		t.Errorf("%d connections, want the first and one after each failure", n)
	}
}

// A damaged shadow costs those who ask for it an error, and nobody else the
// connection, again and again.
func TestDamagedShadowStopsNobody(t *testing.T) {
	m := mosquittotest.Start(t)
	cfg := config(m, "one")
	cfg.Alone = true
	s := make(service, 16)
	r := launch(t, cfg, s)
	d := connectDevice(t, m, "device")
	d.publish(update, "damaged")
	s.next(t, "damaged").done(fmt.Errorf("shadow of t: %w", shadow.ErrCorrupt))
	d.publish(update, "next")
	s.next(t, "next").done(nil)
	r.settled()
	if n := count(t, r.metrics.connects); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// tracing tells by which door and under which trace requests come.
type tracing chan trace.Origin

func (s tracing) Handle(ctx context.Context, _ identity.Principal, _ wire.Topic, _ []byte, done func(error)) {
	s <- trace.From(ctx)
	done(nil)
}

// A request's trace is taken from its user property, if it is one.
func TestTraceOfRequests(t *testing.T) {
	m := mosquittotest.StartForgetful(t)
	cfg := config(m, "one")
	cfg.Alone = true
	s := make(tracing, 4)
	launch(t, cfg, s)
	d := connectDevice(t, m, "device")
	parent := trace.NewParent()
	for sent, want := range map[string]string{parent: parent, "nonsense": ""} {
		p := &paho.Publish{Topic: update, QoS: 1, Properties: new(paho.PublishProperties)}
		p.Properties.User.Add(wire.TraceProperty, sent)
		if _, err := d.client.Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if got := <-s; got.Parent != want {
			t.Errorf("%s: %+v", sent, got)
		}
	}
}

// A slow request holds up those of its own thing and no others.
func TestThingsDontWaitForEachOther(t *testing.T) {
	m := mosquittotest.StartForgetful(t)
	cfg := config(m, "one")
	cfg.Alone = true
	entered := make(chan string, 64)
	release := make(chan struct{})
	launch(t, cfg, blocking{entered, release})
	d := connectDevice(t, m, "device")
	d.publish(update, "slow")
	d.publish(update, "after it")
	for i := range 40 { // some share the lane of the slow one, most don't
		d.publish(fmt.Sprintf("$aws/things/t%d/shadow/update", i), "other")
	}
	got := map[string]int{}
	eventually(t, "others go on", func() bool {
		select {
		case body := <-entered:
			got[body]++
		default:
		}
		return got["other"] >= 20
	})
	if got["slow"] != 1 || got["after it"] != 0 {
		t.Errorf("begun: %v", got)
	}
	close(release)
	eventually(t, "all go on", func() bool {
		select {
		case body := <-entered:
			got[body]++
		default:
		}
		return got["other"] == 40 && got["after it"] == 1
	})
}

// blocking keeps the goroutine that hands it what is "slow".
type blocking struct {
	entered chan string
	release chan struct{}
}

func (s blocking) Handle(_ context.Context, _ identity.Principal, _ wire.Topic, body []byte, done func(error)) {
	s.entered <- string(body)
	if string(body) == "slow" {
		<-s.release
	}
	done(nil)
}

// No more requests are under way than allowed; the broker holds the others.
func TestInFlightIsBounded(t *testing.T) {
	m := mosquittotest.Start(t)
	cfg := config(m, "one")
	cfg.Alone, cfg.InFlight = true, 3
	s := make(service, 64)
	r := launch(t, cfg, s)
	d := connectDevice(t, m, "device")
	for i := range 10 {
		d.publish(update, fmt.Sprint(i))
	}
	var open []asked
	for i := range 3 {
		open = append(open, s.next(t, fmt.Sprint(i)))
	}
	r.fence()
	if len(s) != 0 {
		t.Errorf("%d more requests than may be under way", len(s))
	}
	for i := 3; i < 10; i++ {
		open[i-3].done(nil)
		open = append(open, s.next(t, fmt.Sprint(i)))
	}
	for _, a := range open[7:] {
		a.done(nil)
	}
	r.settled()
}

// fence waits until the broker has answered, and with it sent what it could send
// before.
func (r *run) fence() {
	r.t.Helper()
	if _, err := r.session.Load().client.Publish(r.t.Context(), &paho.Publish{Topic: "fence", QoS: 1}); err != nil {
		r.t.Fatal(err)
	}
}

// What is under way when the cloud is asked to end is finished and acknowledged;
// what comes later waits at the broker for the next start.
func TestEndsWithoutLosingARequest(t *testing.T) {
	m := mosquittotest.Start(t)
	cfg := config(m, "one")
	cfg.Alone = true
	s := make(service, 16)
	r := launch(t, cfg, s)
	d := connectDevice(t, m, "device", "$aws/things/t/shadow/update/accepted")
	d.publish(update, "under way")
	a := s.next(t, "under way")
	ended := make(chan struct{})
	go func() { r.stop(); close(ended) }()
	eventually(t, "draining", r.draining.Load)
	d.publish(update, "later")
	r.Publish(a.topic.Accepted(), []byte("yes"))
	a.done(nil)
	<-ended
	d.expect("$aws/things/t/shadow/update/accepted yes")
	d.publish(update, "while away")
	again := launch(t, cfg, s)
	s.next(t, "later").done(nil)
	s.next(t, "while away").done(nil)
	again.settled()
}
