package figures

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what figures were taken on.
type Machine struct {
	CPU          string  `json:"cpu"`
	CPUs         int     `json:"cpus"`
	Kernel       string  `json:"kernel"`
	Go           string  `json:"go"`
	StealPercent float64 `json:"stealPercent"` // of all CPUs, while the experiment ran
}

// CPUTime is a reading of the machine's clock ticks.
type CPUTime struct{ total, steal uint64 }

// ReadCPUTime reads the ticks spent since boot; zero where /proc is missing.
func ReadCPUTime() CPUTime {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	var t CPUTime
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil || i > 8 { // guest time is counted in user time already
			continue
		}
		t.total += n
		if i == 8 {
			t.steal = n
		}
	}
	return t
}

// Describe describes this machine over the time since before.
func Describe(before CPUTime) Machine {
	now := ReadCPUTime()
	m := Machine{CPU: cpuModel(), CPUs: runtime.NumCPU(), Go: runtime.Version()}
	if d := now.total - before.total; d > 0 {
		m.StealPercent = math.Round(float64(now.steal-before.steal)/float64(d)*1000) / 10
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// Usage is what a process used since it started.
type Usage struct {
	CPUSeconds float64 `json:"cpuSeconds"`
	PeakRSSMiB float64 `json:"peakRssMiB"`
}

// clockTick is the kernel's USER_HZ, which is 100 on every Linux Go runs on.
const clockTick = 100

// ReadUsage reads what the process pid used so far.
func ReadUsage(pid int) (Usage, error) {
	var u Usage
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name before may hold anything
	if fields := strings.Fields(rest); len(fields) > 12 {
		for _, f := range fields[11:13] { // utime, stime
			n, _ := strconv.ParseUint(f, 10, 64)
			u.CPUSeconds += float64(n) / clockTick
		}
	}
	b, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			u.PeakRSSMiB = math.Round(kib/1024*10) / 10
		}
	}
	return u, nil
}
