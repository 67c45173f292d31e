package day

import (
	"fmt"
	"strings"
	"time"

	"gnomon/schema"
)

// Refusal is a policy that isn't taken, and why.
type Refusal struct {
	What string `json:"what"`
	Why  string `json:"why"` // "" = it was taken
}

// refusals tries policies of 300 meters that are wrong.
func refusals() (all []Refusal, err error) {
	var meters []schema.Meter
	for n := 1; n <= 300; n++ {
		meters = append(meters, schema.Meter{ID: fmt.Sprint("m", n), Address: fmt.Sprintf("2026%08d", n), Protocol: schema.DLT645})
	}
	for _, try := range []struct {
		what   string
		every  time.Duration
		source string
	}{
		{"a period that the meters are too slow for", time.Minute, `,"parallel":1,"baud":115200`},
		{"a period that the line is too slow for", shorter, `,"parallel":20,"baud":300`},
		{"too many meters at once", period, `,"parallel":65`},
		{"too many frames in a request", period, `,"framesPerRead":33`},
		{"a period of more than a day", 25 * time.Hour, ""},
	} {
		text, err := document("a", try.every, try.source, meters)
		if err != nil {
			return nil, err
		}
		r := Refusal{What: try.what}
		if _, err := schema.ParsePolicy(text); err != nil {
			r.Why = strings.TrimPrefix(err.Error(), "invalid policy: ")
		}
		all = append(all, r)
	}
	return all, nil
}
