package collect

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// times are when a meter was polled, since the start.
func (b *bench) times(meter string) []time.Duration {
	var out []time.Duration
	for _, p := range b.driver.of(meter) {
		out = append(out, p.began)
	}
	return out
}

func seconds(s ...int) []time.Duration {
	var out []time.Duration
	for _, n := range s {
		out = append(out, time.Duration(n)*time.Second)
	}
	return out
}

func (b *bench) wantTimes(meter string, want ...int) {
	b.Helper()
	if got := b.times(meter); !slices.Equal(got, seconds(want...)) {
		b.Errorf("%s was polled at %v, want %v", meter, got, seconds(want...))
	}
}

func TestRun_SlotsAreAligned(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.pass(4 * time.Second) // policies don't count from when they came
		p := policy(10*time.Second, "m")
		p.Align = schema.Duration(3 * time.Second)
		b.apply("p", 1, p)
		b.driver.set(func() { b.driver.takes = 1500 * time.Millisecond }) // nor from when a cycle ended
		b.pass(30 * time.Second)
		b.wantTimes("m", 13, 23, 33)
		r := b.report("p")
		if want := midnight.Add(23 * time.Second); !r.Cycle.At.Equal(want) || r.Cycles != 2 {
			t.Errorf("cycle %d of %v, want the second, of %v", r.Cycles, r.Cycle.At, want)
		}
		if r.Cycle.Duration != 1500*time.Millisecond || r.Cycle.Overruns != 0 {
			t.Errorf("%+v", r.Cycle)
		}
	})
}

func TestRun_MetersTakeTurns(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 2 * time.Second
		b.apply("p", 1, policy(10*time.Second, "m1", "m2", "m3"))
		b.pass(19 * time.Second)
		b.wantTimes("m1", 10)
		b.wantTimes("m2", 12)
		b.wantTimes("m3", 14)
		if c := b.report("p").Cycle; c.Meters != 3 || c.Success != 3 || c.Frames != 3 || c.Duration != 6*time.Second || c.Error != "" {
			t.Errorf("%+v", c)
		}
	})
}

func TestRun_OverrunsLeaveSlotsOut(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 25 * time.Second
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.signalled()
		for round, want := range []uint64{2, 4, 6} {
			<-b.engine.Changed()
			if got := b.report("p").Cycle.Overruns; got != want {
				t.Errorf("round %d: %d overruns when the report is signalled, want %d", round, got, want)
			}
		}
		b.driver.set(func() { b.driver.takes = time.Second })
		b.pass(12 * time.Second)
		b.wantTimes("m", 10, 40, 70, 100)
		if got := b.report("p").Cycle.Overruns; got != 6 {
			t.Errorf("%d overruns, want 6: the last cycle was in time", got)
		}
	})
}

// A cycle that ends with its period has used up the next slot.
func TestRun_CycleOfExactlyOnePeriod(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 10 * time.Second
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(35 * time.Second)
		b.wantTimes("m", 10, 30)
		if got := b.report("p").Cycle.Overruns; got != 1 {
			t.Errorf("%d overruns, want 1", got)
		}
	})
}

func TestRun_OverrunsOfLongPeriods(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 50 * time.Hour
		b.apply("p", 1, policy(24*time.Hour, "m"))
		b.pass(24*time.Hour + 51*time.Hour)
		if got := b.report("p").Cycle.Overruns; got != 2 {
			t.Errorf("%d overruns, want 2", got)
		}
	})
}

func TestRun_PoliciesRunSideBySide(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 8 * time.Second
		b.apply("p", 1, policy(10*time.Second, "m1"))
		b.apply("q", 1, policy(15*time.Second, "m2"))
		b.pass(31 * time.Second)
		b.wantTimes("m1", 10, 20, 30)
		b.wantTimes("m2", 15, 30)
	})
}

func TestRun_WindowsAreRespected(t *testing.T) {
	withEngine(t, func(b *bench) {
		p := policy(time.Hour, "m")
		p.Windows = []schema.Window{"22:00-02:00", "08:30-10:00"}
		b.apply("p", 1, p)
		b.pass(24*time.Hour + time.Minute)
		var hours []int
		for _, at := range b.times("m") {
			hours = append(hours, int(at/time.Hour))
		}
		if want := []int{1, 9, 22, 23, 24}; !slices.Equal(hours, want) {
			t.Errorf("polled at the hours %v, want %v", hours, want)
		}
		if got := b.report("p").Cycle.Overruns; got != 0 {
			t.Errorf("%d overruns: slots outside the windows are none", got)
		}
	})
}

func TestRun_DisabledPollsNothing(t *testing.T) {
	withEngine(t, func(b *bench) {
		off := false
		p := policy(time.Second, "m")
		p.Enabled = &off
		b.apply("p", 1, p)
		if !b.signalled() || b.report("p").Phase != Disabled {
			t.Errorf("phase %s", b.report("p").Phase)
		}
		b.pass(time.Hour)
		b.wantTimes("m")
		b.apply("p", 2, policy(time.Second, "m"))
		if b.report("p").Phase != Collecting {
			t.Errorf("phase %s", b.report("p").Phase)
		}
		b.pass(1500 * time.Millisecond)
		b.wantTimes("m", 3601)
	})
}

func TestRun_SignalsEveryCycle(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.apply("p", 1, policy(10*time.Second, "m"))
		if !b.signalled() {
			t.Error("no signal of a new policy")
		}
		b.pass(9 * time.Second)
		if b.signalled() {
			t.Error("a signal without news")
		}
		b.pass(time.Second)
		if !b.signalled() || b.signalled() {
			t.Error("want one signal of the cycle")
		}
		b.pass(30 * time.Second) // nobody listens: signals don't pile up
		if !b.signalled() || b.signalled() {
			t.Error("want one signal of many cycles")
		}
	})
}

func TestRun_EndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := prepare(t)
		b.driver.takes, b.driver.stubborn = time.Hour, 3*time.Second
		b.apply("busy", 1, policy(10*time.Second, "m1"))
		b.apply("waiting", 1, policy(time.Hour, "m2"))
		off := policy(time.Second, "m3")
		off.Enabled = new(bool)
		b.apply("off", 1, off)
		b.start()
		b.pass(12 * time.Second)
		b.stop()
		if since := time.Since(midnight); since != 15*time.Second {
			t.Errorf("Run returned after %v: the poll under way takes 3s to let go", since)
		}
		if p := b.driver.of("m1"); len(p) != 1 || p[0].err == nil {
			t.Errorf("%+v: its context goes on", p)
		}
		// No goroutine is left: the bubble would not end.
	})
}

func TestRun_NothingBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := prepare(t)
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.apply("p", 2, policy(20*time.Second, "m"))
		b.apply("gone", 1, policy(10*time.Second, "n"))
		b.engine.Remove("gone")
		b.engine.Remove("never there")
		b.pass(time.Minute)
		b.wantTimes("")
		b.start()
		b.pass(45 * time.Second)
		b.wantTimes("", 80, 100)
		b.stop()
	})
}

// Shadows may still arrive while a node shuts down.
func TestRun_NothingAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := prepare(t)
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.apply("q", 1, policy(10*time.Second, "n"))
		b.start()
		b.pass(11 * time.Second)
		b.stop()
		b.apply("p", 2, policy(5*time.Second, "m"))
		b.apply("p", 3, policy(7*time.Second, "m"))
		b.apply("new", 1, policy(5*time.Second, "o"))
		b.engine.Remove("q")
		b.engine.Remove("new")
		b.pass(time.Minute)
		b.wantTimes("m", 10)
		b.wantTimes("n", 10)
		b.wantTimes("o")
		if v := b.report("p").Version; v != 3 {
			t.Errorf("version %d", v)
		}
	})
}

func TestRun_ChangesWhileEnding(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			b := prepare(t)
			b.apply("p", 1, policy(10*time.Second, "m"))
			b.start()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 5 {
					b.apply("p", uint64(i), policy(time.Duration(i+1)*time.Second, "m"))
					b.apply("q", uint64(i), policy(time.Second, "n"))
					b.engine.Remove("q")
				}
			}()
			b.stop()
			<-done
		})
	}
}

func TestApply_NoDriver(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.apply("p", 1, policy(10*time.Second, "m"))
		strange := policy(10*time.Second, "m")
		strange.Source.Kind = "carrier-pigeon"
		if err := b.engine.Apply("p", 2, strange); err == nil {
			t.Error("a source that nobody serves was accepted")
		}
		b.pass(11 * time.Second)
		if r := b.report("p"); r.Version != 1 || r.Readings["m"]["a"].Quality != Good {
			t.Errorf("%+v: the policy that ran is gone", r)
		}
	})
}

// Reports are looked at while cycles go on.
func TestReport_IsNotChangedLater(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.apply("p", 1, policy(10*time.Second, "m1", "m2"))
		b.pass(11 * time.Second)
		before := b.report("p")
		b.driver.set(func() { b.driver.answer = all(shadow.Int(2)) })
		b.pass(10 * time.Second)
		for _, m := range []string{"m1", "m2"} {
			if got := before.Readings[m]["a"].Value.Text(); got != "1" {
				t.Errorf("%s changed to %s in a report handed out", m, got)
			}
			if got := b.report("p").Readings[m]["a"].Value.Text(); got != "2" {
				t.Errorf("%s is %s in the new report", m, got)
			}
		}
		if _, ok := b.engine.Report("never there"); ok {
			t.Error("a report of no policy")
		}
	})
}
