package instance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// Protocol is the version both sides speak: 1 was what came first; 2 knows networks
// of containers, and users and versions of host applications; 3 users of containers.
// Both sides read every version up to their own and refuse what is newer: a later
// agent lives with the shims of an earlier one, which it gives nothing that they
// couldn't read, and an earlier agent leaves those of a later one alone. Each
// instance is written in the earliest version from 2 that can say it, so that an
// earlier agent that comes back has all the others.
const Protocol = 3

// plain is the version of an instance that needs no later one.
const plain = 2

func (r Request) version() int {
	if r.Range != nil {
		return 3
	}
	return plain
}

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

	Range *workload.Range `json:"range,omitempty"` // container, attach: what the users of the container are on the node; nil = themselves

	Bridge *workload.Bridge `json:"bridge,omitempty"` // container with a network of its own
	// FormerPorts are those that the instance beside which this one is started has in
	// the node's network, which the two share; nil where an agent didn't say.
	FormerPorts []schema.Port `json:"formerPorts,omitzero"`

	Root string `json:"root,omitempty"` // host: where this application's own copy of Spec.Root is; "" = there
	User string `json:"user,omitempty"` // host: who a user of its own is

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

// Newer tells whether an agent or a shim of a later version wrote any of an
// instance, and which.
func (d Dir) Newer() (version int, ok bool) {
	for _, path := range []string{d.Spec(), d.Status()} {
		var r struct {
			Protocol int `json:"protocol"`
		}
		if readJSON(path, &r) == nil {
			version = max(version, r.Protocol)
		}
	}
	return version, version > Protocol
}

// Stop asks the shim to end the workload.
type Stop struct {
	Protocol int           `json:"protocol"`
	Grace    time.Duration `json:"grace"`
	// Next is the instance that took over from this one, if it goes for that. It is
	// the agent's: a shim doesn't care.
	Next string `json:"next,omitempty"`
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
	return r, known(r.Protocol, d.Spec())
}

// known tells whether a version can be read.
func known(version int, path string) error {
	if version < 1 || version > Protocol {
		return fmt.Errorf("%w: %d in %s, 1 to %d are known", ErrProtocol, version, path, Protocol)
	}
	return nil
}

// PutRequest writes spec.json for a shim that is about to start; SyncRequest makes
// it durable, which need not be waited for: after a power cut nothing runs, and an
// instance without a request is one that was never started.
func (d Dir) PutRequest(r Request) error {
	r.Protocol = r.version()
	return putJSON(d.Spec(), r)
}

// SyncRequest makes spec.json durable.
func (d Dir) SyncRequest() error { return settle(d.Spec()) }

// PutRecord writes status.json for those who look; SyncRecord makes it durable. It
// is for a start only: how a workload ended must not be lost.
func (d Dir) PutRecord(r Record) error {
	if r.Protocol == 0 {
		r.Protocol = plain
	}
	return putJSON(d.Status(), r)
}

// SyncRecord makes status.json durable.
func (d Dir) SyncRecord() error { return settle(d.Status()) }

// WriteRequest writes spec.json.
func (d Dir) WriteRequest(r Request) error {
	r.Protocol = r.version()
	return writeJSON(d.Spec(), r)
}

// ReadReload reads reload.json.
func (d Dir) ReadReload() (Request, error) {
	var r Request
	if err := readJSON(d.Reload(), &r); err != nil {
		return r, err
	}
	return r, known(r.Protocol, d.Reload())
}

// WriteReload writes reload.json, in the version of the Request it follows: the
// shim that holds the instance will read it.
func (d Dir) WriteReload(r Request) error {
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
	return r, known(r.Protocol, d.Status())
}

// WriteRecord writes status.json, in the version that r is of.
func (d Dir) WriteRecord(r Record) error {
	if r.Protocol == 0 {
		r.Protocol = plain
	}
	return writeJSON(d.Status(), r)
}

// ReadStop reads stop.json; ok tells whether a stop was asked for.
func (d Dir) ReadStop() (s Stop, ok bool) {
	err := readJSON(d.Stop(), &s)
	return s, err == nil
}

// WriteStop writes stop.json.
func (d Dir) WriteStop(s Stop) error {
	s.Protocol = plain
	return writeJSON(d.Stop(), s)
}
