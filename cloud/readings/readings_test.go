package readings_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"gnomon/cloud/history"
	"gnomon/cloud/identity"
	"gnomon/cloud/readings"
	"gnomon/cloud/readings/readingstest"
	"gnomon/cloud/store"
	pebblereadings "gnomon/cloud/store/pebble/readings"
	"gnomon/schema/reading"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spoken is what was published, as topic and payload.
type spoken struct {
	mu   sync.Mutex
	said []string
	read func(topic string, payload []byte) // called with every message
}

func (p *spoken) Publish(topic string, payload []byte) {
	p.mu.Lock()
	p.said = append(p.said, topic+" "+string(payload))
	p.mu.Unlock()
	if p.read != nil {
		p.read(topic, payload)
	}
}

func (p *spoken) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := p.said
	p.said = nil
	return said
}

// past is what was desired, with its history.
type past map[store.Key]struct {
	now *shadow.Document
	log *shadow.Document
}

func (p past) History(_ context.Context, _ identity.Principal, key store.Key) (*history.Log, *shadow.Document, error) {
	d, ok := p[key]
	if !ok {
		return nil, nil, wire.NotFound(key.Thing, key.Shadow)
	}
	log, err := history.Read(d.log, d.now)
	return log, d.now, err
}

// write writes a version of what is desired of a policy; "" deletes it.
func (p past) write(t testing.TB, of readings.Policy, at time.Time, desired string) {
	t.Helper()
	key := store.Key{Thing: of.Node, Shadow: "collect:" + of.Name}
	d := p[key]
	next := &shadow.Document{Version: 1, Timestamp: at.Unix()}
	if d.now != nil {
		next.Version = d.now.Version + 1
	}
	next.DesiredVersion = next.Version
	var patch *shadow.Value
	if desired == "" {
		next.Deleted = true
	} else {
		v, err := shadow.Parse([]byte(desired), shadow.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		next.Desired, patch = v, v
	}
	log, err := history.Next(d.log, history.Write{Previous: d.now, Next: next, Patch: patch, By: "test"}, history.Bounds{Versions: 10, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	d.now, d.log = next, log
	p[key] = d
}

// bench is a service on a real store, with a clock of the test's own.
type bench struct {
	*readings.Service
	t     testing.TB
	now   time.Time
	said  *spoken
	past  past
	store *pebblereadings.Store
	batch uint64
}

var day = time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)

func start(t testing.TB, change func(*readings.Config)) *bench {
	t.Helper()
	s, err := pebblereadings.Open(pebblereadings.Config{Dir: "d", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	readingstest.Start(t, s)
	b := &bench{t: t, now: day.Add(36 * time.Hour), said: &spoken{}, past: past{}, store: s}
	cfg := readings.Config{Sink: s, Store: s, Publisher: b.said, Past: b.past, Now: func() time.Time { return b.now }}
	if change != nil {
		change(&cfg)
	}
	if b.Service, err = readings.New(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

func good(mantissa int64) reading.Value {
	return reading.Value{State: reading.Good, Number: reading.Number{Mantissa: mantissa*10 + 1, Exponent: -1}}
}

func missing(reason string) reading.Value {
	return reading.Value{State: reading.Missing, Reason: reason}
}

// tell has a node publish a batch, and returns what is answered.
func (b *bench) tell(node, policy string, items []string, rows ...reading.Row) string {
	b.t.Helper()
	b.batch++
	batch := &reading.Batch{ID: b.batch, Policy: policy, Version: 1, Items: items, Rows: rows}
	batch.Sort()
	body, err := batch.Append(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.publish(identity.Principal{Kind: identity.Thing, Name: node}, node, body)
}

func (b *bench) publish(p identity.Principal, node string, body []byte) string {
	b.t.Helper()
	done := make(chan error, 1)
	b.Handle(context.Background(), p, wire.Readings{Thing: node}, true, body, func(err error) { done <- err })
	if err := <-done; err != nil {
		b.t.Fatal(err)
	}
	return strings.Join(b.said.take(), "\n")
}

func row(meter string, at time.Time, source reading.Source, after time.Duration, values ...reading.Value) reading.Row {
	return reading.Row{Meter: meter, At: at, Arrived: at.Add(after), Source: source, Values: values}
}

// all is everything of a policy, a value in a line.
func (b *bench) all(q readings.Query) (lines []string) {
	b.t.Helper()
	if q.From.IsZero() {
		q.From, q.To = day.AddDate(0, 0, -30), day.AddDate(0, 0, 30)
	}
	err := b.Walk(context.Background(), identity.LocalOperator, q, func(of readings.Policy, r *readings.Row) bool {
		for i, v := range r.Values {
			if v.State != reading.Absent {
				lines = append(lines, fmt.Sprint(of.Node, " ", of.Name, " ", r.Meter, " ", time.UnixMilli(r.At).UTC().Format("02T15:04"), " ", r.Items[i], " ", v.Number, v.Reason, " ", v.Source))
			}
		}
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return lines
}

func TestHandle(t *testing.T) {
	b := start(t, nil)
	at := day.Add(15 * time.Minute)
	said := b.tell("n1", "curve", []string{"V", "E"}, row("m1", at, reading.Cycle, time.Second, good(230), missing("timeout")))
	if said != `things/n1/readings/accepted {"id":1}` {
		t.Fatalf("answered %q", said)
	}
	b.tell("n1", "curve", []string{"E"}, row("m1", at, reading.BackFill, time.Hour, good(77)))
	b.tell("n1", "curve", []string{"V"}, row("m1", at, reading.Demand, time.Hour, good(999)))
	want := []string{"n1 curve m1 29T00:15 E 77.1 backfill", "n1 curve m1 29T00:15 V 230.1 cycle"}
	if got := b.all(readings.Query{Policies: []readings.Policy{{Node: "n1", Name: "curve"}}}); !slices.Equal(got, want) {
		t.Errorf("stored is %q, want %q", got, want)
	}
	// What is bad leaves nothing behind, and is named with its number.
	bad := &reading.Batch{ID: 300, Policy: "curve", Version: 1, Items: []string{"V"}, Rows: []reading.Row{
		row("m1", at.Add(time.Hour), reading.Cycle, 0, good(1)), row("m1", day.AddDate(0, 0, 9), reading.Cycle, 0, good(1)),
	}}
	body, err := bad.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	operator := identity.LocalOperator
	for name, body := range map[string][]byte{"future": body, "cut": body[:len(body)-3]} {
		said := b.publish(operator, "n1", body)
		v, err := reading.ParseVerdict([]byte(strings.TrimPrefix(said, "things/n1/readings/rejected ")))
		if err != nil || v.ID != 300 || v.Code != 400 || v.Message == "" || !v.Final() {
			t.Errorf("%s: answered %q", name, said)
		}
	}
	if got := b.all(readings.Query{Policies: []readings.Policy{{Node: "n1", Name: "curve"}}}); !slices.Equal(got, want) {
		t.Errorf("a bad batch has left something: %q", got)
	}
	// What is too old is taken and forgotten: it would go at once.
	if said := b.tell("n1", "curve", []string{"V"}, row("m1", day.AddDate(-1, 0, 0), reading.Cycle, 0, good(1))); !strings.HasPrefix(said, "things/n1/readings/accepted ") {
		t.Errorf("answered %q", said)
	}
	// A node speaks for itself alone.
	if said := b.publish(identity.Principal{Kind: identity.Thing, Name: "n2"}, "n1", body); said != "" {
		t.Errorf("another node's batch is answered %q", said)
	}
	for _, body := range [][]byte{nil, {1}, []byte("rubbish"), make([]byte, 100_000)} {
		if said := b.publish(operator, "n1", body); !strings.HasPrefix(said, "things/n1/readings/rejected ") {
			t.Errorf("%d bytes of rubbish: answered %q", len(body), said)
		}
	}
}

// held is a sink that answers when it is told to.
type held struct{ done chan func(error) }

func (h held) Submit(_ context.Context, _ readings.Told, done func(error)) error {
	h.done <- done
	return nil
}

// What is on its way to disk is bounded, for each node and for all, and who is
// refused is told to come again; a sink that fails isn't the node's fault.
func TestHandle_Bounds(t *testing.T) {
	sink := held{make(chan func(error), 16)}
	b := start(t, func(c *readings.Config) { c.Sink, c.PerNode = sink, 2 })
	one := func(node string) chan string {
		answered := make(chan string, 1)
		batch := &reading.Batch{ID: 7, Policy: "p", Version: 1, Items: []string{"V"}, Rows: []reading.Row{row("m", day, reading.Cycle, 0, good(1))}}
		body, err := batch.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		b.Handle(context.Background(), identity.LocalOperator, wire.Readings{Thing: node}, true, body, func(error) { answered <- strings.Join(b.said.take(), "") })
		return answered
	}
	first, second := one("n1"), one("n1")
	if said := <-one("n1"); !strings.Contains(said, `things/n1/readings/rejected {"id":7,"code":429`) {
		t.Fatalf("one too many: %q", said)
	}
	other := one("n2")
	(<-sink.done)(nil)
	if said := <-first; !strings.Contains(said, "n1/readings/accepted") {
		t.Errorf("first: %q", said)
	}
	(<-sink.done)(errors.New("the disk is full"))
	if said := <-second; !strings.Contains(said, `"code":503,"message":"the disk is full"`) {
		t.Errorf("second: %q", said)
	}
	(<-sink.done)(nil)
	if said := <-other; !strings.Contains(said, "n2/readings/accepted") {
		t.Errorf("other: %q", said)
	}
	again := one("n1")
	(<-sink.done)(nil)
	<-again
	sink = held{make(chan func(error), 16)}
	b = start(t, func(c *readings.Config) { c.Sink, c.Batches = sink, 2 })
	first, second = one("n1"), one("n2")
	if said := <-one("n3"); !strings.Contains(said, `things/n3/readings/rejected {"id":7,"code":429`) {
		t.Errorf("one too many of all: %q", said)
	}
	(<-sink.done)(nil)
	(<-sink.done)(nil)
	<-first
	<-second
	third := one("n3")
	(<-sink.done)(nil)
	<-third
}

// What a batch is said to take is no less than what its rows and values do, whatever
// they are, those too that were left out.
func TestTold_Size(t *testing.T) {
	for _, items := range []int{1, 20, reading.MaxItems} {
		b := &reading.Batch{Items: make([]string, items)}
		for range min(reading.MaxRows, reading.MaxValues/items) {
			b.Rows = append(b.Rows, reading.Row{Values: make([]reading.Value, items)})
		}
		takes := len(b.Rows) * int(unsafe.Sizeof(reading.Row{})+uintptr(items)*unsafe.Sizeof(reading.Value{}))
		b.Rows = b.Rows[:1]
		if said := (readings.Told{Batch: b}).Size(); said < takes || said > 2*takes {
			t.Errorf("%d items: said to take %d bytes, and takes %d", items, said, takes)
		}
	}
}

func TestRead(t *testing.T) {
	b := start(t, nil)
	b.said.read = func(topic string, payload []byte) {
		asked, err := reading.ParseRead(payload)
		if err != nil || topic != "things/n1/read" {
			t.Errorf("asked %q on %s: %v", payload, topic, err)
			return
		}
		number := reading.Number{Mantissa: 2301, Exponent: -1}
		answer := reading.Answer{ID: asked.ID, Values: map[string]reading.ReadValue{"V": {Value: &number, At: day, Arrived: day, Source: reading.Demand}}}
		for _, node := range []string{"n2", "n1"} { // another node's answer counts for nothing
			b.Handle(context.Background(), identity.Principal{Kind: identity.Thing, Name: node}, wire.Readings{Thing: node}, false, answer.Append(nil), func(error) {})
			answer.Values = map[string]reading.ReadValue{"V": {Value: &number, At: day, Arrived: day, Source: reading.Cycle}}
		}
	}
	ask := reading.Read{Policy: "p", Meter: "m", Live: true, Deadline: 1000}
	a, err := b.Read(context.Background(), identity.LocalOperator, "n1", ask)
	if err != nil || a.Values["V"].Source != reading.Cycle {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := b.Read(context.Background(), identity.LocalOperator, "n1", reading.Read{Policy: "p", Meter: "a b", Deadline: 1}); !errors.Is(err, reading.ErrMessage) {
		t.Errorf("a bad request: %v", err)
	}
	if _, err := b.Read(context.Background(), identity.Principal{Kind: identity.Thing, Name: "n1"}, "n1", ask); !errors.Is(err, readings.ErrForbidden) {
		t.Errorf("a node asks: %v", err)
	}
	b.said.read = nil
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Read(ctx, identity.LocalOperator, "n1", ask); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	off := start(t, func(c *readings.Config) { c.Listening = func(string) bool { return false } })
	if _, err := off.Read(context.Background(), identity.LocalOperator, "n1", ask); !errors.Is(err, readings.ErrOffline) {
		t.Errorf("nobody listens: %v", err)
	}
}

// A replica without a store refuses questions, by name.
func TestNoStore(t *testing.T) {
	b := start(t, func(c *readings.Config) { c.Store = nil })
	ctx, p := context.Background(), identity.LocalOperator
	of := readings.Policy{Node: "n", Name: "p"}
	_, cerr := b.Completeness(ctx, p, of, "2026-03-29")
	_, kerr := b.KPIs(ctx, p, []readings.Policy{of}, "2026-03-29")
	_, perr := b.PoliciesOf(ctx, p, "", "")
	werr := b.Walk(ctx, p, readings.Query{Policies: []readings.Policy{of}}, nil)
	for _, err := range []error{cerr, kerr, perr, werr} {
		if !errors.Is(err, readings.ErrNoStore) {
			t.Errorf("%v, want ErrNoStore", err)
		}
	}
}
