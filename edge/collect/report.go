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
	At      time.Time     // when Value was read, or frozen; of a missing one, when that was found
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
	Answers  int    // frames that came back
	GivenUp  int    // meters that weren't asked: silent ones have had their share, or the slot has ended
	Overruns uint64 // slots left out since the policy was applied, because a cycle took too long
	Error    string // of the first meter that failed; else of the first value that was not there
}

// TaskState is where a policy is with its latest slot.
type TaskState string

// The states of a task.
const (
	TaskWaiting TaskState = "waiting" // for its first slot
	TaskRunning TaskState = "running"
	TaskDone    TaskState = "done"
)

// Task is what DL/T 698.45 monitors of a task (6034, 6035), of the latest slot.
type Task struct {
	State      TaskState
	Start, End time.Time // by the node's clock; End is zero while running
	Meters     int
	Success    int
	Sent       int
	Received   int
}

// Filling is how back-fill goes, since the policy was applied.
type Filling struct {
	At       time.Time // when the latest round began; zero: none has
	Rounds   uint64    // that went over all meters
	Open     bool      // a round is due, or was broken off by a slot: it goes on after that
	Points   uint64    // rows that got values later
	NoData   uint64    // rows that meters don't keep
	Left     int       // rows that the latest round left open
	Silent   int       // meters that kept silent in it
	Sent     uint64
	Received uint64
	Error    string // of the latest round
}

// Report is the latest of a policy. Readings are by meter and item.
type Report struct {
	Version  uint64 // as given to Apply
	Phase    Phase
	Readings map[string]map[string]Reading
	Cycle    Cycle // zero until the first has ended
	Cycles   uint64
	Task     Task
	Faults   uint64   // calls of the driver, since the policy was applied, that ended with a Fault
	Backfill *Filling // nil: the policy has none
	Stored   bool     // readings go to a Store: what is here is not all
}
