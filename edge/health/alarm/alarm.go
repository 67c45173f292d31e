package alarm

import "time"

// Rule is when an alarm is raised and cleared, in the measure of its metric.
type Rule struct {
	Name        string // unique
	Application string // "" is the node
	Metric      string
	Above       float64 // raised above it
	Clear       float64 // cleared at it or below; less than Above
	For         time.Duration
	Severity    string
	Action      string
	Level       string // Above as it was written, for humans
}

// same tells whether two rules are about the same thing, whatever their levels.
func (r Rule) same(a Raised) bool { return r.Application == a.Application && r.Metric == a.Metric }

// Change is what a value did to an alarm.
type Change int

// The changes.
const (
	None Change = iota
	Raise
	Clear
)

// State is where one alarm is.
type State struct {
	Since  time.Time // above the upper level since then; zero: it isn't, or it is raised
	Raised bool
}

// Next is where an alarm is after a value.
func (s State) Next(r Rule, value float64, now time.Time) (State, Change) {
	if s.Raised {
		if value <= r.Clear {
			return State{}, Clear
		}
		return s, None
	}
	if value <= r.Above {
		return State{}, None
	}
	if s.Since.IsZero() || s.Since.After(now) { // a clock that was set back starts over
		s.Since = now
	}
	if now.Sub(s.Since) >= r.For {
		return State{Raised: true}, Raise
	}
	return s, None
}
