package collect_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/storetest"
	"gnomon/schema"
	"gnomon/schema/reading"
	"gnomon/shadow"
)

// house is a driver for meters that keep what they measured: an item of a meter is
// worth the minutes since 1970. Meters may be dead from and to a time; of some
// times they keep nothing.
type house struct {
	mu      sync.Mutex
	takes   time.Duration // of a poll
	silence time.Duration // until a dead meter is given up
	dead    func(meter string, now time.Time) bool
	lacks   func(meter string, at time.Time) bool
	asked   []ask
	seats   chan struct{} // one at a time on the line
}

// ask is what the driver was asked for.
type ask struct {
	meter    string
	began    time.Time
	ended    time.Time
	times    []time.Time // nil: a poll
	priority int
	broken   bool
}

func newHouse() *house {
	return &house{
		takes: 100 * time.Millisecond, silence: 5 * time.Second, seats: make(chan struct{}, 1),
		dead: func(string, time.Time) bool { return false }, lacks: func(string, time.Time) bool { return false },
	}
}

func worth(at time.Time) *shadow.Value { return shadow.Int(at.Unix() / 60) }

func (h *house) turn(ctx context.Context, r collect.Request, times []time.Time) error {
	select {
	case h.seats <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.seats }()
	a := ask{meter: r.Meter.ID, began: time.Now(), times: times, priority: r.Priority}
	takes, err := h.takes, error(nil)
	if h.dead(r.Meter.ID, a.began) {
		takes, err = h.silence, fmt.Errorf("meter %s: %w", r.Meter.ID, collect.ErrTimeout)
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		err, a.broken = ctx.Err(), true
	}
	a.ended = time.Now()
	h.mu.Lock()
	h.asked = append(h.asked, a)
	h.mu.Unlock()
	return err
}

func (h *house) Poll(ctx context.Context, r collect.Request) (collect.Result, error) {
	out := collect.Result{Values: make(map[string]collect.Value), Frames: 1}
	err := h.turn(ctx, r, nil)
	if err == nil {
		out.Answers = 1
	}
	for _, it := range r.Items {
		out.Values[it.Name] = collect.Value{Value: worth(time.Now()), At: time.Now()}
		if err != nil {
			out.Values[it.Name] = collect.Value{At: time.Now(), Err: err}
		}
	}
	return out, err
}

func (h *house) Recall(ctx context.Context, r collect.Recall) (collect.Recalled, error) {
	out := collect.Recalled{Rows: make([]map[string]collect.Value, len(r.Times)), Frames: 1}
	err := h.turn(ctx, r.Request, r.Times)
	if err == nil {
		out.Answers = 1
	}
	for i, at := range r.Times {
		out.Rows[i] = make(map[string]collect.Value)
		for _, it := range r.Items {
			v := collect.Value{Value: worth(at), At: time.Now()}
			switch {
			case err != nil:
				v = collect.Value{Err: err}
			case h.lacks(r.Meter.ID, at) || at.After(time.Now()):
				v = collect.Value{Err: fmt.Errorf("%w: %v", collect.ErrNoData, at)}
			}
			out.Rows[i][it.Name] = v
		}
	}
	return out, err
}

func (h *house) Release(schema.Source) {}

// asks returns what was asked so far.
func (h *house) asks() []ask {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]ask(nil), h.asked...)
}

// yard is an engine on a house, in virtual time that begins at midnight.
type yard struct {
	*testing.T
	house  *house
	store  *storetest.Memory
	engine *collect.Engine
}

func inYard(t *testing.T, test func(y *yard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := &yard{T: t, house: newHouse(), store: storetest.NewMemory()}
		y.engine = collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceDLT645TCP: y.house}, Store: y.store})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = y.engine.Run(ctx); close(ended) }()
		synctest.Wait()
		test(y)
		cancel()
		<-ended
	})
}

func (y *yard) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (y *yard) apply(name string, version uint64, p *schema.Policy) {
	y.Helper()
	if err := y.engine.Apply(name, version, p); err != nil {
		y.Fatal(err)
	}
}

func (y *yard) report(name string) collect.Report {
	y.Helper()
	r, ok := y.engine.Report(name)
	if !ok {
		y.Fatalf("no report of %s", name)
	}
	return r
}

// parse makes a policy for n meters m1, m2… of what is said besides.
func parse(t testing.TB, n int, more string) *schema.Policy {
	t.Helper()
	meters := ""
	for i := range n {
		if i > 0 {
			meters += ","
		}
		meters += fmt.Sprintf(`{"id":"m%d","address":"%012d"}`, i+1, i+1)
	}
	p, err := schema.ParsePolicy([]byte(`{"source":{"kind":"dlt645-tcp","address":"h:26"},"meters":[` + meters + `],` +
		`"items":[{"name":"V","di":"02010100","format":"XXX.X"}]` + more + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// count counts what is kept of a policy, by what it is and where it comes from.
func (y *yard) count(policy string) (cycle, filled, missing, noData int) {
	y.store.All(func(p storetest.Point, v storetest.Kept) {
		switch {
		case p.Policy != policy:
		case v.Reason == collect.NoData:
			noData++
		case v.State == reading.Missing:
			missing++
		case v.Source == reading.BackFill:
			filled++
		default:
			cycle++
		}
	})
	return cycle, filled, missing, noData
}

// Every cycle's rows are kept, stamped with the slot, and with the reason of what
// is missing.
func TestStore_RowsOfACycle(t *testing.T) {
	inYard(t, func(y *yard) {
		y.house.dead = func(meter string, _ time.Time) bool { return meter == "m2" }
		y.apply("p", 7, parse(t, 3, `,"delay":"10s"`))
		y.pass(16 * time.Minute)
		slot := midnight.Add(15 * time.Minute)
		for meter, want := range map[string]reading.Value{
			"m1": {State: reading.Good, Number: reading.Number{Mantissa: slot.Unix() / 60}},
			"m2": {State: reading.Missing, Reason: "timeout"},
		} {
			got, ok := y.store.At(storetest.Point{Policy: "p", Meter: meter, Item: "V", At: slot})
			n, _ := reading.ParseNumber(fmt.Sprint(slot.Unix() / 60))
			if want.State == reading.Good {
				want.Number = n
			}
			if !ok || got.Value != want || got.Version != 7 || got.Source != reading.Cycle {
				t.Errorf("%s: %+v, want %+v", meter, got, want)
			}
			if late := got.Arrived.Sub(slot); late < 10*time.Second || late > 20*time.Second {
				t.Errorf("%s arrived %v after its slot", meter, late)
			}
		}
		task := y.report("p").Task
		if task.State != collect.TaskDone || task.Meters != 3 || task.Success != 2 || task.Sent != 3 || task.Received != 2 ||
			task.Start.Sub(slot) != 10*time.Second || task.End.Sub(task.Start) != 5200*time.Millisecond {
			t.Errorf("%+v", task)
		}
	})
}

// A store that fails costs no cycle; the report says so.
func TestStore_Fails(t *testing.T) {
	inYard(t, func(y *yard) {
		y.store.Fail(errors.New("no space left"))
		y.apply("p", 1, parse(t, 2, ""))
		y.pass(16 * time.Minute)
		if r := y.report("p"); r.Cycle.Success != 2 || r.Cycle.Error != "not kept: no space left" || r.Readings["m1"]["V"].Quality != collect.Good {
			t.Errorf("%+v", r)
		}
		y.store.Fail(nil)
		y.pass(15 * time.Minute)
		if cycle, _, _, _ := y.count("p"); cycle != 2 || y.report("p").Cycle.Error != "" {
			t.Errorf("%d values kept, %+v", cycle, y.report("p").Cycle)
		}
	})
}

// midnight is when the time of a bubble begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
