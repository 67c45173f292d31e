package schema

import "time"

// Offset is how far the clock of the policy's zone is ahead of UTC.
func (p *Policy) Offset() time.Duration {
	d, _ := zoneOffset(p.Zone) // checked before
	return d
}

// NextSlot returns the first slot after t.
func (p *Policy) NextSlot(t time.Time) time.Time {
	return NextSlot(t, p.Period.D(), p.Align.D()-p.Offset())
}

// InWindow tells whether a slot is one that the policy reads.
func (p *Policy) InWindow(slot time.Time) bool {
	return InWindow(slot.Add(p.Offset()), p.Windows)
}

// Slots returns the slots after one time and up to another that the policy reads,
// ascending: the last ones, if they are more than most.
func (p *Policy) Slots(after, upTo time.Time, most int) []time.Time {
	if first := upTo.Add(-time.Duration(most) * p.Period.D()); first.After(after) {
		after = first
	}
	var all []time.Time
	for t := p.NextSlot(after); !t.After(upTo); t = t.Add(p.Period.D()) {
		if p.InWindow(t) {
			all = append(all, t)
		}
	}
	return all
}

// Daily tells whether all slots are midnights by the clock of the zone, at which
// meters freeze once a day.
func (p *Policy) Daily() bool { return p.Period.D()%(24*time.Hour) == 0 && p.Align == 0 }

// NextSlot returns the first time after now that is align past a whole number
// of periods since 1970.
func NextSlot(now time.Time, period, align time.Duration) time.Time {
	p := int64(period)
	since := now.UnixNano() - int64(align)
	n := since / p
	if since < 0 && since%p != 0 {
		n--
	}
	return time.Unix(0, (n+1)*p+int64(align)).UTC()
}

// InWindow tells whether t, in UTC, lies in one of the windows; none means always.
func InWindow(t time.Time, windows []Window) bool {
	if len(windows) == 0 {
		return true
	}
	t = t.UTC()
	clock := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	for _, w := range windows {
		start, end, err := w.Bounds()
		if err != nil {
			continue // refused before it got here
		}
		if start <= end && start <= clock && clock < end || start > end && (clock >= start || clock < end) {
			return true
		}
	}
	return false
}
