package collect

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/schema"
)

var jumps = []time.Duration{
	time.Millisecond, time.Second, 29 * time.Second, time.Minute, 61 * time.Second, 5 * time.Minute, 5 * time.Hour, 24 * time.Hour, 30 * 365 * 24 * time.Hour,
	-time.Millisecond, -time.Second, -29 * time.Second, -time.Minute, -61 * time.Second, -5 * time.Minute, -5 * time.Hour, -24 * time.Hour, -30 * 365 * 24 * time.Hour,
}

// A clock set at any moment of a period, during a cycle or between two.
func TestClock_JumpCostsOneCycleAtMost(t *testing.T) {
	for _, period := range []time.Duration{time.Second, time.Minute, 15 * time.Minute} {
		for _, jump := range jumps {
			for phase := range 10 {
				withEngine(t, func(b *bench) {
					b.driver.takes = period / 4
					b.apply("p", 1, policy(period, "m"))
					b.pass(5*period + time.Duration(phase)*period/10)
					b.jump(jump)
					b.pass(10 * period)
					n := len(b.times("m"))
					if n < 14 || n > 16 {
						t.Errorf("period %v, clock set by %v at %d/10: %d cycles in 15 periods", period, jump, phase, n)
					}
					b.checkCycles(period)
				})
			}
		}
	}
}

// checkCycles looks at what the clock may do to cycles, whatever it shows.
func (b *bench) checkCycles(period time.Duration) {
	b.Helper()
	polls := b.driver.of("m")
	soon := 0
	for i, p := range polls {
		if i > 0 && p.began-polls[i-1].began < period {
			soon++
		}
		if i > 0 && p.began-polls[i-1].began > 2*period+maxWait {
			b.Errorf("nothing was polled for %v", p.began-polls[i-1].began)
		}
	}
	if soon > 2 {
		b.Errorf("%d cycles came before their time", soon)
	}
	c := b.report("p").Cycle
	if c.Overruns != 0 {
		b.Errorf("%d overruns, but every cycle was in time", c.Overruns)
	}
	if c.Duration != period/4 {
		b.Errorf("the last cycle took %v, want %v", c.Duration, period/4)
	}
	last := polls[len(polls)-1]
	if last.ended == 0 && len(polls) > 1 {
		last = polls[len(polls)-2] // the cycle under way isn't in the report
	}
	if late := last.at.Sub(c.At); late < 0 || late > period {
		b.Errorf("the cycle of %v was run at %v", c.At, last.at)
	}
}

// The last cycle may be the one that the clock was set in.
func TestClock_SetDuringCycle(t *testing.T) {
	for _, jump := range jumps {
		withEngine(t, func(b *bench) {
			b.driver.takes = 20 * time.Second
			b.apply("p", 1, policy(time.Minute, "m"))
			b.pass(70 * time.Second)
			b.jump(jump)
			b.pass(11 * time.Second)
			c := b.report("p").Cycle
			if !c.At.Equal(midnight.Add(time.Minute)) || c.Duration != 20*time.Second || c.Overruns != 0 {
				t.Errorf("set by %v: %+v", jump, c)
			}
		})
	}
}

func TestClock_SetForwardIntoClosedWindow(t *testing.T) {
	withEngine(t, func(b *bench) {
		p := policy(15*time.Minute, "m")
		p.Windows = []schema.Window{"00:00-06:00"}
		b.apply("p", 1, p)
		b.pass(5*time.Hour + 50*time.Minute)
		n := len(b.times("m"))
		b.jump(6 * time.Hour)
		b.pass(4 * time.Hour)
		if late := len(b.times("m")) - n; late != 0 {
			t.Errorf("%d cycles outside the window", late)
		}
	})
}

// Jumps of a clock that never comes to rest.
func TestClock_ManyJumps(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			b := prepare(t)
			b.apply("p", 1, policy(time.Minute, "m"))
			b.start()
			const often, between = 40, 5
			for range often {
				b.jump(jumps[random.IntN(len(jumps))])
				b.pass(between*time.Minute - 10*time.Second + time.Duration(random.IntN(20))*time.Second)
			}
			n, periods := len(b.times("m")), int(time.Since(midnight)/time.Minute)
			if n < periods-often-1 || n > periods+often+1 {
				t.Errorf("seed %d: %d cycles in %d periods with %d jumps", seed, n, periods, often)
			}
			if c := b.report("p").Cycle; c.Overruns != 0 {
				t.Errorf("seed %d: %+v", seed, c)
			}
			b.stop()
		})
	}
}

func TestClock_JumpIsNoticedSoon(t *testing.T) {
	withEngine(t, func(b *bench) {
		b.apply("p", 1, policy(time.Hour, "m"))
		b.pass(10 * time.Minute)
		b.jump(52 * time.Minute) // 01:02
		b.pass(maxWait)
		if n := len(b.times("m")); n != 1 {
			t.Errorf("%d cycles %v after the clock went past a slot", n, maxWait)
		}
		b.jump(-10 * time.Minute) // 00:52:30: that slot is due once more
		b.pass(7*time.Minute + 29*time.Second)
		if n := len(b.times("m")); n != 1 {
			t.Errorf("%d cycles before the slot", n)
		}
		b.pass(2 * time.Second)
		polls := b.driver.of("m")
		if len(polls) != 2 || !polls[1].at.Equal(midnight.Add(time.Hour)) {
			t.Errorf("%d cycles, want the second at 01:00 by the clock: %+v", len(polls), polls)
		}
	})
}

// A clock that is corrected by seconds doesn't have a slot read twice, nor lost.
func TestClock_SmallCorrections(t *testing.T) {
	for _, back := range []time.Duration{time.Millisecond, time.Second, 20 * time.Second, 59 * time.Second} {
		withEngine(t, func(b *bench) {
			b.apply("p", 1, policy(15*time.Minute, "m"))
			b.pass(15*time.Minute + time.Millisecond)
			b.jump(-back)
			b.pass(15 * time.Minute)
			b.jump(back)
			b.pass(15 * time.Minute)
			var slots []time.Time
			for _, p := range b.driver.of("m") {
				slots = append(slots, p.at.Truncate(15*time.Minute))
			}
			if len(slots) < 2 || len(slots) > 3 {
				t.Errorf("back by %v: read at %v", back, slots)
			}
			for i := 1; i < len(slots); i++ {
				if slots[i].Sub(slots[i-1]) != 15*time.Minute {
					t.Errorf("back by %v: read at %v", back, slots)
				}
			}
		})
	}
}
