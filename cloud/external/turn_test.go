package external

import (
	"context"
	"fmt"
	"testing"
	"time"

	"gnomon/cloud/external/mosquittotest"
	"gnomon/cloud/identity"
	"gnomon/shadow/wire"
)

// named is a replica's service that says which replica it is.
type named struct {
	name string
	to   chan<- string
}

func (n named) Handle(_ context.Context, _ identity.Principal, _ wire.Topic, body []byte, done func(error)) {
	n.to <- n.name + " " + string(body)
	done(nil)
}

// Replicas get every request once: those without $aws/ are shared among them,
// the others, which mosquitto can't share, go to one.
func TestReplicasShare(t *testing.T) {
	m := mosquittotest.Start(t)
	to := make(chan string, 256)
	launch(t, config(m, "one"), named{"one", to})
	launch(t, config(m, "two"), named{"two", to})
	d := connectDevice(t, m, "device")
	for prefix, sharers := range map[string]int{"": 2, "$aws/": 1} {
		by, seen := map[string]int{}, map[string]bool{}
		const requests = 20
		for i := range requests {
			d.publish(fmt.Sprintf("%sthings/t%d/shadow/update", prefix, i), fmt.Sprint(i))
		}
		for range requests {
			var who, what string
			if _, err := fmt.Sscan(<-to, &who, &what); err != nil || seen[what] {
				t.Errorf("%s gets %s a second time (%v)", who, what, err)
			}
			by[who]++
			seen[what] = true
		}
		if len(by) != sharers {
			t.Errorf("%q: requests by replica: %v", prefix, by)
		}
	}
}

// The replica that serves what can't be shared ends, is cut off or fails: another
// one takes over, with the requests that were outstanding, in their order.
func TestTheTurnIsTaken(t *testing.T) {
	m := mosquittotest.Start(t)
	services := map[string]service{"one": make(service, 64), "two": make(service, 64)}
	runs := map[string]*run{}
	for name, s := range services {
		runs[name] = launch(t, config(m, name), s)
	}
	d := connectDevice(t, m, "device")
	settled := map[string]bool{}
	from := func(want string) (string, asked) {
		t.Helper()
		for {
			var a asked
			var who string
			select {
			case a = <-services["one"]:
				who = "one"
			case a = <-services["two"]:
				who = "two"
			case <-time.After(20 * time.Second):
				t.Fatalf("request %q doesn't come", want)
			}
			if settled[a.body] { // its acknowledgement was lost with a connection
				a.done(nil)
				continue
			}
			if a.body != want {
				t.Fatalf("request %q, want %q", a.body, want)
			}
			return who, a
		}
	}
	other := map[string]string{"one": "two", "two": "one"}

	// Its connections are cut, with requests outstanding.
	d.publish(update, "a")
	d.publish(update, "b")
	holder, _ := from("a")
	from("b")
	runs[holder].session.Load().conn.Close()
	for _, want := range []string{"a", "b"} {
		_, a := from(want)
		a.done(nil)
		settled[want] = true
	}

	// It ends, with a request that came too late for it.
	d.publish(update, "c")
	holder, c := from("c")
	go runs[holder].stop()
	eventually(t, "draining", runs[holder].draining.Load)
	d.publish(update, "d")
	c.done(nil)
	settled["c"] = true
	who, a := from("d")
	if who != other[holder] {
		t.Errorf("%s goes on after it was asked to end", holder)
	}
	a.done(nil)
	settled["d"] = true
	d.publish(update, "e")
	_, a = from("e")
	a.done(nil)
}

// The broker comes back without any memory: all is as before.
func TestBrokerRestarts(t *testing.T) {
	m := mosquittotest.StartForgetful(t)
	to := make(chan string, 256)
	r := launch(t, config(m, "one"), named{"one", to})
	for i := range 3 {
		m.Kill()
		eventually(t, "it is noticed", func() bool { return r.Ready() != nil })
		topic := wire.Topic{Thing: "t", Op: wire.OpUpdate}.Delta()
		r.Publish(topic, []byte(fmt.Sprint(i))) // waits; nobody has subscribed when it comes
		m.Again()
		eventually(t, "ready", func() bool { return r.Ready() == nil && r.queue.waiting() == 0 })
		d := connectDevice(t, m, "device", topic)
		r.Publish(topic, []byte("news"))
		d.expect(topic + " news")
		d.publish(update, fmt.Sprint(i))
		if got := <-to; got != fmt.Sprintf("one %d", i) {
			t.Errorf("got %s", got)
		}
	}
}

// The broker hangs and goes on: what waited is published, in order.
func TestBrokerHangs(t *testing.T) {
	m := mosquittotest.Start(t)
	cfg := config(m, "one")
	cfg.Alone = true
	r := launch(t, cfg, make(service, 1))
	d := connectDevice(t, m, "device", "news")
	m.Pause()
	for i := range 300 {
		r.Publish("news", []byte(fmt.Sprint(i)))
	}
	m.Resume()
	for i := range 300 {
		d.expect(fmt.Sprintf("news %d", i))
	}
}

// While the broker is away the newest messages are kept, and the others counted.
func TestQueueIsBounded(t *testing.T) {
	m := mosquittotest.Start(t)
	cfg := config(m, "one")
	cfg.Alone, cfg.Queue, cfg.QueueBytes = true, 10, 60
	r := launch(t, cfg, make(service, 1))
	keptDevice(t, m, "device", "news").leave() // the broker keeps its messages
	m.Stop()
	eventually(t, "it is noticed", func() bool { return r.Ready() != nil })
	for i := range 100 {
		r.Publish("news", []byte(fmt.Sprintf("%04d", i))) // 8 bytes with the topic
	}
	if n, waiting := count(t, r.metrics.dropped), r.queue.waiting(); n != 93 || waiting != 7 {
		t.Errorf("%d dropped, %d wait", n, waiting)
	}
	m.Again()
	eventually(t, "all is published", func() bool { return r.Ready() == nil && r.queue.waiting() == 0 })
	d := keptDevice(t, m, "device", "news")
	for i := 93; i < 100; i++ {
		d.expect(fmt.Sprintf("news %04d", i))
	}
}
