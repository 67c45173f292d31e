package collect

import (
	"time"

	"gnomon/shadow"
)

// Phase is what a policy is doing.
type Phase string

// The phases.
const (
	Collecting Phase = "collecting"
	Disabled   Phase = "disabled"
)

// Quality says what a reading is worth.
type Quality string

// The qualities.
const (
	Good    Quality = "good"    // read at At
	Stale   Quality = "stale"   // Value is of At, and could not be read since, for Reason
	Missing Quality = "missing" // never read, for Reason
)

// Reading is the latest of an item.
type Reading struct {
	Value   *shadow.Value // nil when Missing
	At      time.Time     // when Value was read; of a missing one, when that was found
	Quality Quality
	Reason  string // "" when Good
}

// Cycle sums up one round over all meters of a policy.
type Cycle struct {
	At       time.Time // the slot
	Duration time.Duration
	Meters   int    // all
	Success  int    // meters of which every item was read
	Frames   int    // requests sent on the line
	Overruns uint64 // slots left out since the policy was applied, because a cycle took too long
	Error    string // of the first meter that failed; else of the first value that was not there
}

// Report is the latest of a policy. Readings are by meter and item.
type Report struct {
	Version  uint64 // as given to Apply
	Phase    Phase
	Readings map[string]map[string]Reading
	Cycle    Cycle // zero until the first has ended
	Cycles   uint64
}
