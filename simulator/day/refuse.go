package day

import (
	"strings"
	"time"
)

// Refusal is a policy that isn't taken, and why.
type Refusal struct {
	What string `json:"what"`
	Why  string `json:"why"` // "" = it was taken
}

// refusals tries policies that are wrong for the area.
func refusals(a *area) (all []Refusal) {
	for _, try := range []struct {
		what   string
		every  time.Duration
		source string
	}{
		{"a period that the meters are too slow for", a.predicted() / 4, `,"parallel":5`},
		{"a period that the line is too slow for", 2 * time.Minute, `,"parallel":20,"baud":300`},
		{"too many meters at once", period, `,"parallel":65`},
		{"too many frames in a request", period, `,"framesPerRead":33`},
		{"a period of more than a day", 25 * time.Hour, ""},
	} {
		r := Refusal{What: try.what}
		if _, err := a.parse(try.every, try.source); err != nil {
			r.Why = strings.TrimPrefix(err.Error(), "invalid policy: ")
		}
		all = append(all, r)
	}
	return all
}
