package linear

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// Kind is what an operation does.
type Kind string

// The kinds.
const (
	Write  Kind = "write"
	Read   Kind = "read"
	Delete Kind = "delete"
)

// Request is one operation on one shadow.
type Request struct {
	Kind   Kind
	Shadow int
	Value  int     // Write
	Expect *uint64 // Write: the version that must be current; nil: any
}

// Outcome is how an operation was answered.
type Outcome string

// The outcomes.
const (
	Done     Outcome = "done"
	Conflict Outcome = "conflict"
	Absent   Outcome = "absent"
	Unknown  Outcome = "unknown" // there was no answer: it may or may not have happened
)

// Answer is what a client learnt.
type Answer struct {
	Outcome Outcome
	Version uint64
	Value   int // Read
}

// state is a shadow: its version, that of its tombstone when it is deleted.
type state struct {
	version uint64
	value   int
	exists  bool
}

// Model is the shadow service as a sequence of operations on each shadow.
var Model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byShadow := map[int][]porcupine.Operation{}
		for _, op := range history {
			at := op.Input.(Request).Shadow
			byShadow[at] = append(byShadow[at], op)
		}
		parts := make([][]porcupine.Operation, 0, len(byShadow))
		for _, part := range byShadow {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return state{} },
	Step: func(s, in, out any) (bool, any) {
		ok, next := step(s.(state), in.(Request), out.(Answer))
		return ok, next
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
}

// step tells whether an operation may be answered so in a state, and the state
// it leaves. One without an answer does what it would do at this moment; that it
// never happened is its happening after everything else.
func step(s state, r Request, a Answer) (bool, state) {
	want, next := Answer{Outcome: Done}, s
	switch {
	case r.Kind == Read && s.exists:
		want.Version, want.Value = s.version, s.value
	case r.Kind == Read, r.Kind == Delete && !s.exists:
		want.Outcome = Absent
	case r.Expect != nil && *r.Expect != s.version:
		want.Outcome = Conflict
	case r.Kind == Delete:
		want.Version = s.version
		next = state{version: s.version + 1}
	default:
		next = state{s.version + 1, r.Value, true}
		want.Version = next.version
	}
	return a.Outcome == Unknown || a == want, next
}
