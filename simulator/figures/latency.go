package figures

import (
	"math"
	"slices"
	"time"
)

// Latency summarises durations, in milliseconds. The percentiles are values
// that occurred: the smallest one that at least that share does not exceed.
type Latency struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50Ms"`
	P99   float64 `json:"p99Ms"`
	Max   float64 `json:"maxMs"`
}

// Summarise sorts ds and summarises them.
func Summarise(ds []time.Duration) Latency {
	if len(ds) == 0 {
		return Latency{}
	}
	slices.Sort(ds)
	at := func(share float64) float64 {
		i := int(math.Ceil(share*float64(len(ds)))) - 1
		return millis(ds[max(i, 0)])
	}
	return Latency{Count: len(ds), P50: at(0.50), P99: at(0.99), Max: at(1)}
}

// millis rounds to a hundredth of a millisecond.
func millis(d time.Duration) float64 { return math.Round(d.Seconds()*1e5) / 100 }

// Spread summarises one count per node.
type Spread struct {
	Total int64   `json:"total"`
	Mean  float64 `json:"meanPerNode"`
	Max   int64   `json:"maxPerNode"`
}

// Add counts one node's n in.
func (s *Spread) Add(n int64) { s.Total, s.Max = s.Total+n, max(s.Max, n) }

// Divide computes the mean over nodes.
func (s *Spread) Divide(nodes int) {
	if nodes > 0 {
		s.Mean = math.Round(float64(s.Total)/float64(nodes)*100) / 100
	}
}
