package readiness

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level is how good something is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // it would go on, but less than it should
	Bad  Level = "bad"  // something would be missing
)

var rank = map[Level]int{OK: 0, Warn: 1, Bad: 2}

// Check is one thing that autonomy needs.
type Check struct {
	Name    string `json:"name"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
}

// The names of checks.
const (
	Images      = "images"
	Policies    = "policies"
	Store       = "store"
	Credentials = "credentials"
	Disk        = "disk"
	Clock       = "clock"
	Startup     = "startup"
	Readings    = "readings"
)

// Report is all checks, and the worst of them.
type Report struct {
	Level  Level   `json:"level"`
	Checks []Check `json:"checks"`
}

// Facts are what a Report is made from. Those left out are not checked.
type Facts struct {
	Now      time.Time
	Complete bool // the cloud has named all that is wanted since the last start

	Missing  []string // components that are needed and not on the node
	Packed   []string // components that are needed and not unpacked yet
	Images   int      // components that are needed
	Policies int      // that are wanted, all of them on disk

	SetAside   int    // records of the store that did not check out, since the start
	StoreFault string // why nothing can be written; "" if it can

	Until time.Time // credentials are valid; zero: there are none to check

	Disk     *DiskFacts
	Clock    *ClockFacts
	Startup  *StartupFacts
	Readings *ReadingsFacts
}

// ReadingsFacts are about the store of what is collected.
type ReadingsFacts struct {
	Fault    string // why nothing can be written; "" if it can
	Dropped  int64  // points that the cloud never had, since the start
	SetAside int    // files that did not check out, since the start
	Unsent   int    // points that the cloud doesn't have yet
}

// DiskFacts are about the file system of the node's data.
type DiskFacts struct {
	ReadOnly           bool
	Free, Size         float64 // bytes
	Reserve            float64 // with less free nothing is unpacked
	Below              float64 // with less free what nobody needs is deleted
	Inodes, FreeInodes float64 // how many there are, and how many are free; 0 there are: no limit
}

// ClockFacts are about the clock on the wall.
type ClockFacts struct {
	Earliest     time.Time // before that it cannot be
	Synchronised bool      // the kernel says that something disciplines it
}

// StartupFacts are about what starts the agent after a power cut.
type StartupFacts struct {
	Configured bool
	By         string // what does, or what was looked for
}

// Limits of a Report.
const (
	named    = 3                   // things named in a sentence; of more the number is given
	soon     = 14 * 24 * time.Hour // credentials that end so soon are worth a word
	fewNodes = 0.02                // of inodes free
)

// Assess makes a Report.
func Assess(f Facts) Report {
	r := Report{Level: OK, Checks: []Check{f.images(), f.policies(), f.store()}}
	for _, more := range []func() (Check, bool){f.credentials, f.disk, f.clock, f.startup, f.readings} {
		if c, ok := more(); ok {
			r.Checks = append(r.Checks, c)
		}
	}
	for _, c := range r.Checks {
		if rank[c.Level] > rank[r.Level] {
			r.Level = c.Level
		}
	}
	return r
}

func (f Facts) images() Check {
	switch {
	case len(f.Missing) > 0:
		return Check{Images, Bad, list(f.Missing) + " cannot be found on this node: put it into the components directory"}
	case len(f.Packed) > 0:
		return Check{Images, Warn, list(f.Packed) + " is here, but not unpacked yet: that takes time and room when it is needed"}
	case f.Images == 0:
		return Check{Images, OK, "no component is needed"}
	default:
		return Check{Images, OK, fmt.Sprintf("%s needed and unpacked", count(f.Images, "component is", "components are"))}
	}
}

func (f Facts) policies() Check {
	if f.Policies == 0 {
		return Check{Policies, OK, "no collection policy is wanted"}
	}
	return Check{Policies, OK, fmt.Sprintf("%s on disk", count(f.Policies, "collection policy is", "collection policies are"))}
}

func (f Facts) store() Check {
	switch {
	case f.StoreFault != "":
		return Check{Store, Bad, "what is wanted and remembered cannot be written: " + f.StoreFault}
	case f.SetAside > 0 && !f.Complete:
		return Check{Store, Bad, count(f.SetAside, "record", "records") + " did not check out, and the cloud has not been asked since: something may be missing"}
	case f.SetAside > 0:
		return Check{Store, Warn, count(f.SetAside, "record", "records") + " did not check out and came again from the cloud: the disk may be failing"}
	default:
		return Check{Store, OK, "every record checks out and can be written"}
	}
}

func (f Facts) readings() (Check, bool) {
	r := f.Readings
	switch {
	case r == nil:
		return Check{}, false
	case r.Fault != "":
		return Check{Readings, Bad, "what is collected cannot be written and is held in memory: " + r.Fault}, true
	case r.Dropped > 0:
		return Check{Readings, Bad, fmt.Sprintf("%d points were dropped before the cloud had them, for want of room: give the store more with --readings-bytes, or collect less", r.Dropped)}, true
	case r.SetAside > 0:
		return Check{Readings, Warn, count(r.SetAside, "file", "files") + " of readings did not check out: the disk may be failing"}, true
	default:
		return Check{Readings, OK, fmt.Sprintf("they are kept on disk; the cloud lacks %d", r.Unsent)}, true
	}
}

func (f Facts) credentials() (Check, bool) {
	if f.Until.IsZero() {
		return Check{}, false
	}
	day := f.Until.UTC().Format("2006-01-02")
	switch left := f.Until.Sub(f.Now); {
	case left <= 0:
		return Check{Credentials, Bad, "they ended on " + day}, true
	case left < soon:
		return Check{Credentials, Warn, "they end on " + day}, true
	default:
		return Check{Credentials, OK, "valid until " + day}, true
	}
}

func (f Facts) disk() (Check, bool) {
	d := f.Disk
	switch {
	case d == nil || d.Size <= 0:
		return Check{}, false
	case d.ReadOnly:
		return Check{Disk, Bad, "the file system of the node's data is read-only"}, true
	case d.Free < d.Reserve:
		return Check{Disk, Bad, fmt.Sprintf("less than the reserve of %.0f MiB is free", d.Reserve/(1<<20))}, true
	case d.Inodes > 0 && d.FreeInodes < fewNodes*d.Inodes:
		return Check{Disk, Bad, fmt.Sprintf("less than %.0f%% of inodes are free", fewNodes*100)}, true
	case d.Free < d.Below:
		return Check{Disk, Warn, fmt.Sprintf("less than %.0f MiB is free", d.Below/(1<<20))}, true
	default:
		return Check{Disk, OK, "there is room"}, true
	}
}

func (f Facts) clock() (Check, bool) {
	c := f.Clock
	switch {
	case c == nil:
		return Check{}, false
	case f.Now.Before(c.Earliest):
		return Check{Clock, Bad, "it shows a time before " + c.Earliest.UTC().Format("2006-01-02")}, true
	case !c.Synchronised:
		return Check{Clock, Warn, "nothing keeps it right: times that are reported may be wrong"}, true
	default:
		return Check{Clock, OK, "it is kept right"}, true
	}
}

func (f Facts) startup() (Check, bool) {
	s := f.Startup
	switch {
	case s == nil:
		return Check{}, false
	case !s.Configured:
		return Check{Startup, Warn, "nothing was found that starts the agent after a power cut: " + s.By}, true
	default:
		return Check{Startup, OK, "started at boot by " + s.By}, true
	}
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func list(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if len(names) <= named {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), len(names)-named)
}
