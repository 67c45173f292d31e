package override

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestLease(t *testing.T) {
	const h = time.Hour
	type look struct {
		boot string
		up   time.Duration
		wall time.Time
		left time.Duration
		ends time.Time
	}
	for name, looks := range map[string][]look{
		"in one boot": {{"a", 1 * h, noon, 2 * h, noon.Add(2 * h)}, {"a", 2 * h, noon.Add(h), h, noon.Add(2 * h)}, {"a", 3 * h, noon.Add(2 * h), 0, noon.Add(2 * h)}},
		"the clock is set forward": {{"a", 1 * h, noon, 2 * h, noon.Add(2 * h)},
			{"a", 2 * h, noon.AddDate(5, 0, 0), h, noon.AddDate(5, 0, 0).Add(h)}},
		"the clock is set back": {{"a", 1 * h, noon, 2 * h, noon.Add(2 * h)}, {"a", 2 * h, noon.AddDate(-5, 0, 0), h, noon.AddDate(-5, 0, 0).Add(h)}},
		"off for a while": {{"a", 1 * h, noon, 2 * h, noon.Add(2 * h)},
			{"b", time.Minute, noon.Add(h), h, noon.Add(2 * h)}, {"b", time.Minute + h, noon.Add(2 * h), 0, noon.Add(2 * h)}},
		"off for days": {{"a", 1 * h, noon, 2 * h, noon.Add(2 * h)}, {"b", time.Minute, noon.AddDate(0, 0, 3), 0, noon.AddDate(0, 0, 3)}},
		"off for days, without a battery": {{"a", 1 * h, noon, 2 * h, noon.Add(2 * h)},
			{"b", h, time.Unix(0, 0), h, time.Unix(0, 0).Add(h)}, {"b", h + h/2, noon.AddDate(0, 0, 3), 0, noon.AddDate(0, 0, 3)}},
		"never a right clock": {{"a", 1 * h, noon, 2 * h, noon.Add(2 * h)},
			{"b", h, time.Unix(0, 0), h, time.Unix(0, 0).Add(h)}, {"c", h, time.Unix(0, 0), 0, time.Unix(0, 0)}},
		"set right before the reboot": {{"a", 1 * h, time.Unix(0, 0), 2 * h, time.Unix(0, 0).Add(2 * h)},
			{"a", 2 * h, noon, h, noon.Add(h)}, {"b", time.Minute, noon.Add(time.Minute), 59 * time.Minute, noon.Add(h)}},
	} {
		t.Run(name, func(t *testing.T) {
			first := looks[0]
			l := grant(2*h, Moment{first.wall, first.boot, first.up})
			for i, k := range looks {
				now := Moment{k.wall, k.boot, k.up}
				l = l.at(now)
				if got := l.left(now); got != k.left || !l.Ends.Equal(k.ends) {
					t.Errorf("look %d: %s left, ends %s; want %s, %s", i, got, l.Ends, k.left, k.ends)
				}
			}
		})
	}
}

// Whatever the wall clock does and however often the node boots: a lease never
// lasts longer than granted while the node runs, never gets longer, and in the
// boot it was granted in it lasts exactly as long.
func TestLease_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		granted := time.Duration(rapid.IntRange(1, 1000).Draw(t, "granted")) * time.Minute
		now := Moment{Wall: noon, Boot: "0", Up: time.Hour}
		l := grant(granted, now)
		ran, left := time.Duration(0), granted
		for i := range rapid.IntRange(1, 20).Draw(t, "looks") {
			passed := time.Duration(rapid.IntRange(0, 300).Draw(t, "passed")) * time.Minute
			if rapid.Bool().Draw(t, "reboot") {
				now.Boot, now.Up = string(rune('a'+i)), 0
			}
			now.Up += passed
			ran += passed
			now.Wall = now.Wall.Add(time.Duration(rapid.IntRange(-500, 500).Draw(t, "wall")) * time.Minute)
			l = l.at(now)
			got := l.left(now)
			if most := max(0, granted-ran); got > most {
				t.Fatalf("%s left after %s of %s", got, ran, granted)
			} else if now.Boot == "0" && got != most {
				t.Fatalf("%s left after %s of %s in one boot", got, ran, granted)
			}
			if l.Granted-l.Used > left {
				t.Fatalf("the time granted grew from %s to %s", left, l.Granted-l.Used)
			}
			left = l.Granted - l.Used
		}
	})
}

// What is reported doesn't waver when two clocks drift apart by a little.
func TestLease_EndIsSteady(t *testing.T) {
	now := Moment{noon, "a", time.Hour}
	l := grant(time.Hour, now)
	for i := range 100 {
		now.Up += time.Second
		now.Wall = now.Wall.Add(time.Second + time.Duration(i%3-1)*300*time.Millisecond)
		if l = l.at(now); !l.Ends.Equal(noon.Add(time.Hour)) || !l.At.Equal(noon) {
			t.Fatalf("after %d s: from %s to %s", i, l.At, l.Ends)
		}
	}
}
