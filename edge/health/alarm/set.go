package alarm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of what a Set holds.
const (
	MaxEnded  = 16  // alarms that were cleared, the latest
	MaxRaised = 256 // at a time; further ones wait until others are cleared
)

// Raised is one alarm that is raised, or was.
type Raised struct {
	ID          uint64    `json:"id"` // counts the alarms of the node
	Name        string    `json:"name"`
	Application string    `json:"application,omitempty"`
	Metric      string    `json:"metric"`
	Severity    string    `json:"severity"`
	Action      string    `json:"action"`
	Level       string    `json:"level"` // that was exceeded
	At          time.Time `json:"at"`
	Value       float64   `json:"value"` // when it was raised
	Peak        float64   `json:"peak"`  // the highest since

	Instance string `json:"instance,omitempty"` // of the application, when it was raised
	Version  uint64 `json:"version,omitempty"`  // of what was desired of the application then

	Cleared time.Time `json:"cleared,omitzero"`
	Why     string    `json:"why,omitempty"` // it was cleared, if not by its value
}

// Subject is what is known of an application that alarms are of.
type Subject struct {
	Instance string // that runs
	Version  uint64 // of what is desired
}

// Input is one look at everything.
type Input struct {
	Now      time.Time
	Rules    []Rule
	Values   map[string]float64 // by rule; what is missing isn't known
	Subjects map[string]Subject // by application; what is missing isn't on the node
}

// Set is all alarms of a node. The zero Set has none.
type Set struct {
	pending map[string]State
	raised  map[string]Raised
	ended   []Raised // oldest first
	last    uint64   // ID
}

// Step takes a look and returns what was raised and cleared by it, in order.
func (s *Set) Step(in Input) (changes []Raised) {
	rules := make(map[string]Rule, len(in.Rules))
	for _, r := range in.Rules {
		rules[r.Name] = r
	}
	for _, a := range s.Raised() {
		if why := unfounded(a, rules, in); why != "" {
			changes = append(changes, s.end(a, in.Now, why))
		}
	}
	pending := make(map[string]State)
	for _, r := range in.Rules {
		value, known := in.Values[r.Name]
		if !known {
			continue
		}
		a, raised := s.raised[r.Name]
		state := s.pending[r.Name]
		state.Raised = raised
		next, change := state.Next(r, value, in.Now)
		switch {
		case change == Raise && len(s.raised) < MaxRaised:
			changes = append(changes, s.raise(r, value, in))
		case change == Raise:
			pending[r.Name] = state // it is still above when there is room
		case change == Clear:
			changes = append(changes, s.end(a, in.Now, ""))
		case raised:
			if value > a.Peak {
				a.Peak = value
				s.raised[r.Name] = a
			}
		case !next.Since.IsZero():
			pending[r.Name] = next
		}
	}
	s.pending = pending
	return changes
}

// unfounded says why an alarm can't be raised any more, whatever its value is; ""
// if it can.
func unfounded(a Raised, rules map[string]Rule, in Input) string {
	r, ok := rules[a.Name]
	if !ok || !r.same(a) {
		return "there is no such alarm any more"
	}
	if a.Application == "" {
		return ""
	}
	subject, ok := in.Subjects[a.Application]
	if !ok {
		return "there is no such application any more"
	}
	if _, known := in.Values[a.Name]; !known && subject.Version != a.Version {
		return "what is desired changed"
	}
	return ""
}

func (s *Set) raise(r Rule, value float64, in Input) Raised {
	s.last++
	subject := in.Subjects[r.Application]
	a := Raised{
		ID: s.last, Name: r.Name, Application: r.Application, Metric: r.Metric, Severity: r.Severity, Action: r.Action,
		Level: r.Level, At: in.Now, Value: value, Peak: value, Instance: subject.Instance, Version: subject.Version,
	}
	if s.raised == nil {
		s.raised = map[string]Raised{}
	}
	s.raised[r.Name] = a
	return a
}

func (s *Set) end(a Raised, now time.Time, why string) Raised {
	delete(s.raised, a.Name)
	a.Cleared, a.Why = now, why
	s.ended = append(s.ended, a)
	if n := len(s.ended) - MaxEnded; n > 0 {
		s.ended = slices.Delete(s.ended, 0, n)
	}
	return a
}

// Raised lists what is raised, the latest last.
func (s *Set) Raised() []Raised {
	all := make([]Raised, 0, len(s.raised))
	for _, a := range s.raised {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Raised) int {
		if a.ID != b.ID {
			return int(a.ID) - int(b.ID)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// Ended lists the last ones that were cleared, the latest last.
func (s *Set) Ended() []Raised { return slices.Clone(s.ended) }

type record struct {
	Last   uint64   `json:"last"`
	Raised []Raised `json:"raised,omitempty"`
	Ended  []Raised `json:"ended,omitempty"`
}

// MarshalJSON writes down all that a restart must not lose.
func (s *Set) MarshalJSON() ([]byte, error) { return json.Marshal(record{s.last, s.Raised(), s.ended}) }

// UnmarshalJSON reads it back.
func (s *Set) UnmarshalJSON(text []byte) error {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("alarms: %w", err)
	}
	*s = Set{last: r.Last, ended: r.Ended[max(0, len(r.Ended)-MaxEnded):], raised: map[string]Raised{}}
	for _, a := range r.Raised[:min(len(r.Raised), MaxRaised)] {
		s.raised[a.Name] = a
		s.last = max(s.last, a.ID)
	}
	return nil
}
