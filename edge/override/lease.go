package override

import "time"

// Moment is the time on all the clocks that a lease looks at.
type Moment struct {
	Wall time.Time
	Boot string        // identifies this run of the node's kernel
	Up   time.Duration // since then, suspended or not; nobody can set it
}

// lease is a time granted. In the boot it was granted in it counts by the clock
// of the boot alone, which is exact and can't be set; the moment of its end on the
// wall clock follows when that is set. How long the node was off after that only
// the wall clock can say, and it may be wrong: so in later boots the lease ends
// with the earlier of
//
//   - the moment on the wall clock, as it was known in the first boot;
//   - the time granted, counted only while the node runs.
//
// A wall clock that is slow, as that of a node without a battery, so prolongs a
// lease by at most the time that the node was off, and one that is fast ends it
// early, but only after a reboot.
type lease struct {
	Granted time.Duration `json:"granted"`
	Used    time.Duration `json:"used"` // as far as it is counted
	Boot    string        `json:"boot"` // that it is counted in
	Up      time.Duration `json:"up"`   // of that boot, up to which it is counted

	Home  string        `json:"home"`  // the boot it was granted in
	Since time.Duration `json:"since"` // of that boot, at which it was granted
	At    time.Time     `json:"at"`    // the same by the wall clock, and
	Until time.Time     `json:"until"` // its end, as both were known last in that boot
	Ends  time.Time     `json:"ends"`  // as is to be expected now
}

func grant(d time.Duration, now Moment) lease {
	at := now.Wall.Round(0).UTC()
	return lease{Granted: d, Boot: now.Boot, Up: now.Up, Home: now.Boot, Since: now.Up, At: at, Until: at.Add(d), Ends: at.Add(d)}
}

// at counts the lease up to now.
func (l lease) at(now Moment) lease {
	since := l.Up
	if now.Boot != l.Boot { // what was used of the last boot since it was counted is lost
		since = 0
	}
	l.Used += max(0, now.Up-since)
	l.Boot, l.Up = now.Boot, now.Up
	if now.Boot == l.Home {
		l.At = steady(l.At, now.Wall.Add(l.Since-now.Up))
		l.Until = steady(l.Until, now.Wall.Add(l.Granted-l.Used))
	}
	l.Ends = steady(l.Ends, now.Wall.Add(l.left(now)))
	return l
}

// left is how much of a lease that was counted up to now is left; it is over at 0.
func (l lease) left(now Moment) time.Duration {
	left := l.Granted - l.Used
	if now.Boot != l.Home {
		left = min(left, l.Until.Sub(now.Wall))
	}
	return max(0, left)
}

// steady keeps a moment that is reported from wavering with the difference
// between two clocks.
func steady(known, now time.Time) time.Time {
	if d := now.Sub(known); d > -2*time.Second && d < 2*time.Second {
		return known
	}
	return now.Round(0).UTC()
}
