package figures

import (
	"os"
	"testing"
	"time"
)

func TestSummarise(t *testing.T) {
	ms := func(ns ...int) []time.Duration {
		var ds []time.Duration
		for _, n := range ns {
			ds = append(ds, time.Duration(n)*time.Millisecond)
		}
		return ds
	}
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, tc := range []struct {
		name string
		in   []time.Duration
		want Latency
	}{
		{"none", nil, Latency{}},
		{"one", ms(7), Latency{1, 7, 7, 7}},
		{"two", ms(9, 3), Latency{2, 3, 9, 9}},
		{"a hundred, unsorted", ms(hundred...), Latency{100, 50, 99, 100}},
	} {
		if got := Summarise(tc.in); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestSpread(t *testing.T) {
	var s Spread
	for _, n := range []int64{1, 4, 2} {
		s.Add(n)
	}
	s.Divide(3)
	if want := (Spread{Total: 7, Mean: 2.33, Max: 4}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

func TestThisMachineAndProcess(t *testing.T) {
	m := Describe(ReadCPUTime())
	if m.CPUs < 1 || m.Go == "" || m.CPU == "" || m.StealPercent < 0 || m.StealPercent > 100 {
		t.Errorf("%+v", m)
	}
	u, err := ReadUsage(os.Getpid())
	if err != nil || u.PeakRSSMiB < 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := ReadUsage(1 << 30); err == nil {
		t.Error("usage of a process that is not there")
	}
}
