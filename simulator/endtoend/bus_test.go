package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/simulator/cloudproc"
)

// line is a way to the cloud that can be cut.
type line struct {
	l  net.Listener
	to string

	mu    sync.Mutex
	up    bool
	conns []net.Conn
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &line{l: l, to: to, up: true}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run()
	}()
	t.Cleanup(func() {
		l.Close()
		w.set(false)
		<-done
	})
	return w
}

func (w *line) run() {
	var copying sync.WaitGroup
	defer copying.Wait()
	for {
		a, err := w.l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", w.to)
		w.mu.Lock()
		if err != nil || !w.up {
			a.Close()
			if err == nil {
				b.Close()
			}
			w.mu.Unlock()
			continue
		}
		w.conns = append(w.conns, a, b)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
			copying.Go(func() {
				_, _ = io.Copy(pair[0], pair[1]) // however it ends
				pair[0].Close()
				pair[1].Close()
			})
		}
	}
}

// set cuts the line, or mends it.
func (w *line) set(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = up
	if !up {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

// device is an unmodified MQTT client at a node's bus, which comes again when it
// loses its connection.
type device struct {
	t       *testing.T
	thing   string
	address string

	mu      sync.Mutex
	client  *paho.Client
	tokens  int
	answers map[string]chan answer
	heard   map[string]int // messages by leaf
	version int            // the highest that was seen
	back    []string       // versions that went back
}

type answer struct {
	leaf string
	body shadowBody
}

type shadowBody struct {
	State struct {
		Desired  map[string]any `json:"desired"`
		Reported map[string]any `json:"reported"`
		Delta    map[string]any `json:"delta"`
	} `json:"state"`
	Pending struct {
		Desired map[string]any `json:"desired"`
	} `json:"pending"`
	Version int    `json:"version"`
	Code    int    `json:"code"`
	Token   string `json:"clientToken"`
	Current struct {
		Version int `json:"version"`
	} `json:"current"`
}

func newDevice(t *testing.T, thing, address string) *device {
	d := &device{t: t, thing: thing, address: address, answers: map[string]chan answer{}, heard: map[string]int{}}
	t.Cleanup(d.leave)
	return d
}

func (d *device) base() string { return "$aws/things/" + d.thing + "/shadow/" }

func (d *device) leave() {
	if d.client != nil {
		_ = d.client.Disconnect(&paho.Disconnect{}) // it may be gone
		<-d.client.Done()
		d.client = nil
	}
}

// connected connects unless it is.
func (d *device) connected() bool {
	if d.client != nil {
		select {
		case <-d.client.Done():
			d.client = nil
		default:
			return true
		}
	}
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), 5*time.Second)
	defer cancel()
	c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){d.receive}})
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: d.thing, CleanStart: true, KeepAlive: 30}); err != nil {
		return false
	}
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: d.base() + "get/+", QoS: 1}, {Topic: d.base() + "update/#", QoS: 1},
	}}); err != nil {
		return false
	}
	d.client = c
	return true
}

func (d *device) receive(p paho.PublishReceived) (bool, error) {
	leaf := strings.TrimPrefix(p.Packet.Topic, d.base())
	var b shadowBody
	if err := json.Unmarshal(p.Packet.Payload, &b); err != nil {
		d.t.Errorf("%s: %v: %s", leaf, err, p.Packet.Payload)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard[leaf]++
	if leaf == "update/documents" {
		if b.Current.Version <= d.version {
			d.back = append(d.back, fmt.Sprintf("%d after %d", b.Current.Version, d.version))
		}
		d.version = b.Current.Version
	}
	if wait := d.answers[b.Token]; wait != nil && (strings.HasSuffix(leaf, "/accepted") || strings.HasSuffix(leaf, "/rejected")) {
		delete(d.answers, b.Token)
		wait <- answer{leaf, b}
	}
	return true, nil
}

// ask sends a request until it is answered, connecting again if need be.
func (d *device) ask(op, state string) answer {
	d.t.Helper()
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		if !d.connected() {
			time.Sleep(20 * time.Millisecond) // until the agent listens
			continue
		}
		d.mu.Lock()
		d.tokens++
		token := d.thing + strconv.Itoa(d.tokens)
		wait := make(chan answer, 1)
		d.answers[token] = wait
		d.mu.Unlock()
		body := `{"clientToken":"` + token + `"`
		if state != "" {
			body += `,"state":` + state
		}
		ctx, cancel := context.WithTimeout(d.t.Context(), 3*time.Second)
		_, err := d.client.Publish(ctx, &paho.Publish{Topic: d.base() + op, QoS: 1, Payload: []byte(body + "}")})
		if err == nil {
			select {
			case a := <-wait:
				cancel()
				return a
			case <-ctx.Done():
			case <-d.client.Done():
			}
		}
		cancel()
	}
	d.t.Fatalf("no answer to %s %s", op, state)
	return answer{}
}

// update must be accepted.
func (d *device) update(state string) int {
	d.t.Helper()
	a := d.ask("update", state)
	if a.leaf != "update/accepted" {
		d.t.Fatalf("%s: %s %d", state, a.leaf, a.body.Code)
	}
	return a.body.Version
}

func (d *device) get() shadowBody {
	d.t.Helper()
	return d.ask("get", "").body
}

// busRig is a node with a bus, and a line to the cloud.
type busRig struct {
	*edge
	c     *api
	line  *line
	bus   string
	thing string
}

func newBusRig(t *testing.T) *busRig {
	t.Helper()
	c := newCloud(t)
	w := newLine(t, c.cfg.MQTT)
	r := &busRig{edge: newEdge(t, w.l.Addr().String()), c: c, line: w}
	r.thing = "m-" + r.name
	var err error
	if r.bus, err = cloudproc.FreeAddress(); err != nil {
		t.Fatal(err)
	}
	r.args = []string{"--bus", r.bus}
	if code, text := c.do(http.MethodPut, "/v1/nodes/"+r.name, `{"node":{"devices":{"names":["`+r.thing+`"],"prefix":"m-"}}}`); code/100 != 2 {
		t.Fatalf("put node: %d %s", code, text)
	}
	r.start()
	return r
}

// shadow is the device's shadow in the cloud.
func (r *busRig) shadow() (b shadowBody) {
	r.t.Helper()
	code, text := r.c.do(http.MethodGet, "/things/"+r.thing+"/shadow", "")
	if code == http.StatusNotFound {
		return b
	}
	if err := json.Unmarshal(text, &b); err != nil {
		r.t.Fatalf("%d %s: %v", code, text, err)
	}
	return b
}

func (r *busRig) desire(state string) {
	r.t.Helper()
	if code, text := r.c.do(http.MethodPost, "/things/"+r.thing+"/shadow", `{"state":{"desired":`+state+`}}`); code != http.StatusOK {
		r.t.Fatalf("desire %s: %d %s", state, code, text)
	}
}

// With and without a cloud, over the agent's death and the line's, a device's
// shadow is there, and in the end the same on both sides.
func TestBus(t *testing.T) {
	t.Parallel()
	r := newBusRig(t)
	r.desire(`{"color":"red","power":1}`)
	d := newDevice(t, r.thing, r.bus)
	until(t, "the cloud's wish on the bus", func() bool { return d.get().State.Delta["color"] == "red" })
	until(t, "the node to say that it speaks for it", func() bool {
		code, text := r.c.do(http.MethodGet, "/v1/nodes/"+r.name, "")
		return code == http.StatusOK && bytes.Contains(text, []byte(`"converged":true`)) && bytes.Contains(text, []byte(`"prefix":"m-"`))
	})
	d.update(`{"reported":{"color":"red","power":1}}`)
	until(t, "the report in the cloud", func() bool { return r.shadow().State.Reported["color"] == "red" })

	// The cloud is away.
	r.line.set(false)
	d.update(`{"reported":{"color":"green"}}`)
	v := d.update(`{"desired":{"speed":5,"power":2}}`) // an application on the node
	if b := d.get(); b.Version != v || b.State.Delta["speed"] != 5.0 || b.Pending.Desired["speed"] != 5.0 {
		t.Errorf("without a cloud: %+v", b)
	}
	r.desire(`{"power":3}`) // and the cloud decides about the same
	r.kill()
	r.start()
	if b := d.get(); b.Version != v || b.State.Reported["color"] != "green" || b.State.Desired["speed"] != 5.0 {
		t.Errorf("after the agent's death: %+v", b)
	}
	if a := newDevice(t, "stranger", r.bus).ask("update", `{"reported":{"a":1}}`); a.leaf != "update/rejected" || a.body.Code != http.StatusForbidden {
		t.Errorf("a device that the node doesn't speak for: %+v", a)
	}

	// And back: nothing is lost, and the cloud's wish stands where both wrote.
	r.line.set(true)
	want := map[string]any{"color": "red", "power": 3.0, "speed": 5.0}
	until(t, "the cloud to have it all", func() bool {
		s := r.shadow().State
		return reflect.DeepEqual(s.Desired, want) && s.Reported["color"] == "green"
	})
	until(t, "the node to have it all", func() bool {
		b := d.get()
		return reflect.DeepEqual(b.State.Desired, want) && b.Pending.Desired == nil
	})
	r.await("nothing to be pending", func(s *status) bool { return s.Bus.Devices.Waiting == 0 })

	// A device by prefix that nobody knew.
	e := newDevice(t, "m-new-"+r.name, r.bus)
	if a := e.ask("get", ""); a.leaf != "get/rejected" || a.body.Code != http.StatusNotFound {
		t.Errorf("a shadow that isn't there: %+v", a)
	}
	e.update(`{"reported":{"first":true}}`)
	until(t, "it in the cloud", func() bool {
		code, text := r.c.do(http.MethodGet, "/things/"+e.thing+"/shadow", "")
		return code == http.StatusOK && bytes.Contains(text, []byte(`"first":true`))
	})
	for _, x := range []*device{d, e} {
		if x.mu.Lock(); len(x.back) > 0 {
			t.Errorf("versions went back: %v", x.back)
		}
		x.mu.Unlock()
	}
}

// The line is cut, the agent and the cloud are killed at random while both sides
// write. In the end they are of one mind, what was accepted on the bus is in the
// cloud unless the cloud wrote it, too, and no reader saw a version go back.
func TestBus_RandomCuts(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newBusRig(t)
	d := newDevice(t, r.thing, r.bus)
	until(t, "the bus to serve the device", func() bool { return d.ask("update", `{"reported":{"s":0}}`).leaf == "update/accepted" })
	reported, desired, theirs := map[string]any{}, map[string]any{}, map[string]bool{}
	for i := range 120 {
		member := string(rune('a' + random.IntN(6)))
		value := float64(i + 1)
		switch n := random.IntN(20); {
		case n < 8:
			d.update(fmt.Sprintf(`{"reported":{%q:%v}}`, member, value))
			reported[member] = value
		case n < 12:
			d.update(fmt.Sprintf(`{"desired":{%q:%v}}`, member, value))
			desired[member] = value
		case n < 15:
			r.desire(fmt.Sprintf(`{%q:%v}`, member, value))
			theirs[member] = true
		case n < 18:
			r.line.set(random.IntN(2) == 0)
		case n == 18:
			r.kill()
			r.start()
		case i%5 == 0:
			r.c.proc.Kill()
			r.c.start()
		}
	}
	r.line.set(true)
	until(t, "both to be of one mind", func() bool {
		here, there := d.get(), r.shadow()
		return reflect.DeepEqual(here.State, there.State) && here.Pending.Desired == nil
	})
	s := r.shadow().State
	for member, want := range reported {
		if s.Reported[member] != want {
			t.Errorf("reported %s = %v, and the cloud has %v", member, want, s.Reported[member])
		}
	}
	for member, want := range desired {
		if s.Desired[member] != want && !theirs[member] {
			t.Errorf("desired %s = %v on the node, and the cloud has %v", member, want, s.Desired[member])
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.back) > 0 {
		t.Errorf("versions went back: %v", d.back)
	}
}
