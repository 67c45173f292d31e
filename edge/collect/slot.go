package collect

import (
	"time"

	"gnomon/schema"
)

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

// InWindow tells whether t lies in one of the windows; none means always.
func InWindow(t time.Time, windows []schema.Window) bool {
	if len(windows) == 0 {
		return true
	}
	t = t.UTC()
	clock := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	for _, w := range windows {
		start, end, err := w.Bounds()
		if err != nil {
			continue // refused by schema before it got here
		}
		if start <= end && start <= clock && clock < end || start > end && (clock >= start || clock < end) {
			return true
		}
	}
	return false
}
