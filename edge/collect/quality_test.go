package collect

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// reading wants one item's latest.
func (b *bench) reading(meter, item string) Reading {
	b.Helper()
	r, ok := b.report("p").Readings[meter][item]
	if !ok {
		b.Fatalf("no reading of %s %s", meter, item)
	}
	return r
}

func (b *bench) wantReading(meter, item, value string, q Quality, reason string, at time.Duration) {
	b.Helper()
	r := b.reading(meter, item)
	if r.Value.Text() != value || (r.Value == nil) != (value == "") || r.Quality != q || r.Reason != reason || r.At.Sub(midnight) != at {
		b.Errorf("%s %s is %s %s %q of %v, want %s %s %q of %v", meter, item,
			r.Value.Text(), r.Quality, r.Reason, r.At.Sub(midnight), value, q, reason, at)
	}
}

func TestQuality_GoodStaleGood(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "1", Good, "", 10*time.Second)
		b.driver.set(func() { b.driver.answer = none(fmt.Errorf("meter m: %w", ErrTimeout)) })
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "1", Stale, "timeout", 10*time.Second)
		b.driver.set(func() { b.driver.answer = none(ErrSkipped) })
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "1", Stale, "skipped", 10*time.Second)
		b.driver.set(func() { b.driver.answer = all(shadow.Int(5)) })
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "5", Good, "", 40*time.Second)
	})
}

func TestQuality_MissingWhenNeverRead(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.answer = none(ErrLink)
		b.apply("p", 1, policy(10*time.Second, "m"))
		if n := len(b.report("p").Readings); n != 0 {
			t.Errorf("%d meters with readings before the first cycle", n)
		}
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "", Missing, "link", 10*time.Second)
		b.driver.set(func() { b.driver.answer = none(ErrGarbled) })
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "", Missing, "garbled", 20*time.Second)
		b.driver.set(func() { b.driver.answer = all(shadow.Flag(false)) })
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "false", Good, "", 30*time.Second)
	})
}

// A driver must say something of every item; one that doesn't makes no value up.
func TestQuality_ItemLeftOutByDriver(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.answer = func(Request) (Result, error) { return Result{}, nil }
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(10 * time.Second)
		if r := b.reading("m", "a"); r.Value != nil || r.Quality != Missing || r.Reason != "error" {
			t.Errorf("%+v", r)
		}
		if c := b.report("p").Cycle; c.Success != 0 {
			t.Errorf("%+v: a meter of which nothing was read is no success", c)
		}
	})
}

// One item of one meter fails: its neighbours are good, the cycle says so.
func TestCycle_CountsMeters(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.answer = func(r Request) (Result, error) {
			switch r.Meter.ID {
			case "dead":
				return none(fmt.Errorf("unit %d: %w", r.Meter.Unit, ErrTimeout))(r)
			case "dead too":
				return none(ErrLink)(r)
			}
			out, _ := all(shadow.Int(1))(r)
			if r.Meter.ID == "odd" {
				out.Values["b"] = Value{At: time.Now(), Err: ErrNotNumber}
			}
			return out, nil
		}
		p := policy(10*time.Second, "fine", "odd", "dead", "dead too")
		p.Items = append(p.Items, item("b", 1))
		b.apply("p", 1, p)
		b.pass(10 * time.Second)
		c := b.report("p").Cycle
		if c.Meters != 4 || c.Success != 1 || c.Frames != 6 || c.Error != "dead: unit 3: no answer" {
			t.Errorf("%+v", c)
		}
		b.wantReading("odd", "a", "1", Good, "", 10*time.Second)
		b.wantReading("odd", "b", "", Missing, "not-a-number", 10*time.Second)
		b.wantReading("fine", "b", "1", Good, "", 10*time.Second)
		b.driver.set(func() { b.driver.answer = all(shadow.Int(1)) })
		b.pass(10 * time.Second)
		if c := b.report("p").Cycle; c.Success != 4 || c.Error != "" {
			t.Errorf("%+v: what was wrong before is said still", c)
		}
	})
}

func TestRun_ItemsOfModelAndPolicy(t *testing.T) {
	withEngine(t, func(b *bench) {
		p := policy(10*time.Second, "plain", "eastron")
		p.Meters[1].Model = "sdm630"
		b.apply("p", 1, p)
		b.pass(10 * time.Second)
		model, _ := schema.ModelNamed("sdm630")
		got := b.report("p").Readings
		if len(got["plain"]) != 1 || len(got["eastron"]) != len(model.Items)+1 {
			t.Errorf("%d and %d readings", len(got["plain"]), len(got["eastron"]))
		}
		if r := b.driver.of("eastron")[0]; !reflect.DeepEqual(r.Source, p.Source) || r.Meter != p.Meters[1] {
			t.Errorf("%+v", r.Request)
		}
	})
}

// keep is which readings outlive a change of the policy: those that mean what
// they meant before.
func TestApply_KeepsReadings(t *testing.T) {
	items := func(items ...schema.Item) func(*schema.Policy) {
		return func(p *schema.Policy) { p.Items = items }
	}
	meters := func(meters ...schema.Meter) func(*schema.Policy) {
		return func(p *schema.Policy) { p.Meters = meters }
	}
	scaled, moved := item("a", 0), item("a", 7)
	scaled.Scale = 0.1
	for name, c := range map[string]struct {
		change func(p *schema.Policy)
		want   string // meters and items with a reading
	}{
		"period":          {func(p *schema.Policy) { p.Period *= 2 }, "m1 a, m1 b, m2 a, m2 b"},
		"disabled":        {func(p *schema.Policy) { p.Enabled = new(bool) }, "m1 a, m1 b, m2 a, m2 b"},
		"timeout":         {func(p *schema.Policy) { p.Source.Timeout *= 2 }, "m1 a, m1 b, m2 a, m2 b"},
		"order of meters": {meters(schema.Meter{ID: "m2", Unit: 2}, schema.Meter{ID: "m1", Unit: 1}), "m1 a, m1 b, m2 a, m2 b"},
		"meter removed":   {meters(schema.Meter{ID: "m2", Unit: 2}), "m2 a, m2 b"},
		"meter added":     {meters(schema.Meter{ID: "m1", Unit: 1}, schema.Meter{ID: "m2", Unit: 2}, schema.Meter{ID: "m3", Unit: 3}), "m1 a, m1 b, m2 a, m2 b"},
		"item removed":    {items(item("b", 1)), "m1 b, m2 b"},
		"item added":      {items(item("a", 0), item("b", 1), item("c", 2)), "m1 a, m1 b, m2 a, m2 b"},
		"item moved":      {items(moved, item("b", 1)), "m1 b, m2 b"},
		"item scaled":     {items(scaled, item("b", 1)), "m1 b, m2 b"},
		"unit":            {meters(schema.Meter{ID: "m1", Unit: 5}, schema.Meter{ID: "m2", Unit: 2}), "m2 a, m2 b"},
		"address":         {func(p *schema.Policy) { p.Source.Address = "other:502" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			withEngine(t, func(b *bench) {
				p := policy(10*time.Second, "m1", "m2")
				p.Items = []schema.Item{item("a", 0), item("b", 1)}
				b.apply("p", 1, p)
				b.pass(11 * time.Second)
				changed := *p
				c.change(&changed)
				b.apply("p", 2, &changed)
				if got := b.readings(); got != c.want {
					t.Errorf("kept %q, want %q", got, c.want)
				}
				if r := b.report("p"); r.Cycles != 1 || r.Version != 2 {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// readings lists what has a value.
func (b *bench) readings() string {
	out := ""
	r := b.report("p").Readings
	for _, meter := range []string{"m1", "m2", "m3"} {
		for _, item := range []string{"a", "b", "c"} {
			if _, ok := r[meter][item]; ok {
				out += ", " + meter + " " + item
			}
		}
	}
	if out == "" {
		return ""
	}
	return out[2:]
}

// What is gone from a policy doesn't come back with it.
func TestApply_RemovedReadingsStayAway(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.apply("p", 1, policy(10*time.Second, "m1", "m2"))
		b.pass(11 * time.Second)
		b.driver.set(func() { b.driver.answer = none(ErrTimeout) })
		b.apply("p", 2, policy(10*time.Second, "m1"))
		b.pass(10 * time.Second)
		if got := b.report("p").Readings; len(got) != 1 {
			t.Errorf("%+v", got)
		}
		b.apply("p", 3, policy(10*time.Second, "m1", "m2"))
		b.pass(10 * time.Second)
		b.wantReading("m1", "a", "1", Stale, "timeout", 10*time.Second)
		b.wantReading("m2", "a", "", Missing, "timeout", 30*time.Second)
		b.engine.Remove("p")
		b.apply("p", 4, policy(10*time.Second, "m1"))
		b.pass(10 * time.Second)
		b.wantReading("m1", "a", "", Missing, "timeout", 40*time.Second)
	})
}

// Overruns are counted anew for a changed policy, as the report says.
func TestApply_OverrunsAnew(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 15 * time.Second
		b.driver.answer = none(errors.New("odd"))
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(26 * time.Second)
		if c := b.report("p").Cycle; c.Overruns != 1 || c.Error != "m: odd" {
			t.Errorf("%+v", c)
		}
		b.apply("p", 2, policy(20*time.Second, "m"))
		if c := b.report("p").Cycle; c.Overruns != 0 {
			t.Errorf("%+v", c)
		}
		b.pass(30 * time.Second)
		if c := b.report("p").Cycle; c.Overruns != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// A meter that answers, but has no value for an item, isn't read whole: the
// report says why.
func TestQuality_NoValueIsToldInTheCycle(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.answer = func(r Request) (Result, error) {
			return Result{Values: map[string]Value{"a": {At: midnight, Err: fmt.Errorf("%w: a", ErrNoValue)}}}, nil
		}
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(10 * time.Second)
		b.wantReading("m", "a", "", Missing, "no-value", 0)
		if c := b.report("p").Cycle; c.Success != 0 || c.Error != "m: the meter has no value: a" {
			t.Errorf("%+v", c)
		}
	})
}
