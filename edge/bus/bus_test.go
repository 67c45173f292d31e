package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service answers shadow requests as a test wants.
type service func(t wire.Topic, body []byte) error

func (f service) Request(_ context.Context, t wire.Topic, body []byte) error { return f(t, body) }

var accepting = service(func(wire.Topic, []byte) error { return nil })

func start(t *testing.T, s Shadows) (*Bus, string) {
	t.Helper()
	b, err := New(Config{Address: "127.0.0.1:0", Shadows: s})
	if err != nil {
		t.Fatal(err)
	}
	address, err := b.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the bus does not end")
		}
	})
	return b, address.String()
}

// client is an MQTT 5 client of a library, and what it has received.
type client struct {
	*paho.Client
	t   *testing.T
	got chan *paho.Publish
}

func connect(t *testing.T, address, id string, change func(*paho.Connect)) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, got: make(chan *paho.Publish, 1000)}
	c.Client = paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { c.got <- p.Packet; return true, nil },
	}})
	hello := &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 30}
	if change != nil {
		change(hello)
	}
	if _, err := c.Connect(t.Context(), hello); err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	t.Cleanup(func() {
		_ = c.Disconnect(&paho.Disconnect{}) // it may be gone
		<-c.Done()
	})
	return c
}

func (c *client) subscribe(filters ...string) {
	c.t.Helper()
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: 1})
	}
	if _, err := c.Subscribe(c.t.Context(), s); err != nil {
		c.t.Fatalf("subscribe: %v", err)
	}
}

func (c *client) say(topic, text string, retain bool) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	_, err := c.Publish(ctx, &paho.Publish{Topic: topic, Payload: []byte(text), QoS: 1, Retain: retain})
	return err
}

func (c *client) hear(topic string) string {
	c.t.Helper()
	select {
	case p := <-c.got:
		if p.Topic != topic {
			c.t.Fatalf("heard %s %s, want %s", p.Topic, p.Payload, topic)
		}
		return string(p.Payload)
	case <-time.After(10 * time.Second):
		c.t.Fatalf("nothing heard on %s", topic)
		return ""
	}
}

func TestMessagesAmongClients(t *testing.T) {
	_, address := start(t, accepting)
	a, b := connect(t, address, "a", nil), connect(t, address, "b", nil)
	b.subscribe("plant/+/state")
	if err := a.say("plant/7/state", "on", false); err != nil {
		t.Fatal(err)
	}
	if got := b.hear("plant/7/state"); got != "on" {
		t.Errorf("%q", got)
	}
}

// A request is acknowledged when the service has dealt with it, and delivered to
// nobody; what the service couldn't keep isn't acknowledged.
func TestRequests(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	broken := false
	b, address := start(t, service(func(t wire.Topic, body []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return errors.New("disk full")
		}
		seen = append(seen, t.Request()+" "+string(body))
		return nil
	}))
	spy := connect(t, address, "spy", nil)
	spy.subscribe("#", "$aws/#")
	device := connect(t, address, "device", nil)
	for _, topic := range []string{"$aws/things/d/shadow/update", "things/d/shadow/name/n/get"} {
		if err := device.say(topic, "{}", false); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	if got := strings.Join(seen, ","); got != "$aws/things/d/shadow/update {},things/d/shadow/name/n/get {}" {
		t.Errorf("served %s", got)
	}
	broken = true
	mu.Unlock()
	b.Publish("$aws/things/d/shadow/update/delta", []byte("x"))
	if got := spy.hear("$aws/things/d/shadow/update/delta"); got != "x" {
		t.Errorf("%q", got)
	}
	if err := device.say("$aws/things/d/shadow/update", "{}", false); err == nil {
		t.Error("acknowledged what isn't on disk")
	}
}

// Nobody but the service speaks as the service.
func TestReserved(t *testing.T) {
	b, address := start(t, accepting)
	spy := connect(t, address, "spy", nil)
	spy.subscribe("$aws/#", "things/#", "last")
	for i, topic := range []string{"$aws/things/d/shadow/update/delta", "$aws/other", "things/d/shadow/update/accepted"} {
		c := connect(t, address, fmt.Sprint("liar", i), nil)
		_ = c.say(topic, "{}", false) // refused, or the connection ends: both is right
	}
	for _, topic := range []string{"$aws/things/d/shadow/update/accepted", "$aws/things/d/shadow/update", "things/d/shadow/get/accepted"} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c := paho.NewClient(paho.ClientConfig{Conn: conn})
		if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "will", KeepAlive: 5, CleanStart: true,
			WillMessage: &paho.WillMessage{Topic: topic, Payload: []byte("{}")}}); err == nil {
			t.Errorf("a will on %s was taken", topic)
		}
		conn.Close()
		<-c.Done()
	}
	b.Publish("last", nil)
	spy.hear("last") // and nothing before it
}

func TestFiltersAreBounded(t *testing.T) {
	_, address := start(t, accepting)
	c := connect(t, address, "c", nil)
	for i := range maxFilters {
		c.subscribe(fmt.Sprint("t/", i))
	}
	c.subscribe("t/0") // again
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "t/more"}}}); err == nil {
		t.Error("one more was taken")
	}
}

func TestRetainedIsBounded(t *testing.T) {
	b, address := start(t, accepting)
	c := connect(t, address, "c", nil)
	for i := range maxRetained + 10 {
		if err := c.say(fmt.Sprint("r/", i), "x", true); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.say("r/0", strings.Repeat("x", maxRetainedBytes+1), true); err != nil {
		t.Fatal(err)
	}
	if n := b.Status().Counters["retained"]; n > maxRetained+8 { // mochi keeps a few of its own below $SYS
		t.Errorf("%d retained", n)
	}
	d := connect(t, address, "d", nil)
	d.subscribe("r/0")
	if got := d.hear("r/0"); got != "x" {
		t.Errorf("retained %q", got)
	}
}

// A client that doesn't stop talking is slowed down; its neighbour isn't.
func TestRateIsBounded(t *testing.T) {
	_, address := start(t, accepting)
	loud, calm := connect(t, address, "loud", nil), connect(t, address, "calm", nil)
	calm.subscribe("calm")
	began := time.Now()
	for range publishBurst + publishRate/2 {
		if err := loud.say("loud", "x", false); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("as many as it likes, within %s", took)
	}
	if err := calm.say("calm", "x", false); err != nil {
		t.Fatal(err)
	}
	calm.hear("calm")
}

// What breaks mochi, and what is too large, slow or out of order, costs its
// sender the connection and its neighbours nothing.
func TestHostilePackets(t *testing.T) {
	b, address := start(t, accepting)
	good := connect(t, address, "good", nil)
	good.subscribe("ok")
	hello := func(id string) []byte {
		body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 30, 0, 0, byte(len(id))}, id...)
		return append([]byte{0x10, byte(len(body))}, body...)
	}
	header := func(kind byte, n int) []byte { return binary.AppendUvarint([]byte{kind}, uint64(n)) }
	for name, packets := range map[string][]byte{
		"a SUBSCRIBE without options": append(hello("evil"), 0x82, 6, 0, 1, 0, 0, 1, 'a'),
		"a CONNECT too large":         header(0x10, maxConnect+1),
		"a packet too large":          append(hello("big"), header(0x30, maxPacket+1)...),
		"a length without end":        append(hello("long"), 0x30, 0x80, 0x80, 0x80, 0x80, 0x80),
		"no CONNECT first":            {0xc0, 0},
		"CONNECT twice":               append(hello("twice"), hello("twice")...),
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(packets); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, errTimeout(err)) {
			t.Errorf("%s: the connection lives on", name)
		}
		conn.Close()
	}
	if err := good.say("ok", "x", false); err != nil {
		t.Fatal(err)
	}
	good.hear("ok")
	// They are counted after they were hung up on.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s := b.Status()
		if s.Counters["malformed"] > 0 && s.Counters["refused"] >= 4 && s.Clients == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", s)
		}
	}
}

// errTimeout is err if it is a timeout, and nothing else otherwise.
func errTimeout(err error) error {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		return err
	}
	return errors.New("no timeout")
}

func TestOnlyOnTheNode(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:1883": true, "[::1]:1883": true, "127.9.9.9:1": true,
		"0.0.0.0:1883": false, ":1883": false, "192.168.1.1:1883": false, "localhost:1883": false, "1883": false,
	} {
		if err := Loopback(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := New(Config{Address: "0.0.0.0:0"}); err == nil {
		t.Error("it would listen everywhere")
	}
	if got := addressOf("lo"); got != "" {
		t.Errorf("loopback is no bridge: %s", got)
	}
}
