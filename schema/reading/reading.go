package reading

import "time"

// Source says how a row came to be read.
type Source uint8

// The sources.
const (
	Cycle    Source = iota + 1 // in its slot
	BackFill                   // later, from what the meter keeps
	Demand                     // because somebody asked
	Pushed                     // sent by the meter or its CCO unasked
)

// State says whether there is a value.
type State uint8

// The states.
const (
	Absent  State = iota // the meter has no such item, or it wasn't asked for
	Good                 // Number is the value
	Missing              // it was asked for in vain, for Reason
)

// Number is Mantissa × 10^Exponent, with no trailing zero in Mantissa: the exact
// decimal that a meter shows. What has more than 18 digits is rounded to them.
// Bits and switches are 0 and 1.
type Number struct {
	Mantissa int64
	Exponent int16 // −400 to 400; 0 when Mantissa is
}

// Value is that of one item of one meter at one time.
type Value struct {
	State  State
	Number Number // when Good
	Reason string // when Missing: a stable word such as timeout, 1 to 32 of [a-z0-9-]
}

// Row is what one meter had at one time. At and the meter identify it within a
// policy: a value is told once, whatever comes again.
type Row struct {
	Meter   string    // its ID within the policy
	At      time.Time // the time that the values are of: a freeze or the slot; UTC, whole milliseconds
	Arrived time.Time // when they reached the node, by its clock; UTC, whole milliseconds
	Source  Source
	Values  []Value // as many as the batch has Items, in their order
}

// Batch is what a node reports of one policy in one message. Its rows are in
// order of time, then of meter (Sort), each once.
type Batch struct {
	ID      uint64 // the node's own, rising; comes back in the answer
	Policy  string // without collect:
	Version uint64 // of the policy's shadow when the rows were read
	Items   []string
	Rows    []Row
}

// Limits of a batch.
const (
	MaxRows   = 4096
	MaxItems  = 500
	MaxValues = 64 << 10 // rows times items
	MaxBytes  = 64 << 10 // encoded
)
