package collect

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// notes are what is logged.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// clumsy is a driver of every kind that panics where it is told to.
type clumsy struct {
	*fake
	mu    sync.Mutex
	where string
	ends  int // of cycles
}

func (c *clumsy) at(where string) {
	c.mu.Lock()
	here := c.where == where
	c.mu.Unlock()
	if here {
		var meter []int
		meter[len(where)]++
	}
}

func (c *clumsy) trips(where string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.where = where
}

func (c *clumsy) Poll(ctx context.Context, r Request) (Result, error) {
	c.at("poll " + r.Meter.ID)
	return c.fake.Poll(ctx, r)
}

func (c *clumsy) Begin(context.Context, Round) (func(), error) {
	c.at("begin")
	return func() { c.at("end"); c.mu.Lock(); c.ends++; c.mu.Unlock() }, nil
}

func (c *clumsy) Recall(_ context.Context, r Recall) (Recalled, error) {
	c.at("recall " + r.Meter.ID)
	out := Recalled{Frames: 1, Answers: 1}
	for range r.Times {
		values := make(map[string]Value)
		for _, it := range r.Items {
			values[it.Name] = Value{Value: shadow.Int(9)}
		}
		out.Rows = append(out.Rows, values)
	}
	return out, nil
}

func (c *clumsy) Write(_ context.Context, w WriteRequest) (Value, error) {
	c.at("write")
	return Value{Value: w.Value}, nil
}

func (c *clumsy) Release(s schema.Source) {
	c.at("release")
	c.fake.Release(s)
}

// trip makes a bench that has the clumsy driver too, with policy p on it and policy
// other on the fake one.
func trip(t *testing.T, change func(p *schema.Policy), f func(b *bench, c *clumsy, log *notes)) {
	t.Helper()
	withEngine(t, func(b *bench) {
		c := &clumsy{fake: &fake{now: b.now, origin: b.driver.origin, active: make(map[string]int), answer: all(shadow.Int(2))}}
		var log notes
		b.engine.cfg.Drivers[schema.SourceDLT645TCP] = c
		b.engine.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		p := policy(10*time.Second, "m", "n")
		p.Source.Kind, p.Source.Address, p.Source.Parallel = schema.SourceDLT645TCP, "clumsy:1", 1
		if change != nil {
			change(p)
		}
		b.apply("other", 1, policy(10*time.Second, "x"))
		b.apply("p", 1, p)
		f(b, c, &log)
		if r := b.report("other"); r.Faults != 0 || r.Cycle.Success != 1 || r.Readings["x"]["a"].Quality != Good {
			t.Errorf("another policy: %+v", r)
		}
	})
}

// What a driver panics over costs the policy what was asked for, by name, and nobody
// anything else; the next time it is asked again.
func TestFault_OfAPoll(t *testing.T) {
	trip(t, nil, func(b *bench, c *clumsy, log *notes) {
		c.trips("poll m")
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "", Missing, "fault", 10*time.Second)
		b.wantReading("n", "a", "2", Good, "", 10*time.Second)
		r := b.report("p")
		if r.Cycle.Success != 1 || !strings.Contains(r.Cycle.Error, "m: the driver failed: runtime error: index out of range") || r.Faults != 1 {
			t.Errorf("%d faults: %+v", r.Faults, r.Cycle)
		}
		b.pass(5 * time.Minute)
		if n := b.report("p").Faults; n != 31 {
			t.Errorf("%d faults in 31 slots", n)
		}
		if said := log.String(); strings.Count(said, "the driver failed") != 2 || !strings.Contains(said, "(*clumsy).Poll") || strings.Contains(said, "policy=other") {
			t.Errorf("the log says: %s", said)
		}
		b.pass(5 * time.Minute)
		if said := log.String(); !strings.Contains(said, "faults=61") {
			t.Errorf("the log says no more of it: %s", said)
		}
		c.trips("")
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "2", Good, "", 620*time.Second)
	})
}

func TestFault_OfACycle(t *testing.T) {
	trip(t, nil, func(b *bench, c *clumsy, _ *notes) {
		c.trips("begin")
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "", Missing, "fault", 10*time.Second)
		c.trips("end")
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "2", Good, "", 20*time.Second)
		c.trips("")
		b.pass(10 * time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := b.report("p").Faults; n != 2 || c.ends != 1 {
			t.Errorf("%d faults, %d cycles ended", n, c.ends)
		}
	})
}

func TestFault_OfAFreeze(t *testing.T) {
	trip(t, func(p *schema.Policy) {
		p.Collect = schema.CollectFreeze
		p.Items[0].OAD = "20000200"
	}, func(b *bench, c *clumsy, _ *notes) {
		c.trips("recall m")
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "", Missing, "fault", 10*time.Second)
		b.wantReading("n", "a", "9", Good, "", 10*time.Second) // of the slot
	})
}

func TestFault_OfReadWriteAndRelease(t *testing.T) {
	limit := 10.0
	none := 0.0
	trip(t, func(p *schema.Policy) {
		p.Writes = []schema.Write{{Item: "a", Min: &none, Max: &limit, Times: 9, Per: schema.Duration(time.Minute)}}
	}, func(b *bench, c *clumsy, _ *notes) {
		c.trips("poll m")
		got, err := b.engine.Read(t.Context(), "p", "m")
		if !errors.Is(err, ErrFault) || got["a"].Reason != "fault" {
			t.Errorf("read: %v, %v", got, err)
		}
		c.trips("write")
		if _, err := b.engine.Write(t.Context(), "p", "m", "a", shadow.Int(1)); !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), "may have been written") {
			t.Errorf("written: %v", err)
		}
		if n := b.report("p").Faults; n != 2 {
			t.Errorf("%d faults", n)
		}
		c.trips("release")
		b.engine.Remove("p")
		b.pass(10 * time.Second)
	})
}

// A cause is said in short, whatever it is.
func TestContain(t *testing.T) {
	err := Contain(func() error { panic(strings.Repeat("x", 10_000)) })
	var f *Fault
	if !errors.As(err, &f) || len(err.Error()) > 300 || len(f.Stack) > maxStack || !strings.Contains(string(f.Stack), "TestContain") {
		t.Errorf("%v", err)
	}
	if err := Contain(func() error { panic(ErrTimeout) }); errors.Is(err, ErrTimeout) || Reason(err) != "fault" {
		t.Errorf("%v is %s", err, Reason(err))
	}
	if err := Contain(func() error { return ErrLink }); err != ErrLink { //nolint:errorlint // as it was returned
		t.Errorf("%v", err)
	}
}
