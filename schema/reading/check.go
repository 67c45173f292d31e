package reading

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of batches. They are wrapped with what is wrong where.
var (
	ErrInvalid  = errors.New("not a valid batch of readings")
	ErrTooLarge = errors.New("batch of readings too large") // encoded; send it in two
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Compare orders the rows of a batch: by time, then by meter.
func (r *Row) Compare(other *Row) int {
	return cmp.Or(r.At.Compare(other.At), cmp.Compare(r.Meter, other.Meter))
}

// Sort brings the rows into the order in which they are encoded: by time, then by
// meter.
func (b *Batch) Sort() {
	slices.SortStableFunc(b.Rows, func(x, y Row) int { return x.Compare(&y) })
}

// Check tells what is wrong with a batch; nil if nothing is. Its rows are in
// order, each once.
func (b *Batch) Check() error {
	switch {
	case !ValidID(b.Policy):
		return invalid("policy %q: must be %s", b.Policy, IDRule)
	case len(b.Items) == 0 || len(b.Items) > MaxItems:
		return invalid("items: %d, must be 1 to %d", len(b.Items), MaxItems)
	case len(b.Rows) == 0 || len(b.Rows) > MaxRows:
		return invalid("rows: %d, must be 1 to %d", len(b.Rows), MaxRows)
	case len(b.Rows)*len(b.Items) > MaxValues:
		return invalid("values: %d rows of %d items, must be %d at most", len(b.Rows), len(b.Items), MaxValues)
	}
	seen := make(map[string]bool, len(b.Items))
	for i, item := range b.Items {
		if !ValidID(item) {
			return invalid("items[%d] %q: must be %s", i, item, IDRule)
		}
		if seen[item] {
			return invalid("items[%d] %q: is there twice", i, item)
		}
		seen[item] = true
	}
	for i := range b.Rows {
		if i > 0 && b.Rows[i-1].Compare(&b.Rows[i]) >= 0 {
			return invalid("rows[%d]: must come before the one before it, by time and meter, or is there twice", i)
		}
		if err := b.Rows[i].check(len(b.Items)); err != nil {
			return fmt.Errorf("%w, in rows[%d] of meter %.64q", err, i, b.Rows[i].Meter)
		}
	}
	return nil
}

func (r *Row) check(items int) error {
	switch {
	case !ValidID(r.Meter):
		return invalid("meter: must be %s", IDRule)
	case !validTime(r.At):
		return invalid("at %v: must be whole milliseconds of the years 1 to 9999 in UTC", r.At)
	case !validTime(r.Arrived):
		return invalid("arrived %v: must be whole milliseconds of the years 1 to 9999 in UTC", r.Arrived)
	case r.Source < Cycle || r.Source > Pushed:
		return invalid("source %d: must be %d to %d", r.Source, Cycle, Pushed)
	case len(r.Values) != items:
		return invalid("values: %d, must be as many as the %d items", len(r.Values), items)
	}
	for i := range r.Values {
		if v := &r.Values[i]; !v.valid() {
			return invalid("values[%d] %+v: is no value", i, *v)
		}
	}
	return nil
}

func (v *Value) valid() bool {
	switch v.State {
	case Good:
		return v.Reason == "" && v.Number.valid()
	case Missing:
		return v.Number == Number{} && ValidReason(v.Reason)
	default:
		return *v == Value{}
	}
}

const (
	firstMilli = -62135596800000 // of the year 1
	lastMilli  = 253402300799999 // of the year 9999
)

func validTime(t time.Time) bool {
	ms := t.UnixMilli()
	return ms >= firstMilli && ms <= lastMilli && t.Nanosecond()%int(time.Millisecond) == 0 && t.Location() == time.UTC
}

// Milli brings a time into the form that rows have: UTC, whole milliseconds.
func Milli(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

// IDRule describes ValidID in words, for error messages.
const IDRule = "1 to 64 of letters, digits and ._-"

// ValidID tells whether s may name a policy, a meter or an item.
func ValidID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ValidReason tells whether s may say why a value is missing.
func ValidReason(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return true
}
