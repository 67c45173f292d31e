// Package idle waits for something to happen to a workload before the Go runtime
// starts: months, mostly, at a tenth of the memory. Meanwhile it copies the
// workload's output to its log, within the same bounds as package rotate, and
// collects orphans. When the workload's main process ends or a stop is asked for
// it returns, the runtime starts, and the rest of hold does the deciding.
//
// It runs only in a process whose environment has the variable Env, before main.
// Nothing depends on it but the footprint: without it hold does the same.
package idle

// extern int gnomon_asked;
import "C"

import (
	"fmt"
	"os"
)

// Env is the variable that makes the next image of this program idle first.
const Env = "GNOMON_SHIM_IDLE"

// Spec is what idling needs to know.
type Spec struct {
	Main     int    // process whose end ends the wait; a child
	Pipe     int    // file descriptor of the workload's output
	Stop     string // file that, when it exists, ends the wait at once
	LogFile  string
	LogBytes int64
	LogFiles int
}

// Environ returns the variable for a Spec. Lines part the fields, so no path may
// hold one.
func (s Spec) Environ() string {
	return fmt.Sprintf("%s=%d\n%d\n%d\n%d\n%s\n%s", Env, s.Main, s.Pipe, s.LogBytes, s.LogFiles, s.Stop, s.LogFile)
}

// Asked tells whether a signal other than SIGCHLD ended the wait.
func Asked() bool { return C.gnomon_asked != 0 }

func init() { _ = os.Unsetenv(Env) }
