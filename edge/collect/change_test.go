package collect

import (
	"testing"
	"testing/synctest"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// at copies a policy with another address, or with a change of its source.
func at(p *schema.Policy, change func(s *schema.Source)) *schema.Policy {
	out := *p
	change(&out.Source)
	return &out
}

// wantWhole fails if a poll of a meter was broken off, and wants n of them.
func (b *bench) wantWhole(meter string, n int) {
	b.Helper()
	polls := b.driver.of(meter)
	if len(polls) != n {
		b.Errorf("%s was polled %d times, want %d", meter, len(polls), n)
	}
	for _, p := range polls {
		if p.ended == 0 || p.err != nil {
			b.Errorf("the poll of %s at %v was broken off", meter, p.began)
		}
	}
}

func TestApply_LeavesOthersAlone(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 5 * time.Second
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.apply("q", 1, policy(10*time.Second, "n"))
		b.pass(11 * time.Second) // both are in a cycle
		b.apply("q", 2, policy(20*time.Second, "n"))
		b.pass(time.Second)
		b.engine.Remove("q")
		b.apply("new", 1, policy(time.Minute, "o"))
		b.pass(14 * time.Second)
		b.wantWhole("m", 2)
		if r := b.report("p"); r.Cycles != 2 || r.Version != 1 || r.Cycle.Overruns != 0 {
			t.Errorf("%+v", r)
		}
		if len(b.driver.closed()) != 0 {
			t.Error("the port that all of them use was closed")
		}
	})
}

func TestApply_EqualGoesOn(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 5 * time.Second
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(11 * time.Second)
		b.signalled()
		b.apply("p", 2, policy(10*time.Second, "m")) // equal, not the same
		if r := b.report("p"); r.Version != 2 || !b.signalled() {
			t.Errorf("version %d: the new one isn't reported", r.Version)
		}
		b.pass(5 * time.Second)
		b.wantWhole("m", 1)
		if r := b.report("p"); r.Cycles != 1 || r.Version != 2 {
			t.Errorf("%+v", r)
		}
		b.pass(10 * time.Second)
		b.wantWhole("m", 2)
	})
}

func TestApply_ChangeCountsFromTheNextSlot(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(25 * time.Second)
		b.apply("p", 2, policy(7*time.Second, "m")) // midnight lies 3s off its grid
		slot := NextSlot(midnight.Add(25*time.Second), 7*time.Second, 0)
		b.pass(7 * time.Second)
		b.wantTimes("m", 10, 20, int(slot.Sub(midnight)/time.Second))
		if r := b.report("p"); r.Version != 2 || r.Cycles != 3 {
			t.Errorf("%+v", r)
		}
	})
}

// The old cycle is finished, but not for longer than a period; and a driver needs
// time to let go: the new one waits for that, and reads the slot that came meanwhile.
func TestApply_NeverTwoCyclesAtOnce(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes, b.driver.stubborn = time.Hour, 25*time.Second
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(11 * time.Second)
		for i := range 5 { // of five changes in a row only the last is ever run
			b.apply("p", uint64(i), policy(time.Duration(i+2)*time.Second, "m"))
			b.pass(time.Second)
		}
		b.driver.set(func() { b.driver.takes, b.driver.stubborn = 0, 0 })
		b.pass(38 * time.Second)
		polls := b.driver.of("m")
		if len(polls) < 3 || polls[0].err == nil || polls[0].ended != 46*time.Second || polls[1].began != 46*time.Second {
			t.Fatalf("%+v", polls)
		}
		for _, p := range polls[2:] {
			if p.began%(6*time.Second) != 0 {
				t.Errorf("polled at %v: a policy that was replaced", p.began)
			}
		}
		// withEngine looks for polls at once
	})
}

func TestRemove_BreaksOff(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes, b.driver.stubborn = time.Hour, 3*time.Second
		b.apply("p", 1, policy(10*time.Second, "m", "next"))
		b.pass(11 * time.Second)
		b.engine.Remove("p")
		if _, ok := b.engine.Report("p"); ok {
			t.Error("a report of a removed policy")
		}
		b.pass(2 * time.Second)
		if len(b.driver.closed()) != 0 {
			t.Error("the port was closed under a poll")
		}
		b.pass(2 * time.Second)
		polls := b.driver.of("m")
		if len(polls) != 1 || polls[0].err == nil || polls[0].ended != 14*time.Second {
			t.Errorf("%+v", polls)
		}
		if len(b.driver.closed()) != 1 || b.driver.closed()[0].Address != "meter:502" {
			t.Errorf("released %+v", b.driver.closed())
		}
		b.pass(time.Hour)
		b.wantTimes("m", 10)
		b.wantTimes("next") // not even in the cycle that was broken off
	})
}

// A slot that is under way is finished as it began, and the next is the new policy's.
func TestApply_FinishesTheSlot(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes = 3 * time.Second
		b.apply("p", 1, policy(10*time.Second, "m1", "m2"))
		b.pass(17 * time.Second) // a whole cycle
		b.driver.set(func() { b.driver.answer = all(shadow.Int(2)) })
		b.pass(7 * time.Second)
		b.apply("p", 2, policy(15*time.Second, "m1", "m2"))
		b.pass(time.Second)
		if r := b.report("p"); r.Version != 2 || r.Cycles != 1 || r.Readings["m2"]["a"].Value.Text() != "1" {
			t.Errorf("half way: %+v", r)
		}
		b.pass(time.Second)
		r := b.report("p")
		if r.Cycles != 2 || !r.Cycle.At.Equal(midnight.Add(20*time.Second)) || r.Cycle.Success != 2 {
			t.Errorf("%+v: the slot is lost", r.Cycle)
		}
		if second := r.Readings["m2"]["a"]; second.Value.Text() != "2" || second.Quality != Good {
			t.Errorf("the second meter: %+v", second)
		}
		b.pass(10 * time.Second)
		b.wantTimes("m2", 13, 23, 33)
	})
}

func TestRelease_Table(t *testing.T) {
	base := policy(10*time.Second, "m")
	off := *base
	off.Enabled = new(bool)
	elsewhere := at(base, func(s *schema.Source) { s.Address = "other:502" })
	patient := at(base, func(s *schema.Source) { s.Timeout = schema.Duration(9 * time.Second) })
	for name, c := range map[string]struct {
		also   *schema.Policy // another policy at work
		change *schema.Policy // of base; nil = removed
		want   int
	}{
		"removed":                               {nil, nil, 1},
		"removed, another uses it":              {base, nil, 0},
		"removed, another uses it patiently":    {patient, nil, 0},
		"removed, another is elsewhere":         {elsewhere, nil, 1},
		"removed, another is disabled":          {&off, nil, 1},
		"changed":                               {nil, policy(20*time.Second, "m"), 0},
		"changed in its timeout":                {nil, patient, 0},
		"moved elsewhere":                       {nil, elsewhere, 1},
		"moved elsewhere, another uses the old": {base, elsewhere, 0},
		"disabled":                              {nil, &off, 1},
		"disabled, another uses it":             {base, &off, 0},
	} {
		t.Run(name, func(t *testing.T) {
			withEngine(t, func(b *bench) {
				b.apply("p", 1, base)
				if c.also != nil {
					also := *c.also
					also.Meters = []schema.Meter{{ID: "n", Unit: 9}}
					b.apply("q", 1, &also)
				}
				b.pass(15 * time.Second)
				if c.change == nil {
					b.engine.Remove("p")
				} else {
					b.apply("p", 2, c.change)
				}
				synctest.Wait()
				if got := len(b.driver.closed()); got != c.want {
					t.Errorf("%d ports closed, want %d", got, c.want)
				}
			})
		})
	}
}

// A policy that comes while the last user lets go finds the port as it was.
func TestRelease_NotUnderANewPolicy(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes, b.driver.stubborn = time.Hour, 5*time.Second
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(11 * time.Second)
		b.engine.Remove("p")
		b.apply("q", 1, policy(10*time.Second, "n"))
		b.pass(8 * time.Second)
		if len(b.driver.closed()) != 0 {
			t.Error("the port was closed, but a policy uses it")
		}
		b.engine.Remove("q")
		b.pass(time.Second)
		if len(b.driver.closed()) != 1 {
			t.Errorf("%d ports closed, want 1", len(b.driver.closed()))
		}
	})
}

// A port whose last two users go at once isn't closed under either.
func TestRelease_AfterTheLastPoll(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.driver.takes, b.driver.stubborn = time.Hour, 2*time.Second
		b.apply("p", 1, policy(10*time.Second, "m"))
		b.pass(11 * time.Second)
		b.driver.set(func() { b.driver.stubborn = 6 * time.Second })
		b.apply("q", 1, policy(4*time.Second, "n"))
		b.pass(2 * time.Second)
		b.engine.Remove("p")
		b.engine.Remove("q")
		b.pass(10 * time.Second)
		if len(b.driver.closed()) == 0 {
			t.Error("the port was never closed")
		}
	})
}

// Another address is another meter, whose readings are not the former's.
func TestApply_AnotherAddressInheritsNothing(t *testing.T) {
	withEngine(t, func(b *bench) {
		addressed := func(address string) *schema.Policy {
			p := *policy(10*time.Second, "m")
			p.Meters = []schema.Meter{{ID: "m", Address: address}}
			return &p
		}
		b.apply("p", 1, addressed("000000000001"))
		b.pass(15 * time.Second)
		b.apply("p", 2, addressed("000000000001"))
		if len(b.report("p").Readings["m"]) == 0 {
			t.Error("the same meter's readings are gone")
		}
		b.apply("p", 3, addressed("000000000002"))
		if got := b.report("p").Readings["m"]; len(got) != 0 {
			t.Errorf("of another meter: %+v", got)
		}
	})
}
