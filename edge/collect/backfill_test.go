package collect_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/edge/collect"
	"gnomon/edge/collect/storetest"
	"gnomon/schema"
	"gnomon/schema/reading"
)

// A meter that was dead for three hours has all its slots a quarter of an hour
// after it is back, in few reads, and the slots of the others weren't disturbed.
func TestBackfill_AfterAnOutage(t *testing.T) {
	inYard(t, func(y *yard) {
		day := midnight.Add(24 * time.Hour)
		y.house.lacks = func(_ string, at time.Time) bool { return at.Before(midnight) }
		y.house.dead = func(meter string, now time.Time) bool {
			return meter == "m2" && now.Sub(midnight) >= 4*time.Hour && now.Sub(midnight) < 7*time.Hour
		}
		y.apply("p", 1, parse(t, 4, `,"backfill":{"at":["+5m"],"days":1,"maxPointsPerRead":20}`))
		y.pass(7*time.Hour + 6*time.Minute)
		for _, m := range []string{"m1", "m2", "m3", "m4"} {
			for at := midnight; at.Before(time.Now()); at = at.Add(15 * time.Minute) {
				v, ok := y.store.At(storetest.Point{Policy: "p", Meter: m, Item: "V", At: at})
				want, _ := reading.ParseNumber(fmt.Sprint(at.Unix() / 60))
				outage := at.Equal(midnight) || m == "m2" && at.Sub(midnight) >= 4*time.Hour && at.Sub(midnight) < 7*time.Hour
				if !ok || v.State != reading.Good || v.Number != want || (v.Source == reading.BackFill) != outage {
					t.Errorf("%s at %v: %+v", m, at, v)
				}
			}
		}
		b := y.report("p").Backfill
		if b.Points != 12+4 || b.Left != 0 || b.Open || b.Error != "" || b.Rounds != 29 {
			t.Errorf("%+v", b)
		}
		reads := 0
		for _, a := range y.house.asks() {
			if a.times == nil {
				continue
			}
			if a.times[0].After(midnight) {
				reads++
			}
			if a.priority != 14 {
				t.Errorf("back-fill with priority %d", a.priority)
			}
		}
		if reads != 1 {
			t.Errorf("%d reads for 12 slots", reads)
		}
		y.pass(time.Until(day))
	})
}

// What a meter doesn't keep is asked for once, and never again.
func TestBackfill_NoDataIsFinal(t *testing.T) {
	inYard(t, func(y *yard) {
		y.house.lacks = func(string, time.Time) bool { return true }
		y.apply("p", 1, parse(t, 2, `,"backfill":{"at":["+5m","00:30"],"days":2}`))
		y.pass(25 * time.Minute)
		_, _, missing, noData := y.count("p")
		if noData != 2*(2*96-3) || missing != 2*3 { // the last hour may still come: 23:30 to 00:00
			t.Errorf("%d values are not kept by meters, %d missing", noData, missing)
		}
		asked := map[time.Time]int{}
		y.pass(3 * time.Hour)
		for _, a := range y.house.asks() {
			for _, at := range a.times {
				if a.meter == "m1" {
					asked[at]++
				}
			}
		}
		for at, n := range asked {
			if old := midnight.Sub(at) > time.Hour; n > 1 && old || n > 7 {
				t.Errorf("%v was asked for %d times", at, n)
			}
		}
		if b := y.report("p").Backfill; b.NoData != 2*2*96 || b.Left != 0 {
			t.Errorf("%+v", b)
		}
	})
}

// A record that a driver panics over costs what was asked for with it, for as often
// as that is asked; not the meter's other gaps, and not the other meters'.
func TestBackfill_FaultOfARecord(t *testing.T) {
	inYard(t, func(y *yard) {
		bad := midnight.Add(-20 * time.Hour)
		y.house.lacks = func(meter string, at time.Time) bool {
			if meter == "m1" && at.Equal(bad) {
				panic("it can't be taken apart")
			}
			return false
		}
		y.apply("p", 1, parse(t, 2, `,"backfill":{"at":["+5m"],"days":1,"maxPointsPerRead":4}`))
		y.pass(10 * time.Minute)
		if _, filled, missing, _ := y.count("p"); missing != 4 || filled < 2*95-4 {
			t.Errorf("%d values filled in after a round, %d missing; want all but the 4 asked for at once with the bad one", filled, missing)
		}
		y.pass(6 * time.Hour)
		tried := 0
		for _, a := range y.house.asks() {
			if a.meter == "m1" && slices.ContainsFunc(a.times, bad.Equal) {
				tried++
			}
		}
		if r := y.report("p"); tried < 2 || tried > 9 || r.Faults != uint64(tried) {
			t.Errorf("tried %d times, %d faults", tried, r.Faults)
		}
	})
}

// Two days of three meters take longer than the time between two slots: the round
// is broken off for each, and goes on after it. No slot comes late.
func TestBackfill_GivesWayToSlots(t *testing.T) {
	inYard(t, func(y *yard) {
		y.house.takes = 20 * time.Second
		y.apply("p", 1, parse(t, 3, `,"period":"5m","backfill":{"at":["+2m"],"days":2,"maxPointsPerRead":10}`))
		y.pass(30 * time.Minute)
		if b := y.report("p").Backfill; !b.Open || b.Rounds != 0 {
			t.Fatalf("%+v: the round ended before its time", b)
		}
		y.pass(2*time.Hour - 30*time.Minute)
		b := y.report("p").Backfill
		if b.Rounds < 1 {
			t.Errorf("%+v: the round never ended", b)
		}
		p := schema.Policy{Period: schema.Duration(5 * time.Minute)}
		slots := p.Slots(midnight.Add(-46*time.Hour), midnight.Add(115*time.Minute), 1000)
		gaps, err := y.store.Gaps(collect.Want{Policy: "p", Meters: map[string][]string{"m1": {"V"}, "m2": {"V"}, "m3": {"V"}}, Slots: slots, Limit: 10})
		if err != nil || len(gaps) > 0 {
			t.Errorf("left open: %v, %v", gaps, err)
		}
		var first []time.Time
		for _, a := range y.house.asks() {
			if a.times == nil && a.meter == "m1" {
				first = append(first, a.began)
			}
		}
		for i, at := range first {
			if late := at.Sub(midnight.Add(time.Duration(i+1) * 5 * time.Minute)); late != 0 {
				t.Errorf("slot %d was read %v late", i+1, late)
			}
		}
	})
}

// Silent meters have a share of the slot, and take turns for it: however many they
// are, all that answer are read.
func TestCycle_SilentShare(t *testing.T) {
	inYard(t, func(y *yard) {
		y.house.silence = 90 * time.Second
		y.house.dead = func(meter string, _ time.Time) bool { return len(meter) == 3 && meter[1] == '2' } // m20 to m29
		y.apply("p", 1, parse(t, 60, `,"silentShare":20`))
		y.pass(15*time.Minute + 12*15*time.Minute + time.Minute)
		asks := map[string]int{}
		for _, a := range y.house.asks() {
			if y.house.dead(a.meter, a.began) && a.began.Sub(midnight) > 31*time.Minute {
				asks[a.meter]++
			}
		}
		if len(asks) != 10 {
			t.Errorf("of ten silent meters these were tried again: %v", asks)
		}
		for m, n := range asks {
			if n > 3 { // 2 of ten in each of 11 slots
				t.Errorf("%s was tried %d times", m, n)
			}
		}
		r := y.report("p")
		// The one overrun is of the first slot, when nothing was known of them.
		if r.Cycle.Success != 50 || r.Cycle.Overruns > 1 || r.Cycle.GivenUp != 8 || r.Cycle.Duration > 4*time.Minute {
			t.Errorf("%+v", r.Cycle)
		}
		if v := r.Readings["m20"]["V"]; v.Quality != collect.Missing || v.Reason != "given-up" && v.Reason != "timeout" {
			t.Errorf("%+v", v)
		}
	})
}

// What there was no time for is first in the next slot.
func TestCycle_EndsWithItsSlot(t *testing.T) {
	inYard(t, func(y *yard) {
		y.house.takes = 50 * time.Second
		y.apply("p", 1, parse(t, 20, `,"period":"10m"`))
		y.pass(39 * time.Minute)
		asks := map[string]int{}
		for _, a := range y.house.asks() {
			asks[a.meter]++
			if slot := a.began.Sub(midnight) / (10 * time.Minute); a.ended.Sub(midnight) >= (slot+1)*10*time.Minute+50*time.Second {
				t.Errorf("%s was read from %v to %v", a.meter, a.began, a.ended)
			}
		}
		for m := range 20 {
			if n := asks[fmt.Sprint("m", m+1)]; n < 1 || n > 2 {
				t.Errorf("m%d was read %d times in three slots with room for twelve: %v", m+1, n, asks)
			}
		}
		if c := y.report("p").Cycle; c.GivenUp != 8 {
			t.Errorf("%+v", c)
		}
	})
}

// What is frozen is read after the slot, and is of the slot.
func TestCycle_Freezes(t *testing.T) {
	inYard(t, func(y *yard) {
		y.house.lacks = func(meter string, _ time.Time) bool {
			return meter == "m2" && time.Since(midnight) < 17*time.Minute
		}
		y.apply("p", 1, parse(t, 2, `,"collect":"freeze","delay":"90s","backfill":{"at":["+5m"],"days":1}`))
		y.pass(17 * time.Minute)
		slot := midnight.Add(15 * time.Minute)
		if got := y.report("p").Readings["m1"]["V"]; !got.At.Equal(slot) || got.Value.Text() != worth(slot).Text() {
			t.Errorf("%+v", got)
		}
		at := storetest.Point{Policy: "p", Meter: "m2", Item: "V", At: slot}
		if v, _ := y.store.At(at); v.State != reading.Missing || v.Reason != "no-value" {
			t.Errorf("%+v: a freeze that may still come", v)
		}
		y.pass(4 * time.Minute)
		if v, _ := y.store.At(at); v.State != reading.Good || v.Source != reading.BackFill {
			t.Errorf("%+v", v)
		}
	})
}

// However a policy is changed, every slot is read once by the version that was in
// force at it, and none is lost as long as a cycle fits in its period.
func TestApply_EverySlotOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type change struct {
			at             time.Duration
			period, delay  int // minutes
			collect, label string
		}
		var changes []change
		at := time.Duration(0)
		for i := range rapid.IntRange(1, 8).Draw(rt, "changes") {
			period := rapid.SampledFrom([]int{5, 10, 15}).Draw(rt, "period")
			changes = append(changes, change{
				at: at, period: period, delay: rapid.IntRange(0, 2).Draw(rt, "delay"),
				collect: rapid.SampledFrom([]string{"current", "freeze"}).Draw(rt, "collect"), label: fmt.Sprint(i),
			})
			at += time.Duration(rapid.IntRange(1, 3000).Draw(rt, "seconds")) * time.Second
		}
		inYard(t, func(y *yard) {
			y.house.takes = time.Duration(rapid.IntRange(1, 30).Draw(rt, "takes")) * time.Second
			for i, c := range changes {
				y.pass(c.at - time.Since(midnight))
				p := parse(t, 2, fmt.Sprintf(`,"period":"%dm","collect":%q,"delay":"%dm%ds","items":[{"name":"V","di":"02010100","format":"XXX.X","unit":%q}]`, c.period, c.collect, c.delay, i+1, c.label))
				y.apply("p", uint64(i+1), p)
			}
			end := at + time.Hour
			y.pass(end - time.Since(midnight))
			for i, c := range changes {
				till := end - 5*time.Minute
				if i+1 < len(changes) {
					till = changes[i+1].at
				}
				p := schema.Policy{Period: schema.Duration(time.Duration(c.period) * time.Minute)}
				for _, slot := range p.Slots(midnight.Add(c.at), midnight.Add(till), 1000) {
					for _, m := range []string{"m1", "m2"} {
						v, ok := y.store.At(storetest.Point{Policy: "p", Meter: m, Item: "V", At: slot})
						if !ok || v.State != reading.Good || v.Put != 1 || v.Version != uint64(i+1) {
							rt.Fatalf("%s at %v is of version %d, put %d times (%+v), want once of version %d: %+v", m, slot, v.Version, v.Put, v.Value, i+1, changes)
						}
					}
				}
			}
		})
	})
}

// Policies of one port that need more time than there is are refused with numbers,
// and the others named; what ran goes on.
func TestApply_Crowded(t *testing.T) {
	inYard(t, func(y *yard) {
		big := func(n int, period string) *schema.Policy {
			return parse(t, n, `,"source":{"kind":"dlt645-tcp","address":"h:26","pause":"500ms"},"period":"`+period+`"`)
		}
		y.apply("a", 1, big(60, "1m")) // 52 %
		y.apply("b", 1, big(60, "2m")) // 26 %
		err := y.engine.Apply("c", 1, big(60, "90s"))
		if err == nil {
			t.Fatal("taken, though the port is full")
		}
		for _, says := range []string{"no room on the port h:26", "c with 31.2s of every 1m30s (35 %)", "a with 31.2s of every 1m0s (52 %)", "b with 31.2s of every 2m0s (26 %)", "are 113 % of the time"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%v does not say %q", err, says)
			}
		}
		if err := y.engine.Apply("b", 2, big(60, "1m")); err == nil || y.report("b").Version != 1 {
			t.Errorf("%v, version %d: the former isn't in force any more", err, y.report("b").Version)
		}
		y.engine.Remove("a")
		y.apply("c", 1, big(60, "90s"))
		y.pass(2*time.Minute + time.Second)
		if slices.IndexFunc(y.house.asks(), func(a ask) bool { return a.began.Sub(midnight) == 2*time.Minute }) < 0 {
			t.Error("b doesn't run")
		}
	})
}
