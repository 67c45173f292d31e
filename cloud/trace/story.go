package trace

import (
	"errors"
	"fmt"
	"time"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

// Question asks for the story of one change of a shadow: the one with a trace id
// or traceparent, the one that led to a version of desired, or, with neither, the
// last.
type Question struct {
	Key     store.Key
	Trace   string // id
	Version uint64
	Past    *Past // what the history keeps of the current version; nil: nothing
}

// Past is what is kept of a change on disk.
type Past struct {
	Version uint64
	Trace   string // id; "" when it isn't known
	By      string // "" when it isn't known
	Door    Door
}

// ErrUnknown: the change that was asked for is not remembered, and the document
// says nothing of it.
var ErrUnknown = errors.New("no such change is remembered")

// State is where a change is.
type State string

// The states.
const (
	StateOpen       State = "open"
	StateFailed     State = "failed" // for good, as far as nobody changes anything
	StateConverged  State = "converged"
	StateSuperseded State = "superseded"
	StateDeleted    State = "deleted" // the deletion has reached the node
)

// Story is one change step by step.
type Story struct {
	Version    uint64    `json:"version" doc:"of desired, which the change led to"`
	Trace      string    `json:"trace,omitempty" doc:"id of the W3C trace; empty when it isn't known"`
	Parent     string    `json:"traceparent,omitempty" doc:"as the write came with it, or was given it"`
	State      State     `json:"state" enum:"open,failed,converged,superseded,deleted"`
	Steps      []Step    `json:"steps"`
	Superseded []Earlier `json:"superseded,omitempty" doc:"changes that this one came before they had converged, the latest first"`
	Since      time.Time `json:"since" doc:"the server remembers no changes before that"`
}

// Step is one step of a Story.
type Step struct {
	Name  Name      `json:"step" enum:"written,committed,published,delivered,planned,reported,failed,converged,superseded"`
	State StepState `json:"state" enum:"done,missing,unknown"`
	At    time.Time `json:"at,omitzero"`
	Clock Clock     `json:"clock,omitempty" enum:"node,seconds" doc:"whose time it is, if not the server's: the node's own, or the document's, which has seconds only"`
	After *float64  `json:"after,omitempty" doc:"milliseconds since the change was written, where both times are known"`
	Text  string    `json:"text,omitempty" doc:"what there is to say of it; of a missing step why, as far as it is known"`
}

// StepState tells whether a step has happened.
type StepState string

// The states of a step.
const (
	Done    StepState = "done"
	Missing StepState = "missing" // it has not happened
	Unknown StepState = "unknown" // whether it has, or when, this server can't know
)

// Clock tells whose time a time is.
type Clock string

// The clocks beside the server's.
const (
	ClockNode    Clock = "node"
	ClockSeconds Clock = "seconds"
)

// Earlier is a change that was superseded.
type Earlier struct {
	Version uint64 `json:"version"`
	Trace   string `json:"trace,omitempty"`
	Reached Name   `json:"reached" doc:"the last step that is known of it"`
}

// maxEarlier bounds how many superseded changes a story lists.
const maxEarlier = 16

// Story tells what is known of a change. d is the current document; nil or a
// deleted one when there is none. position is what to resume watching after, to
// hear of all that happens next.
func (l *Log) Story(q Question, d *shadow.Document) (s *Story, position string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	position = l.steps.id(l.steps.last)
	c := l.find(q, d)
	t := teller{log: l, key: q.Key, d: d, c: c}
	if q.Past != nil && d.Exists() && q.Past.Version == d.DesiredVersion {
		t.past = q.Past
	}
	switch {
	case c != nil && (d.Exists() || c.Deleted || c.end != open):
		t.version = c.Version
	case d.Exists() && d.Desired != nil && (q.Version == 0 || q.Version == d.DesiredVersion) && (q.Trace == "" || q.Trace == reportedTrace(d) || t.past != nil && q.Trace == t.past.Trace):
		t.version = d.DesiredVersion
	default:
		return nil, position, fmt.Errorf("%w of %s since %s", ErrUnknown, q, l.began.UTC().Format(time.RFC3339))
	}
	return t.tell(), position, nil
}

func (q Question) String() string {
	switch {
	case q.Trace != "":
		return "trace " + q.Trace
	case q.Version != 0:
		return fmt.Sprintf("version %d", q.Version)
	}
	return "desired"
}

// find returns the change that is asked for, nil if it isn't remembered. The last
// one is so only if it is what the document says.
func (l *Log) find(q Question, d *shadow.Document) *change {
	if q.Version != 0 {
		c := l.versions[id{q.Key, q.Version}]
		if c != nil && q.Trace != "" && c.trace != q.Trace {
			return nil
		}
		return c
	}
	c := l.latest[q.Key]
	if q.Trace == "" {
		if c != nil && d.Exists() && d.DesiredVersion > c.Version {
			return nil // another replica's, of which this one hasn't heard
		}
		return c
	}
	for ; c != nil && c.trace != q.Trace; c = c.older {
	}
	return c
}

// reportedTrace is the trace that the node has handed on with its plan.
func reportedTrace(d *shadow.Document) string {
	if p, ok := schema.PlanOf(d.Reported); ok && p.Version == d.DesiredVersion {
		return p.Trace
	}
	return ""
}
