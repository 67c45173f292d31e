package shadow

import (
	"errors"
	"fmt"
)

var (
	// ErrVersionConflict: the update names a version that is not the current one.
	ErrVersionConflict = errors.New("version conflict")
	// ErrNotFound: there is no such shadow, or it has been deleted.
	ErrNotFound = errors.New("no such shadow")
	// ErrStaleReport: an ordered report that is not newer than the last one taken.
	ErrStaleReport = errors.New("stale report")
	// ErrEncoding: a text that is not UTF-8; it is an *InvalidError.
	ErrEncoding error = &InvalidError{Message: "Unsupported documented encoding; supported encoding is UTF-8"}
	// ErrCorrupt: a stored record doesn't check out.
	ErrCorrupt = errors.New("corrupt shadow record")
)

// InvalidError says why a request is malformed, in the words of the contract.
type InvalidError struct {
	Message string
	Detail  string // where, when it is known; for logs and native clients
}

func (e *InvalidError) Error() string {
	if e.Detail == "" {
		return e.Message
	}
	return e.Message + ": " + e.Detail
}

// LimitError says which limit an input goes over.
type LimitError struct {
	Field string // what is bounded: "body", "state", "depth", "shadows"
	Limit int
	Got   int // for depth: the first level over the limit
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s is %d, the limit is %d", e.Field, e.Got, e.Limit)
}

// Limits bound a document and what is sent to change it. Fields that are not
// positive take the value of DefaultLimits; Depth is at most MaxDepth.
type Limits struct {
	StateBytes int // compact JSON of desired and reported together, after the merge
	Depth      int // levels of nesting below state; desired and reported are level 1, empty containers none
	BodyBytes  int // one request as received
}

// DefaultLimits are those of the design; the AWS service has 8 KiB and depth 6.
var DefaultLimits = Limits{StateBytes: 64 << 10, Depth: 8, BodyBytes: 128 << 10}

// MaxDepth bounds Limits.Depth, and with it every recursion over a Value.
const MaxDepth = 128

func (l Limits) withDefaults() Limits {
	if l.StateBytes <= 0 {
		l.StateBytes = DefaultLimits.StateBytes
	}
	if l.Depth <= 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.BodyBytes <= 0 {
		l.BodyBytes = DefaultLimits.BodyBytes
	}
	l.Depth = min(l.Depth, MaxDepth)
	return l
}

// maxClientToken is the contract's bound on a client token, in bytes.
const maxClientToken = 64
