package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as Go writes it: "250ms", "1m30s".
type Duration time.Duration

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a duration with its unit; a bare number is refused since
// its unit would be a guess.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New(`a duration is text with a unit, such as "10s"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`%q is no duration; write it as "500ms", "10s" or "5m"`, s)
	}
	*d = Duration(v)
	return nil
}

// CPU is an amount of processor time in thousandths of one core. It is written
// "500m" or "1.5".
type CPU int64

func (c CPU) String() string {
	if c%1000 == 0 {
		return strconv.FormatInt(int64(c/1000), 10)
	}
	return strconv.FormatInt(int64(c), 10) + "m"
}

// MarshalJSON writes the amount as text.
func (c CPU) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// UnmarshalJSON reads "500m", "1.5" or a JSON number of cores.
func (c *CPU) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	scale := 1000.0
	if t, ok := strings.CutSuffix(s, "m"); ok {
		s, scale = t, 1
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || v*scale > math.MaxInt32 || math.IsNaN(v) {
		return fmt.Errorf(`%s is no amount of CPU; write it as "500m" or "1.5"`, b)
	}
	*c = CPU(math.Round(v * scale))
	return nil
}

// Bytes is an amount of memory or disk. It is written "64Mi", "1Gi", "500k" or
// as a number of bytes.
type Bytes int64

var byteUnits = []struct {
	suffix string
	size   int64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
}

func (n Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if u := byteUnits[i]; n != 0 && int64(n)%u.size == 0 {
			return strconv.FormatInt(int64(n)/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(n), 10)
}

// MarshalJSON writes the amount as text.
func (n Bytes) MarshalJSON() ([]byte, error) { return json.Marshal(n.String()) }

// UnmarshalJSON reads an amount with or without a unit.
func (n *Bytes) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	size := int64(1)
	for _, u := range byteUnits {
		if t, ok := strings.CutSuffix(s, u.suffix); ok {
			s, size = t, u.size
			break
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || v*float64(size) > 1<<50 || math.IsNaN(v) {
		return fmt.Errorf(`%s is no amount of bytes; write it as "64Mi", "1Gi" or a number`, b)
	}
	*n = Bytes(v * float64(size))
	return nil
}
