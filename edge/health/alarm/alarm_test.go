package alarm

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestNext(t *testing.T) {
	rule := Rule{Name: "hot", Above: 80, Clear: 70, For: 30 * time.Second}
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	var s State
	for i, step := range []struct {
		at     int
		value  float64
		change Change
		raised bool
	}{
		{0, 80, None, false},  // at the level is not above it
		{1, 81, None, false},  // begins
		{20, 99, None, false}, // not long enough
		{25, 80, None, false}, // starts over
		{26, 81, None, false},
		{55, 81, None, false},
		{56, 81, Raise, true},
		{57, 75, None, true}, // between the levels nothing changes
		{58, 99, None, true},
		{90, 70.1, None, true},
		{91, 70, Clear, false},
		{92, 80, None, false},
		{93, 81, None, false},
		{60, 81, None, false}, // the clock was set back: it starts over
		{89, 81, None, false},
		{90, 81, Raise, true},
	} {
		var change Change
		if s, change = s.Next(rule, step.value, at(step.at)); change != step.change || s.Raised != step.raised {
			t.Fatalf("step %d (%ds, %v): change %v raised %v, want %v %v", i, step.at, step.value, change, s.Raised, step.change, step.raised)
		}
	}
}

// An alarm is raised exactly once per excursion, against a model that looks at
// the whole history: an excursion begins where the value has been above the upper
// level for the time asked for, and ends with the first value at the lower one.
func TestNext_OncePerExcursion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clear := rapid.Float64Range(0, 50).Draw(t, "clear")
		rule := Rule{Above: clear + rapid.Float64Range(0.1, 50).Draw(t, "band"), Clear: clear, For: time.Duration(rapid.IntRange(0, 20).Draw(t, "for")) * time.Second}
		var s State
		now, above, raised := start, time.Time{}, false
		for i := range rapid.IntRange(1, 60).Draw(t, "samples") {
			now = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, fmt.Sprint("dt", i))) * time.Second)
			value := rapid.Float64Range(0, 120).Draw(t, fmt.Sprint("v", i))
			want := None
			switch {
			case raised && value <= rule.Clear:
				want, raised, above = Clear, false, time.Time{}
			case raised:
			case value <= rule.Above:
				above = time.Time{}
			default:
				if above.IsZero() {
					above = now
				}
				if now.Sub(above) >= rule.For {
					want, raised = Raise, true
				}
			}
			var got Change
			if s, got = s.Next(rule, value, now); got != want || s.Raised != raised {
				t.Fatalf("%d: value %v: %v raised %v, want %v %v (rule %+v)", i, value, got, s.Raised, want, raised, rule)
			}
		}
	})
}

// Values that stay between the two levels never change anything, however they move.
func TestNext_NoFlappingWithinHysteresis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := Rule{Above: 80, Clear: 60}
		s := State{Raised: rapid.Bool().Draw(t, "raised")}
		now := start
		for i, value := range rapid.SliceOfN(rapid.Float64Range(60.0001, 80), 1, 50).Draw(t, "values") {
			now = now.Add(time.Second)
			next, change := s.Next(rule, value, now)
			if change != None || next.Raised != s.Raised {
				t.Fatalf("%d: %v changed it: %v", i, value, change)
			}
			s = next
		}
	})
}

// A node that is restarted between any two looks raises and clears the same
// alarms under the same numbers as one that isn't, as long as none waits.
func TestSet_SurvivesRestarts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := []Rule{{Name: "a", Above: 10, Clear: 5}, {Name: "b", Application: "web", Above: 20, Clear: 1, Action: "stop"}}
		steady, restarted := new(Set), new(Set)
		now := start
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Second)
			in := Input{Now: now, Rules: rules, Values: map[string]float64{}, Subjects: map[string]Subject{"web": {"i1", uint64(1 + i/10)}}}
			for _, r := range rules {
				if rapid.IntRange(0, 4).Draw(t, fmt.Sprint(r.Name, i, "known")) > 0 {
					in.Values[r.Name] = rapid.Float64Range(0, 30).Draw(t, fmt.Sprint(r.Name, i))
				}
			}
			if rapid.Bool().Draw(t, fmt.Sprint("restart", i)) {
				text, err := json.Marshal(restarted)
				if err != nil {
					t.Fatal(err)
				}
				restarted = new(Set)
				if err := json.Unmarshal(text, restarted); err != nil {
					t.Fatal(err)
				}
			}
			want, got := steady.Step(in), restarted.Step(in)
			if !reflect.DeepEqual(want, got) || !reflect.DeepEqual(steady.Raised(), restarted.Raised()) {
				t.Fatalf("step %d: %+v\nwant %+v", i, got, want)
			}
			if len(steady.Ended()) > MaxEnded {
				t.Fatalf("%d ended are kept", len(steady.Ended()))
			}
		}
	})
}

func TestSet_WhatEndsAnAlarmBesideItsValue(t *testing.T) {
	rule := Rule{Name: "m", Application: "web", Metric: "memory", Above: 10, Clear: 5, Action: "stop"}
	web := map[string]Subject{"web": {"i1", 3}}
	for name, c := range map[string]struct {
		next Input
		why  string // "" still raised
	}{
		"value not known":           {Input{Rules: []Rule{rule}, Subjects: web}, ""},
		"between":                   {Input{Rules: []Rule{rule}, Subjects: web, Values: map[string]float64{"m": 7}}, ""},
		"rule gone":                 {Input{Subjects: web}, "there is no such alarm any more"},
		"about something else":      {Input{Rules: []Rule{{Name: "m", Application: "web", Metric: "pids", Above: 1}}, Subjects: web}, "there is no such alarm any more"},
		"application gone":          {Input{Rules: []Rule{rule}}, "there is no such application any more"},
		"desired changed":           {Input{Rules: []Rule{rule}, Subjects: map[string]Subject{"web": {"", 4}}}, "what is desired changed"},
		"desired changed, it lasts": {Input{Rules: []Rule{rule}, Subjects: map[string]Subject{"web": {"", 4}}, Values: map[string]float64{"m": 99}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := new(Set)
			got := s.Step(Input{Now: start, Rules: []Rule{rule}, Subjects: web, Values: map[string]float64{"m": 11}})
			if len(got) != 1 || got[0].Instance != "i1" || got[0].Version != 3 || !got[0].Cleared.IsZero() {
				t.Fatalf("not raised as it should: %+v", got)
			}
			c.next.Now = start.Add(time.Second)
			got = s.Step(c.next)
			if c.why == "" {
				if len(got) != 0 || len(s.Raised()) != 1 {
					t.Fatalf("it did not stay raised: %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Why != c.why || got[0].Cleared.IsZero() || len(s.Raised()) != 0 || len(s.Ended()) != 1 {
				t.Fatalf("%+v, want it cleared because %s", got, c.why)
			}
		})
	}
}

func TestSet_Bounded(t *testing.T) {
	s := new(Set)
	in := Input{Now: start, Values: map[string]float64{}}
	for i := range MaxRaised + 10 {
		r := Rule{Name: fmt.Sprint(i), Above: 1, Clear: 0}
		in.Rules, in.Values[r.Name] = append(in.Rules, r), 2
	}
	if got := s.Step(in); len(got) != MaxRaised || len(s.Raised()) != MaxRaised {
		t.Fatalf("%d raised, the limit is %d", len(got), MaxRaised)
	}
	in.Values["0"] = 0
	if got := s.Step(in); len(got) != 2 { // one cleared makes room for one that waits
		t.Fatalf("%d changes, want one cleared and one raised", len(got))
	}
}

func TestSet_UnreadableRecord(t *testing.T) {
	if err := json.Unmarshal([]byte(`{"raised":7}`), new(Set)); err == nil {
		t.Error("taken")
	}
}
