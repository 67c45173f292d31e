package schema

import (
	"strconv"
	"strings"
	"time"

	"gnomon/shadow"
)

// BlockersMember is the member of a reported section that has the Blockers.
const BlockersMember = "blockers"

// Blocker is one reason why an application isn't where it shall be yet, though
// nothing is wrong with it. Code is for programs, Message for people.
type Blocker struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	On      string    `json:"on,omitempty"`   // the application or component that is waited for
	Until   time.Time `json:"until,omitzero"` // when it passes by itself, by the edge's clock; zero: nobody knows
	Done    int64     `json:"done,omitempty"` // bytes of Total, of a transfer
	Total   int64     `json:"total,omitempty"`
}

// The codes of blockers.
const (
	BlockedBackoff           = "backoff"                // Until the next try
	BlockedCommit            = "committing"             // Until it is committed, if it stays healthy
	BlockedDependency        = "waiting-for-dependency" // On
	BlockedDependencyMissing = "dependency-missing"     // On: there is no such application
	BlockedFetch             = "fetching"               // On a component
	BlockedHealth            = "waiting-for-health"     // its own probe has not succeeded yet
	BlockedTarget            = "target-not-running"     // On
	BlockedTargetMissing     = "target-missing"         // On: there is no such application
	BlockedAttached          = "stopping-attached"      // On one that is attached, which is stopped first
	BlockedHeld              = "held"                   // the node doesn't let it run for now, by an alarm
	BlockedUpdates           = "updates-deferred"       // the node replaces nothing for now
	BlockedBeside            = "cannot-run-beside"      // the next instance can't be started while this one runs, and shall be
	BlockedHandOver          = "handing-over"           // Until: the next instance runs beside this one, and is to be well that long
	BlockedStopFirst         = "stopping-first"         // why the next instance isn't started before this one is stopped
	BlockedStep              = "step-overdue"           // a step takes longer than it may
	BlockedOther             = "other"                  // of an edge that gives no codes
)

// Limits of what is read of blockers, which a device may have filled with
// anything.
const (
	MaxBlockers     = 2 + MaxDependsOn
	maxBlockerText  = 600
	maxBlockerToken = 300
)

// Blockers are the reasons of one application.
type Blockers []Blocker

// Value is the blockers as they are reported; nil when there are none.
func (all Blockers) Value() *shadow.Value {
	if len(all) == 0 {
		return nil
	}
	values := make([]*shadow.Value, len(all))
	for i, b := range all {
		members := []shadow.Member{{Key: "code", Value: shadow.Text(b.Code)}, {Key: "message", Value: shadow.Text(b.Message)}}
		if b.On != "" {
			members = append(members, shadow.Member{Key: "on", Value: shadow.Text(b.On)})
		}
		if !b.Until.IsZero() {
			members = append(members, shadow.Member{Key: "until", Value: shadow.Text(b.Until.UTC().Format(time.RFC3339Nano))})
		}
		if b.Total > 0 {
			members = append(members,
				shadow.Member{Key: "done", Value: shadow.Int(b.Done)}, shadow.Member{Key: "total", Value: shadow.Int(b.Total)})
		}
		values[i] = shadow.NewObject(members...)
	}
	return shadow.NewArray(values...)
}

// BlockersOf reads the blockers of a reported section. What isn't as an edge of
// ours reports it is left out; a text alone is a blocker without a code.
func BlockersOf(reported *shadow.Value) Blockers {
	v := reported.Get(BlockersMember)
	if v.Kind() != shadow.Array {
		return nil
	}
	var all Blockers
	for _, one := range v.Members() {
		if len(all) == MaxBlockers {
			break
		}
		if b, ok := blockerOf(one); ok {
			all = append(all, b)
		}
	}
	return all
}

func blockerOf(v *shadow.Value) (b Blocker, ok bool) {
	switch v.Kind() {
	case shadow.String:
		return Blocker{Code: BlockedOther, Message: clip(v.Text(), maxBlockerText)}, v.Text() != ""
	case shadow.Object:
	default:
		return Blocker{}, false
	}
	b.Code, b.Message, b.On = textOf(v.Get("code"), maxBlockerToken), textOf(v.Get("message"), maxBlockerText), textOf(v.Get("on"), maxBlockerToken)
	if at, err := time.Parse(time.RFC3339Nano, v.Get("until").Text()); err == nil {
		b.Until = at
	}
	b.Done, b.Total = count(v.Get("done")), count(v.Get("total"))
	return b, b.Code != "" && b.Message != ""
}

// Messages are the blockers for people.
func (all Blockers) Messages() []string {
	out := make([]string, len(all))
	for i, b := range all {
		out[i] = b.String()
	}
	return out
}

// String is a blocker for people.
func (b Blocker) String() string {
	if b.Total > 0 {
		return b.Message + " (" + strconv.FormatInt(100*min(b.Done, b.Total)/b.Total, 10) + "%)"
	}
	return b.Message
}

func textOf(v *shadow.Value, most int) string {
	if v.Kind() != shadow.String {
		return ""
	}
	return clip(v.Text(), most)
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// count reads a number of bytes; 0 when it isn't one that is believable.
func count(v *shadow.Value) int64 {
	n := number(v)
	if n > 1<<50 {
		return 0
	}
	return int64(n)
}
