package replicas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"gnomon/cloud/store/redis/redistest"
	"gnomon/simulator/cloudapi"
	"gnomon/simulator/mqtt"
)

// client is an MQTT client that keeps what it receives.
type client struct {
	*mqtt.Conn
	mu    sync.Mutex
	got   map[string][]string // payloads by topic
	ended error
	done  chan struct{}
}

func connect(t *testing.T, r *replica, id string, filters ...string) *client {
	t.Helper()
	c, err := tryConnect(t, r, id, filters...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tryConnect is connect for whoever may be sent away again.
func tryConnect(t *testing.T, r *replica, id string, filters ...string) (*client, error) {
	nc, err := net.Dial("tcp", r.door)
	if err != nil {
		return nil, err
	}
	conn, err := mqtt.Connect(t.Context(), nc, mqtt.Options{ClientID: id})
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, got: map[string][]string{}, done: make(chan struct{})}
	if _, err := conn.Subscribe(1, filters...); err != nil {
		return nil, err
	}
	if p, err := conn.Next(); err != nil || p.Type != mqtt.SUBACK {
		return nil, fmt.Errorf("%+v in place of SUBACK: %w", p, err)
	}
	go func() {
		defer close(c.done)
		for {
			p, err := conn.Next()
			c.mu.Lock()
			if err != nil {
				c.ended = err
				c.mu.Unlock()
				return
			}
			if p.Type == mqtt.PUBLISH {
				c.got[p.Topic] = append(c.got[p.Topic], string(p.Payload))
			}
			c.mu.Unlock()
			_ = c.Ack(p) // a connection that broke says so at Next
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-c.done })
	return c, nil
}

func (c *client) on(topic string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got[topic])
}

// What is written through any replica reaches the clients of all, each message
// once and in order, and the watchers of all.
func TestDelivery(t *testing.T) {
	all := start(t, 3, redistest.Start(t).URL("g"))
	const prefix = "$aws/things/t/shadow/update/"
	var clients []*client
	var events [3]events
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	for i, r := range all {
		clients = append(clients, connect(t, r, fmt.Sprint("client", i), prefix+"#", "$aws/things/t/shadow/desired", "things/t/shadow/update/delta"))
		open := make(chan struct{})
		watching.Go(func() {
			if _, err := r.api.Events(ctx, "", func() { close(open) }, events[i].see); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
		<-open
	}
	const n = 150
	for i := range n {
		if a, err := all[i%3].api.UpdateShadow(t.Context(), "t", "", fmt.Appendf(nil, `{"state":{"desired":{"i":%d}}}`, i)); err != nil || a.Version != uint64(i+1) {
			t.Fatalf("update %d: %+v, %v", i, a, err)
		}
	}
	for i, c := range clients {
		for _, topic := range []string{prefix + "accepted", prefix + "documents", prefix + "delta", "$aws/things/t/shadow/desired", "things/t/shadow/update/delta"} {
			until(t, fmt.Sprintf("%d messages on %s at replica %d", n, topic, i), func() bool { return len(c.on(topic)) >= n })
		}
		until(t, "all events", func() bool { return len(events[i].versions()) >= n })
	}
	time.Sleep(200 * time.Millisecond) // for what should not come
	for i, c := range clients {
		for topic, payloads := range c.got {
			if len(payloads) != n {
				t.Errorf("replica %d: %d messages on %s", i, len(payloads), topic)
			}
			versions := map[uint64]bool{}
			for _, text := range payloads {
				var m struct {
					Version uint64
					Current struct{ Version uint64 }
				}
				if err := json.Unmarshal([]byte(text), &m); err != nil {
					t.Fatal(err)
				}
				versions[max(m.Version, m.Current.Version)] = true
			}
			if len(versions) != n {
				t.Errorf("replica %d: %d versions on %s", i, len(versions), topic)
			}
		}
		got := events[i].versions()
		slices.Sort(got)
		if len(slices.Compact(got)) != n || len(events[i].versions()) != n {
			t.Errorf("replica %d: %d events of %d versions", i, len(events[i].versions()), len(slices.Compact(got)))
		}
	}
}

// events collects the versions that a watcher hears of.
type events struct {
	mu   sync.Mutex
	list []uint64
}

func (e *events) see(v cloudapi.Event) {
	if v.Thing == "" {
		return // the stream's own
	}
	e.mu.Lock()
	e.list = append(e.list, v.Version)
	e.mu.Unlock()
}

func (e *events) versions() []uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// A client that connects to another replica loses its session at the first.
func TestTakeOver(t *testing.T) {
	all := start(t, 2, redistest.Start(t).URL("g"))
	const topic = "$aws/things/t/shadow/update/accepted"
	// Replicas serve a moment before they hear each other.
	for i, name := range []string{"probe-0", "probe-1"} {
		until(t, "the replicas to hear each other", func() bool {
			old, err := tryConnect(t, all[i], name, topic)
			if err == nil {
				_, err = tryConnect(t, all[1-i], name, topic)
			}
			if err != nil { // one has heard of the other too late
				return false
			}
			select {
			case <-old.done:
				return true
			case <-time.After(300 * time.Millisecond):
				return false
			}
		})
	}
	before := connect(t, all[0], "roamer", topic)
	for round := range 4 {
		now := connect(t, all[(round+1)%2], "roamer", topic)
		select {
		case <-before.done:
		case <-time.After(10 * time.Second):
			t.Fatal("the session at the other replica goes on")
		}
		var refused *mqtt.RefusedError
		if !errors.As(before.ended, &refused) || refused.Reason != 0x8e {
			t.Errorf("ended with %v", before.ended)
		}
		if _, err := all[0].api.UpdateShadow(t.Context(), "t", "", []byte(`{"state":{"desired":{"a":1}}}`)); err != nil {
			t.Fatal(err)
		}
		until(t, "the message", func() bool { return len(now.on(topic)) == 1 })
		select {
		case <-now.done:
			t.Fatalf("the new session ended: %v", now.ended)
		case <-time.After(50 * time.Millisecond):
		}
		before = now
	}
}

// Writers at three processes change one shadow: versions rise by one, and what
// was acknowledged is there.
func TestVersions(t *testing.T) {
	all := start(t, 3, redistest.Start(t).URL("g"))
	const clients, writes = 12, 60
	var mu sync.Mutex
	seen := map[uint64]int{}
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for i := range writes {
				a, err := all[c%3].api.UpdateShadow(t.Context(), "t", "s", fmt.Appendf(nil, `{"state":{"reported":{"c%d":%d}}}`, c, i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[a.Version]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for v := range uint64(clients * writes) {
		if seen[v+1] != 1 {
			t.Errorf("version %d was given %d times", v+1, seen[v+1])
		}
	}
	for i, r := range all {
		d, err := r.api.GetShadow(t.Context(), "t", "s")
		if err != nil {
			t.Fatal(err)
		}
		var reported map[string]int
		if err := json.Unmarshal(d.State.Reported, &reported); err != nil || d.Version != clients*writes {
			t.Errorf("replica %d: version %d, %v", i, d.Version, err)
		}
		for c := range clients {
			if got := reported[fmt.Sprint("c", c)]; got != writes-1 {
				t.Errorf("replica %d: c%d is %d", i, c, got)
			}
		}
	}
}
