package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Level is an amount of something that is watched. It is written as a number,
// or as text with a unit: "80%" of what there is, "64Mi" of bytes, "500m" of
// cores.
type Level struct {
	Value   float64 // in percent, bytes, cores or just a number
	Percent bool
	unit    levelUnit
	text    string
}

type levelUnit int

const (
	unitNone levelUnit = iota
	unitPercent
	unitMilli
	unitBytes
)

// Percentage returns the level of so many percent.
func Percentage(p float64) Level {
	return Level{Value: p, Percent: true, unit: unitPercent, text: strconv.FormatFloat(p, 'f', -1, 64) + "%"}
}

// ByteLevel returns the level of so many bytes.
func ByteLevel(n Bytes) Level {
	return Level{Value: float64(n), unit: unitBytes, text: n.String()}
}

// IsZero tells whether nothing was given.
func (l Level) IsZero() bool { return l.text == "" }

func (l Level) String() string { return l.text }

// Of returns the level as an amount, where there is so much of it in all.
func (l Level) Of(all float64) float64 {
	if l.Percent {
		return all * l.Value / 100
	}
	return l.Value
}

// MarshalJSON writes the level as text.
func (l Level) MarshalJSON() ([]byte, error) { return json.Marshal(l.text) }

// UnmarshalJSON reads a number, or text with one of the units.
func (l *Level) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	got := Level{text: text}
	number, scale := text, 1.0
	switch {
	case strings.HasSuffix(text, "%"):
		number, got.unit, got.Percent = strings.TrimSuffix(text, "%"), unitPercent, true
	case strings.HasSuffix(text, "m"):
		number, got.unit, scale = strings.TrimSuffix(text, "m"), unitMilli, 1e-3
	default:
		for _, u := range byteUnits {
			if n, ok := strings.CutSuffix(text, u.suffix); ok {
				number, got.unit, scale = n, unitBytes, float64(u.size)
				break
			}
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v*scale > 1<<50 {
		return fmt.Errorf(`%s is no level; write it as a number, "80%%", "64Mi" or "500m"`, b)
	}
	got.Value = v * scale
	*l = got
	return nil
}
