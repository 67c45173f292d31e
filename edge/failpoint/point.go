package failpoint

import "slices"

// Point is a place that may fail.
type Point string

// Every record that edge/state writes passes the first four, and every batch of
// them, or deletion, the fifth.
const (
	StateBegin   Point = "state.begin"   // nothing is written
	StateWritten Point = "state.written" // the temporary file is
	StateSynced  Point = "state.synced"  // its content is on disk
	StateRenamed Point = "state.renamed" // it has its name
	StateDone    Point = "state.done"    // the name is on disk
)

// The outbox between the report, the disk and the cloud.
const (
	OutboxBegin   Point = "outbox.begin"   // what is reported is about to be written
	OutboxWritten Point = "outbox.written" // and has been
	OutboxAnswer  Point = "outbox.answer"  // the cloud's answer to a report has come in
	OutboxAcked   Point = "outbox.acked"   // and is accounted for
)

// The life of a shim, in this order. Some are on the way of one mode only.
const (
	ShimBegin    Point = "shim.begin"    // it holds its lock
	ShimSettled  Point = "shim.settled"  // it is in its cgroup
	ShimMounted  Point = "shim.mounted"  // container: the root file system is
	ShimPlanted  Point = "shim.planted"  // attach: files and component are in the container
	ShimCreated  Point = "shim.created"  // container, host: the cgroup is there, nothing runs in it
	ShimWaiting  Point = "shim.waiting"  // container: the first process waits for the word to go
	ShimRunning  Point = "shim.running"  // the program runs, nobody knows
	ShimRecorded Point = "shim.recorded" // that is on disk, the agent not told
	ShimHolds    Point = "shim.holds"    // it woke because the workload ended or shall end
	ShimEnded    Point = "shim.ended"    // how it ended is known, and not written
	ShimNoted    Point = "shim.noted"    // that is on disk, nothing cleared up
)

// A version of a host application, on its way from its component to being what
// is started.
const (
	VersionStaged   Point = "version.staged"   // it is on disk, under no name of its own
	VersionKept     Point = "version.kept"     // it has its name
	VersionSwitched Point = "version.switched" // it is the current one
)

// RangeTaken is passed when a container gets users of its own, which are noted on
// disk as its, and nothing of it is there yet.
const RangeTaken Point = "range.taken"

// When tells one side of a step from the other.
type When string

// The sides of a step.
const (
	Before When = "before"
	After  When = "after"
)

// Steps are the kinds of steps that the planner makes; each is a point before
// and after. What else it comes to plan has to be added here, and the fault
// matrix says so.
var Steps = []string{"fetch", "start", "reload", "stop", "remove", "retire", "withdraw"}

// OfStep names the point before or after a kind of step.
func OfStep(kind string, w When) Point { return Point("step." + kind + "." + string(w)) }

// All returns every point.
func All() []Point {
	all := []Point{
		StateBegin, StateWritten, StateSynced, StateRenamed, StateDone,
		OutboxBegin, OutboxWritten, OutboxAnswer, OutboxAcked,
		ShimBegin, ShimSettled, ShimMounted, ShimPlanted, ShimCreated, ShimWaiting, ShimRunning, ShimRecorded,
		ShimHolds, ShimEnded, ShimNoted,
		VersionStaged, VersionKept, VersionSwitched, RangeTaken,
	}
	for _, kind := range Steps {
		all = append(all, OfStep(kind, Before), OfStep(kind, After))
	}
	return all
}

func known(p Point) bool { return slices.Contains(All(), p) }
