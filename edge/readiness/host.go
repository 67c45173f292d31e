package readiness

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// firstRelease is before every agent that could ask.
var firstRelease = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// LookAtClock asks the kernel how the clock is.
func LookAtClock() *ClockFacts {
	f := &ClockFacts{Earliest: firstRelease}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				f.Earliest = at
			}
		}
	}
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	f.Synchronised = err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
	return f
}

// unit is what the agent's service is called unless it runs in another one.
const unit = "gnomon-edge.service"

// LookAtStartup tells whether something starts the agent at boot: its service is
// enabled, or an init script links to it. root is "/" but in tests.
func LookAtStartup(root string) *StartupFacts {
	service := unit
	if own := serviceOf(filepath.Join(root, "proc/self/cgroup")); own != "" {
		service = own
	}
	for _, where := range []string{"etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system", "run/systemd/system"} {
		for _, how := range []string{"*.wants", "*.requires"} {
			if found, _ := filepath.Glob(filepath.Join(root, where, how, service)); len(found) > 0 {
				return &StartupFacts{Configured: true, By: service}
			}
		}
	}
	for _, where := range []string{"etc/rc?.d/S*", "etc/rc.d/S*", "etc/runlevels/*/*", "etc/init/*"} {
		found, _ := filepath.Glob(filepath.Join(root, where))
		for _, path := range found {
			if strings.Contains(filepath.Base(path), "gnomon-edge") {
				return &StartupFacts{Configured: true, By: "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")}
			}
		}
	}
	return &StartupFacts{By: service + " is not enabled, and there is no init script"}
}

// serviceOf returns the service that a process runs in, by its cgroups; "" if in none.
func serviceOf(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		for part := range strings.SplitSeq(line, "/") {
			if strings.HasSuffix(part, ".service") && !strings.Contains(part, "user@") {
				return part
			}
		}
	}
	return ""
}
