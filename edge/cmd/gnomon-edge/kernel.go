package main

import (
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/override"
	"gnomon/edge/workload/instance"
)

// moment reads the clocks that leases count by.
func (a *agent) moment() override.Moment {
	now := override.Moment{Wall: a.now(), Boot: instance.BootID()}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err == nil { // every kernel since 2.6.39 has it
		now.Up = time.Duration(up.Nano())
	}
	return now
}

// kernel names the operating system and its release.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "linux"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
