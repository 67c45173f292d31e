package workload

import (
	"fmt"
	"strconv"
	"strings"
)

// RangeSize is how many users a container with users of its own has, and how many
// groups: those that numbers of 16 bits can name, which images keep to.
const RangeSize = 1 << 16

// Range is a row of users of the node, and the row of groups with the same numbers.
type Range struct {
	Start uint32 `json:"start"`
	Count uint32 `json:"count"`
}

// DefaultSubIDs is what containers of a node that says nothing of it have their
// users from: 256 ranges, beyond those of people, services, /etc/subuid and
// systemd's containers, and below what some programs take for negative.
func DefaultSubIDs() Range { return Range{Start: 1_900_000_000, Count: 256 * RangeSize} }

// BaseAttr is the extended attribute of a directory that a container keeps: the
// number that the owners of what is in it are counted from, in decimal. Without it
// they are the node's own users.
const BaseAttr = "trusted.gnomon.base"

// Bounds of the numbers a node may give away.
const (
	minSubID = 100_000 // below it are people, services, and host applications with a user of their own
	maxSubID = 1<<31 - 1
)

// ParseRange reads START:COUNT.
func ParseRange(s string) (Range, error) {
	start, count, ok := strings.Cut(s, ":")
	a, err1 := strconv.ParseUint(start, 10, 32)
	n, err2 := strconv.ParseUint(count, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return Range{}, fmt.Errorf("%q is not START:COUNT, such as %s", s, DefaultSubIDs())
	}
	return Range{Start: uint32(a), Count: uint32(n)}, nil
}

func (r Range) String() string { return fmt.Sprintf("%d:%d", r.Start, r.Count) }

// End is the first number beyond.
func (r Range) End() uint64 { return uint64(r.Start) + uint64(r.Count) }

// Check refuses what containers can't have their users from.
func (r Range) Check() error {
	switch {
	case r.Start < minSubID:
		return fmt.Errorf("%s: START must be at least %d: below it are users of the node", r, minSubID)
	case r.End() > maxSubID+1:
		return fmt.Errorf("%s: START+COUNT must be at most %d", r, maxSubID+1)
	case r.Count == 0 || r.Count%RangeSize != 0:
		return fmt.Errorf("%s: COUNT must be a multiple of %d, which one application has", r, RangeSize)
	}
	return nil
}

// Overlaps tells whether any user is in both.
func (r Range) Overlaps(o Range) bool {
	return uint64(r.Start) < o.End() && uint64(o.Start) < r.End()
}

// Holds tells whether all of another range is in this one.
func (r Range) Holds(o Range) bool { return r.Start <= o.Start && o.End() <= r.End() }
