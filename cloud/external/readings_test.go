package external

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/external/mosquittotest"
	"gnomon/cloud/identity"
	"gnomon/cloud/readings"
	"gnomon/cloud/readings/readingstest"
	pebblereadings "gnomon/cloud/store/pebble/readings"
	collected "gnomon/schema/reading"
	"gnomon/shadow/wire"
)

// taking is a service of readings that a test answers for.
type taking chan taken

type taken struct {
	node  string
	batch bool
	body  string
	done  func(error)
}

func (s taking) Handle(_ context.Context, _ identity.Principal, t wire.Readings, batch bool, body []byte, done func(error)) {
	s <- taken{t.Thing, batch, string(body), done}
}

func (s taking) next(t *testing.T) taken {
	t.Helper()
	select {
	case got := <-s:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is handed over")
		return taken{}
	}
}

// launchTaking is launch for a Broker that takes readings.
func launchTaking(t *testing.T, cfg Config, s Shadows, r Readings) *run {
	t.Helper()
	return launchPrepared(t, cfg, s, func(b *Broker) { b.SetReadings(r) })
}

// Batches come once, to one of the replicas; answers to all of them; and what
// isn't dealt with comes again.
func TestReadings(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone=%v", alone), func(t *testing.T) {
			m := mosquittotest.Start(t)
			cfg := config(m, "one")
			cfg.Alone = alone
			cfg.Topics = map[bool]Topics{true: TopicsBoth, false: TopicsPlain}[alone]
			said := make(taking, 16)
			r := launchTaking(t, cfg, make(service, 16), said)
			d := connectDevice(t, m, "n1", "things/n1/readings/accepted")
			d.publish("things/n1/readings", "a")
			got := said.next(t)
			if got.node != "n1" || !got.batch || got.body != "a" {
				t.Fatalf("handed over %+v", got)
			}
			_ = r.session.Load().conn.Close() // before it is settled
			again := said.next(t)
			if again.body != "a" {
				t.Fatalf("again %+v", again)
			}
			again.done(nil)
			got.done(nil)
			r.Publish("things/n1/readings/accepted", []byte("{}"))
			d.expect("things/n1/readings/accepted {}")
			eventually(t, "ready again", func() bool { return r.Ready() == nil })
			d.publish("things/n1/read/answer", "b")
			if got := said.next(t); got.batch || got.body != "b" {
				t.Fatalf("handed over %+v", got)
			} else {
				got.done(nil)
			}
		})
	}
}

// Of two replicas one gets a batch, and both an answer.
func TestReadings_TwoReplicas(t *testing.T) {
	m := mosquittotest.Start(t)
	said := [2]taking{make(taking, 16), make(taking, 16)}
	for i, name := range []string{"one", "two"} {
		cfg := config(m, name)
		cfg.Topics = TopicsPlain
		launchTaking(t, cfg, make(service, 16), said[i])
	}
	d := connectDevice(t, m, "n1")
	const batches = 8
	for i := range batches {
		d.publish("things/n1/readings", fmt.Sprint(i))
	}
	d.publish("things/n1/read/answer", "answer")
	seen, answers := map[string]int{}, 0
	for range batches + 2 {
		var got taken
		select {
		case got = <-said[0]:
		case got = <-said[1]:
		case <-time.After(20 * time.Second):
			t.Fatalf("so far batches %v, %d answers", seen, answers)
		}
		if got.batch {
			seen[got.body]++
		} else {
			answers++
		}
		got.done(nil)
	}
	if len(seen) != batches || answers != 2 {
		t.Errorf("batches %v, %d answers; want %d, once each, and 2", seen, answers, batches)
	}
}

// A disk for readings that is slow holds up no shadow: batches that there is no room
// for are told to come again, and don't wait where requests of shadows do.
func TestReadings_HoldUpNoShadows(t *testing.T) {
	m := mosquittotest.Start(t)
	store, err := pebblereadings.Open(pebblereadings.Config{Dir: "d", FS: vfs.NewMem()}) // takes nothing before it runs
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(m, "one")
	cfg.Topics = TopicsPlain
	busy := make(chan struct{}, 4096)
	taken, err := readings.New(readings.Config{Sink: store, Store: store, Publisher: verdicts(func(topic string) {
		if strings.HasSuffix(topic, "/rejected") {
			busy <- struct{}{}
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	shadows := make(service, 64)
	launchTaking(t, cfg, shadows, taken)
	d := connectDevice(t, m, "device")
	at := collected.Milli(time.Now())
	b := &collected.Batch{ID: 1, Policy: "p", Version: 1, Items: []string{"V"}, Rows: []collected.Row{
		{Meter: "m", At: at, Arrived: at, Source: collected.Cycle, Values: []collected.Value{{State: collected.Good, Number: collected.Number{Mantissa: 1}}}},
	}}
	body, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 700 {
		d.publish(fmt.Sprintf("things/n%d/readings", i%100), string(body))
	}
	for i := range 64 { // of all lanes
		d.publish(fmt.Sprintf("things/m%d/shadow/get", i), fmt.Sprint(i))
	}
	for range 64 {
		select {
		case a := <-shadows:
			a.done(nil)
		case <-time.After(20 * time.Second):
			t.Fatal("requests of shadows wait for the disk of readings")
		}
	}
	select {
	case <-busy:
	case <-time.After(20 * time.Second):
		t.Error("no batch was told to come again")
	}
	readingstest.Start(t, store)
}

type verdicts func(topic string)

func (v verdicts) Publish(topic string, _ []byte) { v(topic) }
