package collect

import (
	"context"
	"errors"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// Driver speaks one family of protocols. Methods are safe for concurrent use;
// calls for one port queue up within the driver, by Request.Priority.
type Driver interface {
	// Poll reads items of one meter. Every item is in the result, with a value
	// or with the reason why there is none. The error is the first thing that
	// went wrong with the meter as a whole.
	Poll(ctx context.Context, r Request) (Result, error)

	// Release closes a source's port: no policy uses it any more.
	Release(s schema.Source)
}

// Cycler is a Driver that reads several meters at once, and wants to know when a
// cycle begins and ends.
type Cycler interface {
	Driver

	// Begin prepares for a cycle, which ends with done. If it fails no meter can
	// be read, and done is nil.
	Begin(ctx context.Context, c Round) (done func(), err error)
}

// Historian is a Driver of meters that keep what they measured.
type Historian interface {
	Driver

	// Recall reads what a meter keeps of items at some times. Every time has every
	// item, with a value or with the reason why there is none: ErrNoData is said
	// only where the meter has answered that it keeps nothing of that time, and its
	// clock is past it; what may be to come is ErrNoValue. The error is the first
	// thing that went wrong with the meter as a whole.
	Recall(ctx context.Context, r Recall) (Recalled, error)
}

// Recall is a request for what a meter had at some times.
type Recall struct {
	Request
	Times []time.Time   // ascending, each once, whole minutes
	Now   time.Time     // by the node's clock
	Step  time.Duration // between slots, which Times are some of
	Zone  time.Duration // how far the meter's clock is ahead of UTC
	Daily bool          // Times are midnights by that clock, at which meters freeze once a day
}

// Recalled is what became of a Recall.
type Recalled struct {
	Rows    []map[string]Value // of each of its Times, by item name
	Frames  int                // as of Result
	Answers int
}

// Round is a cycle that is about to begin.
type Round struct {
	Source schema.Source
	Meters []schema.Meter // of all policies that share the port
}

// Request is one meter's turn.
type Request struct {
	Source   schema.Source
	Meter    schema.Meter
	Items    []schema.Item
	Priority int  // of those that wait for the port, the lowest is next
	Demand   bool // somebody waits for it: it goes ahead of whatever is read in cycles, as far as the protocol can
}

// Result is what became of a Request.
type Result struct {
	Values  map[string]Value // by item name
	Frames  int              // requests sent on the line, repeated ones included
	Answers int              // frames that came back and fit
}

// Value is an item's value, or why there is none.
type Value struct {
	Value *shadow.Value // a Number or Bool; nil = missing
	At    time.Time     // when it was read, or found missing
	Err   error         // why it is missing
}

// NoValues says of items that they have no value, and why.
func NoValues(values map[string]Value, items []schema.Item, err error, at time.Time) {
	for _, it := range items {
		values[it.Name] = Value{At: at, Err: err}
	}
}

// The reasons for which values are missing. Drivers wrap them.
var (
	ErrTimeout   = errors.New("no answer")
	ErrLink      = errors.New("port unavailable")
	ErrGarbled   = errors.New("garbled answer")
	ErrException = errors.New("refused by the meter")
	ErrNotNumber = errors.New("not a number")
	ErrNoValue   = errors.New("the meter has no value")
	ErrSkipped   = errors.New("skipped: the meter has not answered lately")
	ErrBusy      = errors.New("busy") // something on the way to the meter is taken
	ErrNoData    = errors.New("the meter keeps no such data")
	ErrGivenUp   = errors.New("not asked: silent meters have had their share of the slot")

	ErrCredentials = errors.New("credentials") // those that the node has can't be used, or aren't accepted
)

// NoData is the reason of values that a meter doesn't keep: they are never asked
// for again.
const NoData = "no-data"

// Reason returns the stable word for an error, for reports.
func Reason(err error) string {
	for _, r := range []struct {
		err  error
		word string
	}{
		{ErrTimeout, "timeout"}, {ErrLink, "link"}, {ErrGarbled, "garbled"}, {ErrException, "exception"},
		{ErrNotNumber, "not-a-number"}, {ErrNoValue, "no-value"}, {ErrSkipped, "skipped"}, {ErrBusy, "busy"},
		{ErrNoData, NoData}, {ErrFault, "fault"}, {ErrGivenUp, "given-up"}, {ErrCredentials, "credentials"}, {context.DeadlineExceeded, "overrun"}, {context.Canceled, "stopped"},
	} {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return NoReason
}

// NoReason is the word for an error that is none of the reasons.
const NoReason = "error"
