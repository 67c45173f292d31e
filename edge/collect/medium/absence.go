package medium

import (
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
)

// Absence is what is known of a meter that may not be there. One that doesn't
// answer for absentAfter polls is left out for a time that doubles from
// absentMin to absentMax, so that it costs the others on its line little.
type Absence struct {
	failures int       // polls without an answer, in a row
	till     time.Time // after too many
}

const (
	absentAfter = 2
	absentMin   = 5 * time.Second
	absentMax   = 5 * time.Minute
)

// Err tells whether the meter is to be left out at now, as a collect.ErrSkipped.
func (a *Absence) Err(now time.Time) error {
	if !now.Before(a.till) {
		return nil
	}
	return fmt.Errorf("%w: next try in %s", collect.ErrSkipped, a.till.Sub(now).Round(time.Second))
}

// Note learns from the outcome of a poll at now.
func (a *Absence) Note(err error, now time.Time) {
	if err == nil || errors.Is(err, collect.ErrException) {
		*a = Absence{}
		return
	}
	if !errors.Is(err, collect.ErrTimeout) {
		return // the line's fault, or noise
	}
	a.failures++
	if over := a.failures - absentAfter; over >= 0 {
		a.till = now.Add(min(absentMin<<min(over, 6), absentMax))
	}
}
