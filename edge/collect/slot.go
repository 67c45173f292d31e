package collect

import (
	"time"

	"gnomon/schema"
)

// NextSlot returns the first time after now that is align past a whole number
// of periods since 1970.
func NextSlot(now time.Time, period, align time.Duration) time.Time {
	return schema.NextSlot(now, period, align)
}

// InWindow tells whether t lies in one of the windows; none means always.
func InWindow(t time.Time, windows []schema.Window) bool { return schema.InWindow(t, windows) }
