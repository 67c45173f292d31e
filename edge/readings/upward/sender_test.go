package upward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/collect"
	"gnomon/edge/link"
	"gnomon/edge/readings"
	"gnomon/schema/reading"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var topics = wire.Readings{Thing: "n1"}

// node is a sender on a store on a real disk.
type node struct {
	t      *testing.T
	store  *readings.Store
	sender *Sender
	reader *Reader
	nudged chan struct{}
	rate   int
	stop   func()
}

func start(t *testing.T, dir string, rate int, meters Meters) *node {
	t.Helper()
	store := readings.Open(readings.Config{Dir: dir, Terms: func(string) readings.Terms {
		return readings.Terms{Batch: 50, MaxDelay: 10 * time.Second, Keep: 24 * time.Hour}
	}})
	n := &node{t: t, store: store, nudged: make(chan struct{}, 1), rate: rate, reader: NewReader(meters, store)}
	n.sender = New(Config{Node: "n1", Epoch: 3, Store: store, Changed: store.Changed(), Reader: n.reader, Rate: func() int { return n.rate },
		Nudge: func() {
			select {
			case n.nudged <- struct{}{}:
			default:
			}
		}})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = n.sender.Run(ctx) })
	running.Go(func() { _ = n.reader.Run(ctx) })
	n.stop = func() {
		cancel()
		running.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	return n
}

// put puts a slot of some meters, whose values are told by n.
func (n *node) put(slot, meters int) {
	n.t.Helper()
	rows := collect.Rows{Policy: "p", Version: 1, Items: []string{"V", "E"}}
	at := time.Date(2026, 11, 21, 0, 15*slot, 0, 0, time.UTC)
	for m := range meters {
		v := reading.Value{State: reading.Good, Number: reading.Number{Mantissa: int64(10*(1000*slot+m) + 1)}}
		rows.Rows = append(rows.Rows, reading.Row{Meter: fmt.Sprintf("m%03d", m), At: at, Arrived: at, Source: reading.Cycle, Values: []reading.Value{v, v}})
	}
	if err := n.store.Put(rows); err != nil {
		n.t.Fatal(err)
	}
}

// cloud is the other end: it keeps each value once.
type cloud struct {
	t      *testing.T
	values map[string]reading.Number
	bytes  int
	doubly int
}

func newCloud(t *testing.T) *cloud { return &cloud{t: t, values: map[string]reading.Number{}} }

func (c *cloud) take(m *link.Message) *reading.Batch {
	c.t.Helper()
	if m.Topic != topics.Batch() {
		c.t.Fatalf("a message on %s", m.Topic)
	}
	c.bytes += len(m.Topic) + len(m.Payload)
	b, err := reading.Decode(m.Payload)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range b.Rows {
		for i, v := range r.Values {
			key := fmt.Sprint(r.Meter, r.At, b.Items[i])
			if had, there := c.values[key]; there {
				c.doubly++
				if had != v.Number {
					c.t.Fatalf("%s was %v and is %v", key, had, v.Number)
				}
			}
			c.values[key] = v.Number
		}
	}
	return b
}

func accept(id uint64) []byte { return reading.Verdict{ID: id}.Append(nil) }

func reject(id uint64, code int) []byte {
	return reading.Verdict{ID: id, Code: code, Message: "no"}.Append(nil)
}

// next is the next message that is to go out, within some time.
func (n *node) next(within time.Duration) *link.Message {
	deadline := time.After(within)
	for {
		if m := n.sender.Send(); m != nil {
			return m
		}
		select {
		case <-n.nudged:
		case <-deadline:
			return nil
		}
	}
}

// Batches and answers are lost, connections too, and the agent is restarted, at
// random: in the end the cloud has every value.
func TestSender_NothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(5, 5))
		dir, c := t.TempDir(), newCloud(t)
		n := start(t, dir, 0, nil)
		n.sender.Online(true)
		const slots, meters = 40, 30
		for slot := range slots {
			n.put(slot, meters)
			for range random.IntN(4) {
				m := n.next(time.Duration(random.IntN(30)) * time.Second)
				if m == nil {
					break
				}
				switch random.IntN(6) {
				case 0: // lost on the way
				case 1: // the answer is
					c.take(m)
				case 2:
					c.take(m)
					n.sender.Online(false)
					time.Sleep(time.Duration(random.IntN(90)) * time.Second)
					n.sender.Online(true)
				case 3:
					c.take(m)
					n.stop()
					n = start(t, dir, 0, nil)
					n.sender.Online(true)
				default:
					n.sender.Receive(topics.Accepted(), accept(c.take(m).ID))
					n.sender.Receive(topics.Accepted(), accept(c.take(m).ID)) // doubled
				}
			}
		}
		for m := n.next(time.Hour); m != nil; m = n.next(time.Hour) {
			n.sender.Receive(topics.Accepted(), accept(c.take(m).ID))
			synctest.Wait()
		}
		if len(c.values) != slots*meters*2 {
			t.Errorf("the cloud has %d values of %d", len(c.values), slots*meters*2)
		}
		if s := n.store.Status(); s.Unsent != 0 || s.Points != slots*meters*2 {
			t.Errorf("all is told, and the store says %+v", s)
		}
		t.Logf("%d values came again", c.doubly)
		n.stop()
	})
}

// A few batches are on their way at a time, fresh rows wait for others to travel
// with, and no more bytes go out than the budget allows.
func TestSender_Budget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		n := start(t, t.TempDir(), 500, nil)
		n.sender.Online(true)
		n.put(0, 5)
		if m := n.next(9 * time.Second); m != nil {
			t.Fatal("few rows are sent before they have waited")
		}
		if m := n.next(2 * time.Second); m == nil {
			t.Fatal("rows that have waited for as long as they may aren't sent")
		} else {
			n.sender.Receive(topics.Accepted(), accept(c.take(m).ID))
		}
		for slot := range 400 {
			n.put(1+slot, 30)
		}
		began := time.Now()
		for time.Since(began) < 20*time.Second {
			m := n.next(5 * time.Second)
			if m == nil {
				t.Fatal("the budget stops everything")
			}
			n.sender.Receive(topics.Accepted(), accept(c.take(m).ID))
			synctest.Wait()
		}
		took := time.Since(began).Seconds()
		if most := int(500*(took+burst.Seconds())) + 4096; c.bytes > most || c.bytes < int(300*took) {
			t.Errorf("%d bytes in %.0f s at 500 bytes per second", c.bytes, took)
		}
		n.rate = 0
		flying := 0
		for m := n.next(time.Minute); m != nil; m = n.next(time.Second) {
			flying++
		}
		if flying != maxFlights {
			t.Errorf("%d batches are on their way, unanswered, and %d may be", flying, maxFlights)
		}
		n.stop()
	})
}

// Of what the cloud refuses for good only the part that it can't take is given up;
// what it refuses for now is sent again.
func TestSender_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		n := start(t, t.TempDir(), 0, nil)
		n.sender.Online(true)
		for slot := range 4 {
			n.put(slot, 5)
		}
		m := n.next(time.Minute)
		n.sender.Receive(topics.Rejected(), reject(c.take(m).ID, 503))
		poison := time.Date(2026, 11, 21, 0, 30, 0, 0, time.UTC)
		for m = n.next(time.Hour); m != nil; m = n.next(time.Hour) {
			b := c.take(m)
			bad := false
			for _, r := range b.Rows {
				bad = bad || r.At.Equal(poison)
			}
			if bad {
				n.sender.Receive(topics.Rejected(), reject(b.ID, 400))
			} else {
				n.sender.Receive(topics.Accepted(), accept(b.ID))
			}
			synctest.Wait()
		}
		s := n.store.Status()
		if s.Refused != 10 || s.Unsent != 0 || s.Refusal == nil || s.Refusal.Code != 400 || s.Refusal.Policy != "p" {
			t.Errorf("one frame of 10 points is refused, and %+v, %+v", s, s.Refusal)
		}
		if st := n.sender.Status(); st.Rejected < 3 || st.Accepted == 0 {
			t.Errorf("%+v", st)
		}
		n.stop()
	})
}

// meters is a line with one meter, which answers when it is let.
type meters struct {
	let chan error
}

func (m *meters) Read(ctx context.Context, policy, meter string) (map[string]collect.Reading, error) {
	if policy != "p" || meter != "m1" {
		return nil, collect.ErrUnknown
	}
	at := time.Now()
	select {
	case err := <-m.let:
		all := map[string]collect.Reading{
			"V": {Value: shadow.Float(220.5), At: at, Quality: collect.Good},
			"E": {Value: shadow.Int(7), At: at.Add(-time.Hour), Quality: collect.Stale, Reason: "timeout"},
		}
		return all, err
	case <-ctx.Done():
		return map[string]collect.Reading{"V": {At: at, Quality: collect.Missing, Reason: "overrun"}}, ctx.Err()
	}
}

func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &meters{let: make(chan error)}
		n := start(t, t.TempDir(), 0, line)
		n.sender.Online(true)
		synctest.Wait() // until the reader runs
		let := func(err error) {
			t.Helper()
			select {
			case line.let <- err:
			case <-time.After(time.Hour):
				t.Fatal("the meter isn't asked")
			}
		}
		ask := func(r reading.Read) { n.sender.Receive(topics.Read(), r.Append(nil)) }
		answer := func() reading.Answer {
			t.Helper()
			m := n.next(time.Minute)
			if m == nil || m.Topic != topics.Answer() {
				t.Fatalf("no answer: %+v", m)
			}
			a, err := reading.ParseAnswer(m.Payload)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		refused := func(code string) {
			t.Helper()
			if a := answer(); a.Error == nil || a.Error.Code != code {
				t.Fatalf("answer %+v, want %s", a, code)
			}
		}
		live := reading.Read{ID: "r1", Policy: "p", Meter: "m1", Live: true, Deadline: 5000}
		ask(live)
		let(nil)
		volt := reading.Number{Mantissa: 2205, Exponent: -1}
		if a := answer(); a.ID != "r1" || a.Error != nil || *a.Values["V"].Value != volt || a.Values["E"].Value != nil || a.Values["E"].Reason != "timeout" {
			t.Fatalf("answer %+v", a)
		}
		ask(reading.Read{ID: "r2", Policy: "p", Meter: "m2", Live: true, Deadline: 5000})
		refused(reading.RefusedUnknown)
		ask(reading.Read{ID: "r3", Policy: "p", Meter: "m1", Deadline: 5000})
		refused(reading.RefusedNone)
		ask(reading.Read{ID: "r4", Policy: "p", Meter: "m1"})
		refused(reading.RefusedInvalid)
		n.sender.Receive(topics.Read(), []byte("{"))
		ask(reading.Read{ID: "r5", Policy: "p", Meter: "m1", Items: []string{"X"}, Live: true, Deadline: 5000})
		let(nil)
		refused(reading.RefusedUnknown)
		began := time.Now()
		for i := range MaxReads {
			ask(reading.Read{ID: fmt.Sprint("s", i), Policy: "p", Meter: "m1", Live: true, Deadline: 5000})
		}
		ask(live)
		refused(reading.RefusedBusy)
		for range MaxReads {
			refused(reading.RefusedLate)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the deadline of 5 s took %v", took)
		}
		ask(live)
		let(errors.New("broken"))
		refused(reading.RefusedFailed)
		n.put(0, 3)
		n.put(1, 3)
		ask(reading.Read{ID: "r6", Policy: "p", Meter: "m001", Items: []string{"V"}, Deadline: 5000})
		if a := answer(); a.Error != nil || len(a.Values) != 1 || a.Values["V"].Value.Mantissa != 10011 {
			t.Fatalf("answer %+v", a)
		}
		n.sender.Online(false)
		ask(live)
		let(nil)
		n.stop() // and nothing hangs
	})
}
