package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what the processes of a group use.
type Usage struct {
	CPU    time.Duration // processor time since the group was made
	Memory int64         // bytes, without file cache the kernel can drop at once
	Pids   int64
}

// Usage reads the group's use. What no controller counts is 0.
func (g Group) Usage() Usage {
	var u Usage
	if d, ok := g.controller("cpuacct"); ok && !d.Unified {
		u.CPU = time.Duration(readInt(d.path, "cpuacct.usage"))
	} else if d, ok := g.controller("cpu"); ok {
		u.CPU = time.Duration(readKey(d.path, "cpu.stat", "usage_usec")) * time.Microsecond
	}
	if d, ok := g.controller("memory"); ok {
		total, idle := "memory.usage_in_bytes", "total_inactive_file"
		if d.Unified {
			total, idle = "memory.current", "inactive_file"
		}
		u.Memory = max(0, readInt(d.path, total)-readKey(d.path, "memory.stat", idle))
	}
	if d, ok := g.controller("pids"); ok {
		u.Pids = readInt(d.path, "pids.current")
	}
	return u
}

// OOMKills counts the processes of the group the kernel killed for memory.
func (g Group) OOMKills() int64 {
	d, ok := g.controller("memory")
	if !ok {
		return 0
	}
	if d.Unified {
		return readKey(d.path, "memory.events", "oom_kill")
	}
	return readKey(d.path, "memory.oom_control", "oom_kill")
}

func readInt(dir, file string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	v, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return v
}

func readKey(dir, file, key string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(line, " "); ok && k == key {
			n, _ := strconv.ParseInt(v, 10, 64)
			return n
		}
	}
	return 0
}
