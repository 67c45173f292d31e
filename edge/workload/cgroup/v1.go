package cgroup

import (
	"fmt"
	"strconv"
)

// What is particular to v1: every controller has files of its own kind.

func (l Limits) setCPU(dir string) error {
	if err := set(dir, "cpu.cfs_period_us", strconv.FormatInt(cpuPeriod.Microseconds(), 10)); err != nil {
		return err
	}
	return set(dir, "cpu.cfs_quota_us", limit(l.CPU*cpuPeriod.Microseconds()/1000, "-1"))
}

func (l Limits) setMemory(dir string) error {
	// Swap is no way around it, where the kernel accounts swap at all. Both together
	// may not be below the one, so that comes first to raise it and last to lower it.
	both := func() {
		if l.Memory > 0 {
			_ = write(dir, "memory.memsw.limit_in_bytes", strconv.FormatInt(l.Memory, 10))
		}
	}
	both()
	if err := set(dir, "memory.limit_in_bytes", limit(l.Memory, "-1")); err != nil {
		return err
	}
	both()
	return nil
}

func (l Limits) setPids(dir string) error { return set(dir, "pids.max", limit(l.Pids, "max")) }

// setIO sets the bounds of a disk. What has none is left alone: a group is made
// without any.
func (l Limits) setIO(dir string) error {
	if l.IO.Disk == (Disk{}) {
		return nil
	}
	return setBlkio(dir, l.IO)
}

func set(dir, file, value string) error {
	if err := write(dir, file, value); err != nil {
		return fmt.Errorf("set %s to %s: %w", file, value, err)
	}
	return nil
}
