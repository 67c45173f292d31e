package collect

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/schema"
)

func TestNextSlot_Table(t *testing.T) {
	const h, m, s, ms = time.Hour, time.Minute, time.Second, time.Millisecond
	for _, c := range []struct {
		now           string
		period, align time.Duration
		want          string
	}{
		{"2026-03-01T10:07:31Z", 15 * m, 0, "2026-03-01T10:15:00Z"},
		{"2026-03-01T10:15:00Z", 15 * m, 0, "2026-03-01T10:30:00Z"}, // strictly after
		{"2026-03-01T10:14:59.999999999Z", 15 * m, 0, "2026-03-01T10:15:00Z"},
		{"2026-03-01T10:15:00Z", 15 * m, 2 * m, "2026-03-01T10:17:00Z"},
		{"2026-03-01T10:17:00Z", 15 * m, 2 * m, "2026-03-01T10:32:00Z"},
		{"2026-03-01T10:07:00Z", 15 * m, 15 * m, "2026-03-01T10:15:00Z"}, // a whole period off is none
		{"2026-03-01T23:59:59Z", 24 * h, 0, "2026-03-02T00:00:00Z"},
		{"2026-03-01T05:59:59Z", 24 * h, 6 * h, "2026-03-01T06:00:00Z"},
		{"2026-03-01T06:00:00Z", 24 * h, 6 * h, "2026-03-02T06:00:00Z"},
		{"2026-03-01T10:00:00.05Z", 100 * ms, 0, "2026-03-01T10:00:00.1Z"},
		{"2026-03-01T12:00:01+02:00", 1 * h, 0, "2026-03-01T11:00:00Z"},
		{"1970-01-01T00:00:00Z", 10 * s, 3 * s, "1970-01-01T00:00:03Z"}, // a clock that was never set
		{"1970-01-01T00:00:00Z", 10 * s, 0, "1970-01-01T00:00:10Z"},
		{"1969-12-31T23:59:55Z", 10 * s, 0, "1970-01-01T00:00:00Z"},
		{"1969-12-31T23:59:50Z", 10 * s, 0, "1970-01-01T00:00:00Z"},
	} {
		now, want := parse(t, c.now), parse(t, c.want)
		if got := NextSlot(now, c.period, c.align); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("NextSlot(%s, %v, %v) = %s, want %s", c.now, c.period, c.align, got, c.want)
		}
	}
}

func TestNextSlot_AlignedAndNear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, rapid.Int64Range(-1e18, 4e18).Draw(t, "now"))
		period := time.Duration(rapid.Int64Range(1e8, 24*3600*1e9).Draw(t, "period"))
		align := time.Duration(rapid.Int64Range(0, int64(period)).Draw(t, "align"))
		slot := NextSlot(now, period, align)
		if ahead := slot.Sub(now); ahead <= 0 || ahead > period {
			t.Fatalf("the next slot is %v away, the period is %v", ahead, period)
		}
		if off := (slot.UnixNano() - int64(align)) % int64(period); off != 0 {
			t.Fatalf("%v off the grid", time.Duration(off))
		}
		if again := NextSlot(slot, period, align); again.Sub(slot) != period {
			t.Fatalf("the slot after is %v away", again.Sub(slot))
		}
	})
}

func TestInWindow_Table(t *testing.T) {
	for _, c := range []struct {
		windows []schema.Window
		clock   string
		want    bool
	}{
		{nil, "03:00:00", true},
		{[]schema.Window{"08:00-12:00"}, "07:59:59", false},
		{[]schema.Window{"08:00-12:00"}, "08:00:00", true},
		{[]schema.Window{"08:00-12:00"}, "11:59:59.9", true},
		{[]schema.Window{"08:00-12:00"}, "12:00:00", false},
		{[]schema.Window{"22:00-06:00"}, "21:59:59", false}, // over midnight
		{[]schema.Window{"22:00-06:00"}, "22:00:00", true},
		{[]schema.Window{"22:00-06:00"}, "23:59:59", true},
		{[]schema.Window{"22:00-06:00"}, "00:00:00", true},
		{[]schema.Window{"22:00-06:00"}, "05:59:59", true},
		{[]schema.Window{"22:00-06:00"}, "06:00:00", false},
		{[]schema.Window{"22:00-24:00"}, "23:59:59", true},
		{[]schema.Window{"22:00-24:00"}, "00:00:00", false},
		{[]schema.Window{"00:00-24:00"}, "00:00:00", true},
		{[]schema.Window{"00:00-24:00"}, "23:59:59.999999999", true},
		{[]schema.Window{"24:00-01:00"}, "00:30:00", true},
		{[]schema.Window{"24:00-01:00"}, "23:30:00", false},
		{[]schema.Window{"08:00-09:00", "20:00-21:00"}, "20:30:00", true},
		{[]schema.Window{"08:00-09:00", "20:00-21:00"}, "12:00:00", false},
		{[]schema.Window{"nonsense", "20:00-21:00"}, "20:30:00", true},
		{[]schema.Window{"nonsense"}, "20:30:00", false}, // what can't be read allows nothing
	} {
		at := parse(t, "2026-03-01T"+c.clock+"Z")
		if got := InWindow(at, c.windows); got != c.want {
			t.Errorf("InWindow(%s, %v) = %v", c.clock, c.windows, got)
		}
		// The same moment elsewhere: windows are in UTC.
		if got := InWindow(at.In(time.FixedZone("", 5*3600)), c.windows); got != c.want {
			t.Errorf("InWindow(%s in another zone, %v) = %v", c.clock, c.windows, got)
		}
	}
}

func TestReason_Words(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{ErrTimeout, "timeout"},
		{ErrLink, "link"},
		{ErrGarbled, "garbled"},
		{ErrException, "exception"},
		{ErrNotNumber, "not-a-number"},
		{ErrSkipped, "skipped"},
		{context.DeadlineExceeded, "overrun"},
		{context.Canceled, "stopped"},
		{errors.New("something else"), "error"},
		{nil, "error"}, // a driver that left an item out
	} {
		if got := Reason(c.err); got != c.want {
			t.Errorf("Reason(%v) = %s, want %s", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		wrapped := fmt.Errorf("meter: %w", errors.Join(errors.New("first"), c.err))
		if got := Reason(wrapped); got != c.want {
			t.Errorf("Reason(%v) = %s, want %s", wrapped, got, c.want)
		}
	}
}

func parse(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
