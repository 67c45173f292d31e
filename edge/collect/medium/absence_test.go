package medium

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gnomon/edge/collect"
)

func TestAbsence(t *testing.T) {
	a := new(Absence)
	now := time.Unix(1000, 0)
	for i, want := range []time.Duration{0, 5, 10, 20, 40, 80, 160, 300, 300} {
		a.Note(collect.ErrTimeout, now)
		if got := max(0, a.till.Sub(now)); got != want*time.Second {
			t.Errorf("failure %d: left out for %v, want %v", i+1, got, want*time.Second)
		}
	}
	if err := a.Err(now.Add(time.Minute)); !errors.Is(err, collect.ErrSkipped) {
		t.Errorf("left out with %v", err)
	}
	a.Note(collect.ErrLink, now)
	if a.Err(now) == nil {
		t.Error("a failing line brought the meter back")
	}
	a.Note(fmt.Errorf("%w: 4", collect.ErrException), now)
	if err := a.Err(now); err != nil || *a != (Absence{}) {
		t.Errorf("a refusal is an answer, the meter is alive: %v", err)
	}
}
