package main

import (
	"fmt"
	"slices"
	"time"
)

// Figure is one measured value and the bound it shall keep.
type Figure struct {
	Name   string    `json:"name"`
	Value  float64   `json:"value"` // median
	Unit   string    `json:"unit,omitempty"`
	Rounds []float64 `json:"rounds,omitempty"`
	Bound  string    `json:"bound,omitempty"` // such as ">= 0.6"
	Held   bool      `json:"held"`
}

// Text prints a figure in a line.
func (f Figure) Text() string {
	text := fmt.Sprintf("%9.4g %s", f.Value, f.Unit)
	if len(f.Rounds) > 1 {
		text = fmt.Sprintf("%9.4g %-12s %.3g to %.3g", f.Value, f.Unit, slices.Min(f.Rounds), slices.Max(f.Rounds))
	}
	if f.Bound == "" {
		return text
	}
	verdict := "held"
	if !f.Held {
		verdict = "NOT HELD"
	}
	return fmt.Sprintf("%-46s %s: %s", text, f.Bound, verdict)
}

func figureOf(name, unit string, rounds ...float64) Figure {
	return Figure{Name: name, Unit: unit, Value: median(rounds), Rounds: rounds, Held: true}
}

func (f Figure) atLeast(bound float64) Figure {
	f.Bound, f.Held = fmt.Sprintf(">= %g", bound), f.Value >= bound
	return f
}

func (f Figure) atMost(bound float64) Figure {
	f.Bound, f.Held = fmt.Sprintf("<= %g", bound), f.Value <= bound
	return f
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}

// ratios divides pair by pair: both were taken in the same round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func rate(operations int64, d time.Duration) float64 { return float64(operations) / d.Seconds() }
