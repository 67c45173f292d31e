package reading

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrMessage is what is said of a message about readings that can't be read.
var ErrMessage = errors.New("not a valid message about readings")

// Read asks a node for what a meter has.
type Read struct {
	ID       string   `json:"id"` // comes back in the answer; 1 to 64 of letters, digits and ._-
	Policy   string   `json:"policy"`
	Meter    string   `json:"meter"`
	Items    []string `json:"items,omitempty"` // none: all that the policy reads of it
	Live     bool     `json:"live,omitempty"`  // from the meter, ahead of what is read in cycles; else what the node has, the latest
	Deadline int64    `json:"deadline"`        // milliseconds from its arrival within which it must be answered, 1 to MaxDeadline
}

// Answer is what became of a Read.
type Answer struct {
	ID     string               `json:"id"`
	Error  *Refusal             `json:"error,omitempty"`  // why nothing, or not everything, was read
	Values map[string]ReadValue `json:"values,omitempty"` // by item
}

// ReadValue is what a Read found of one item: a value, or why there is none.
type ReadValue struct {
	Value   *Number   `json:"value,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of one that is missing
	At      time.Time `json:"at"`               // the time that it is of
	Arrived time.Time `json:"arrived"`          // when it reached the node, by its clock
	Source  Source    `json:"source"`
}

// Refusal says why a meter was not read.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Codes of a Refusal.
const (
	RefusedInvalid = "invalid"  // the request can't be read
	RefusedUnknown = "unknown"  // no such policy, meter or item
	RefusedBusy    = "busy"     // too many are being read; another attempt may do
	RefusedLate    = "deadline" // it took longer than it may
	RefusedFailed  = "failed"   // the meter could not be read
	RefusedNone    = "none"     // the node has nothing of it
)

// Limits of a Read and an Answer.
const (
	MaxDeadline = int64(10 * time.Minute / time.Millisecond)
	maxRead     = 40 << 10 // bytes
	MaxAnswer   = 160 << 10
)

// Check tells what is wrong with a request. The error is ErrMessage.
func (r *Read) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrMessage, fmt.Sprintf(format, args...))
	}
	switch {
	case !ValidID(r.ID):
		return bad("id %.70q: must be %s", r.ID, IDRule)
	case !ValidID(r.Policy):
		return bad("policy %.70q: must be %s", r.Policy, IDRule)
	case !ValidID(r.Meter):
		return bad("meter %.70q: must be %s", r.Meter, IDRule)
	case len(r.Items) > MaxItems:
		return bad("items: %d, must be %d at most", len(r.Items), MaxItems)
	case r.Deadline < 1 || r.Deadline > MaxDeadline:
		return bad("deadline %d: must be 1 to %d milliseconds", r.Deadline, MaxDeadline)
	}
	for i, item := range r.Items {
		if !ValidID(item) {
			return bad("items[%d] %.70q: must be %s", i, item, IDRule)
		}
	}
	return nil
}

// Append appends the request as JSON.
func (r *Read) Append(dst []byte) []byte {
	text, _ := json.Marshal(r) // strings and numbers
	return append(dst, text...)
}

// ParseRead reads a request. The error is ErrMessage; r.ID is there if it could
// be found, so that it can be refused by it.
func ParseRead(body []byte) (r Read, err error) {
	if err := parse(body, maxRead, &r); err != nil {
		return r, err
	}
	return r, r.Check()
}

// Append appends the answer as JSON.
func (a *Answer) Append(dst []byte) []byte {
	text, err := json.Marshal(a)
	if err != nil { // a time that no clock shows
		text, _ = json.Marshal(Answer{ID: a.ID, Error: &Refusal{RefusedFailed, err.Error()}})
	}
	return append(dst, text...)
}

// ParseAnswer reads an answer. The error is ErrMessage.
func ParseAnswer(body []byte) (a Answer, err error) {
	if err := parse(body, MaxAnswer, &a); err != nil {
		return a, err
	}
	switch {
	case !ValidID(a.ID):
		return a, fmt.Errorf("%w: id %.70q: must be %s", ErrMessage, a.ID, IDRule)
	case len(a.Values) > MaxItems:
		return a, fmt.Errorf("%w: values: %d, must be %d at most", ErrMessage, len(a.Values), MaxItems)
	}
	for item, v := range a.Values {
		if !ValidID(item) || (v.Value == nil) == (v.Reason == "") || v.Source == 0 || v.Reason != "" && !ValidReason(v.Reason) {
			return a, fmt.Errorf("%w: values: %.70q is no value", ErrMessage, item)
		}
	}
	return a, nil
}

// sources are what sources are called.
var sources = [...]string{Cycle: "cycle", BackFill: "backfill", Demand: "demand", Pushed: "pushed"}

// String returns what the source is called.
func (s Source) String() string {
	if s < Cycle || s > Pushed {
		return "unknown"
	}
	return sources[s]
}

// MarshalText writes what the source is called.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what a source is called.
func (s *Source) UnmarshalText(text []byte) error {
	for i, name := range sources {
		if name != "" && name == string(text) {
			*s = Source(i)
			return nil
		}
	}
	return fmt.Errorf("source %.20q is none", text)
}
