package instance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
)

// Protocol is the version both sides write. A shim refuses a Request of another
// version; an agent reads Records of any version up to its own.
const Protocol = 1

// StopSignal makes a shim look at stop.json. Left alone it does nothing, so it may
// come at any time, also while the shim replaces itself; it looks again after.
// SIGTERM means the same, with the Spec's grace unless stop.json has another.
const StopSignal = unix.SIGWINCH

// ErrProtocol: the other side speaks another version.
var ErrProtocol = errors.New("unknown shim protocol version")

// Request is everything a shim needs to know. Paths are absolute.
type Request struct {
	Protocol int           `json:"protocol"`
	Instance string        `json:"instance"`
	Spec     workload.Spec `json:"spec"`

	Cgroup string `json:"cgroup"` // of the workload
	Shims  string `json:"shims"`  // cgroup of all shims
	Upper  string `json:"upper"`  // container: writable layer
	Work   string `json:"work"`   // container: overlayfs' own, beside Upper
	Data   string `json:"data"`   // survives updates: GNOMON_DATA
	Files  string `json:"files"`  // host: GNOMON_FILES; others: where content is kept

	Volumes string `json:"volumes,omitempty"` // container: lasting volumes
	Kept    string `json:"kept,omitempty"`    // container: those that outlive the application

	Bridge *workload.Bridge `json:"bridge,omitempty"` // container with a network of its own
	Root   string           `json:"root,omitempty"`   // host: where this application's own copy of Spec.Root is; "" = there
	User   string           `json:"user,omitempty"`   // host: who a user of its own is

	LogFile  string `json:"logFile"`
	LogBytes int64  `json:"logBytes"` // size at which the log is rotated
	LogFiles int    `json:"logFiles"` // how many files are kept, the current one included

	TargetDir string `json:"targetDir,omitempty"` // attach: instance directory of the container joined
	TargetPID int    `json:"targetPID,omitempty"` // and its init process
}

// Record is what became of the instance.
type Record struct {
	Protocol int             `json:"protocol"`
	Status   workload.Status `json:"status"`
	Final    bool            `json:"final,omitempty"` // Failed: the same Spec will fail again
	Cause    Cause           `json:"cause,omitempty"` // Failed: which documented error it was, if any
	Boot     string          `json:"boot"`            // boot of the node the numbers below belong to
	PID      int             `json:"pid"`             // of the workload's main process
	Ticks    uint64          `json:"ticks"`           // when it was started, to tell it from a later process of that number
}

// Cause names a documented error of package workload across programs.
type Cause string

var causes = map[Cause]error{
	"unsupported": workload.ErrUnsupported,
	"invalid":     workload.ErrInvalid,
	"target":      workload.ErrTarget,
	"port-taken":  workload.ErrPortTaken,
}

// CauseOf returns the name of an error; "" when it is none of the documented.
func CauseOf(err error) Cause {
	for c, e := range causes {
		if errors.Is(err, e) {
			return c
		}
	}
	return ""
}

// Err is the error again; nil for a name that is not known.
func (c Cause) Err() error { return causes[c] }

// Stop asks the shim to end the workload.
type Stop struct {
	Protocol int           `json:"protocol"`
	Grace    time.Duration `json:"grace"`
}

// Dir is the directory of an instance.
type Dir string

// Lock and the others are the files of an instance.
func (d Dir) Lock() string      { return filepath.Join(string(d), "lock") }
func (d Dir) Spec() string      { return filepath.Join(string(d), "spec.json") }
func (d Dir) Status() string    { return filepath.Join(string(d), "status.json") }
func (d Dir) Stop() string      { return filepath.Join(string(d), "stop.json") }
func (d Dir) Reload() string    { return filepath.Join(string(d), "reload.json") }
func (d Dir) ShimLog() string   { return filepath.Join(string(d), "shim.log") }
func (d Dir) Container() string { return filepath.Join(string(d), "container") }
func (d Dir) Rootfs() string    { return filepath.Join(string(d), "rootfs") }
func (d Dir) Ended() string     { return filepath.Join(string(d), "ended") }
func (d Dir) Network() string   { return filepath.Join(string(d), "network") }

// ReadRequest reads spec.json.
func (d Dir) ReadRequest() (Request, error) {
	var r Request
	if err := readJSON(d.Spec(), &r); err != nil {
		return r, err
	}
	if r.Protocol != Protocol {
		return r, fmt.Errorf("%w: %d in %s, want %d", ErrProtocol, r.Protocol, d.Spec(), Protocol)
	}
	return r, nil
}

// WriteRequest writes spec.json.
func (d Dir) WriteRequest(r Request) error {
	r.Protocol = Protocol
	return writeJSON(d.Spec(), r)
}

// ReadReload reads reload.json.
func (d Dir) ReadReload() (Request, error) {
	var r Request
	if err := readJSON(d.Reload(), &r); err != nil {
		return r, err
	}
	if r.Protocol != Protocol {
		return r, fmt.Errorf("%w: %d in %s, want %d", ErrProtocol, r.Protocol, d.Reload(), Protocol)
	}
	return r, nil
}

// WriteReload writes reload.json.
func (d Dir) WriteReload(r Request) error {
	r.Protocol = Protocol
	return writeJSON(d.Reload(), r)
}

// Reloaded makes what is in reload.json what the instance runs with.
func (d Dir) Reloaded() error {
	if err := os.Rename(d.Reload(), d.Spec()); err != nil {
		return err
	}
	return SyncDir(string(d))
}

// ReadRecord reads status.json.
func (d Dir) ReadRecord() (Record, error) {
	var r Record
	if err := readJSON(d.Status(), &r); err != nil {
		return r, err
	}
	if r.Protocol < 1 || r.Protocol > Protocol {
		return r, fmt.Errorf("%w: %d in %s", ErrProtocol, r.Protocol, d.Status())
	}
	return r, nil
}

// WriteRecord writes status.json.
func (d Dir) WriteRecord(r Record) error {
	r.Protocol = Protocol
	return writeJSON(d.Status(), r)
}

// ReadStop reads stop.json; ok tells whether a stop was asked for.
func (d Dir) ReadStop() (s Stop, ok bool) {
	err := readJSON(d.Stop(), &s)
	return s, err == nil
}

// WriteStop writes stop.json.
func (d Dir) WriteStop(grace time.Duration) error {
	return writeJSON(d.Stop(), Stop{Protocol: Protocol, Grace: grace})
}
