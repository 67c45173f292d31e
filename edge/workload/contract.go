package workload

import (
	"context"
	"errors"
	"time"

	"gnomon/schema"
)

// Spec is everything needed to start one instance of an application. The
// planner has already merged the component's defaults into it.
type Spec struct {
	Name string      `json:"name"` // schema.ValidName
	Mode schema.Mode `json:"mode"`

	// Hash identifies the content of the Spec for the caller, who compares it
	// with Status.Hash to see whether what runs is what is wanted. It is opaque here.
	Hash      string `json:"hash"`
	Component string `json:"component"` // for humans

	// Root is the unpacked component, shared and never written to.
	// container: the root file system, required; the instance sees it under a
	// writable layer that is kept from start to start until Remove.
	// host: the package directory; default for Dir. Optional. With a Digest the
	// application runs from a version directory of its own, made from Root.
	// attach: mounted read-only at /opt/<name> of the target's container;
	// default for Dir. Optional: the program may be the target's own.
	Root string `json:"root,omitempty"`

	// Digest is that of Root's content, such as sha256:…; "" when it may change.
	Digest string `json:"digest,omitempty"`

	// Target names the application whose container is joined (attach only).
	// TargetInstance, when set, must be its running instance.
	Target         string `json:"target,omitempty"`
	TargetInstance string `json:"targetInstance,omitempty"`

	// Former is the live instance of the name beside which this one is started, to
	// take over from it; see HandOver. "" = there must be none.
	Former string `json:"former,omitempty"`

	// Command is the program and its arguments. A program without a slash is
	// looked up in the workload's PATH, which starts with Root and Root/bin
	// except in mode container. $(NAME) is replaced by the value of
	// that environment variable, $$(NAME) stands for $(NAME) itself.
	Command []string `json:"command"`
	// Env holds NAME=value; the last of a name wins. PATH and HOME are set
	// unless given here. GNOMON_APP, GNOMON_INSTANCE, GNOMON_DATA (a directory
	// that survives every update of the component) and GNOMON_FILES (what Files'
	// paths are relative to: empty except in mode host) are always set.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory. Relative means below Root.
	Dir string `json:"dir,omitempty"`
	// User is uid, uid:gid, or a name or name:group known where the workload
	// runs; "" is root. In mode host schema.UserOwn is one of this application's
	// own, which it keeps until Remove.
	User string `json:"user,omitempty"`

	Hostname   string   `json:"hostname,omitempty"`   // container only; default Name
	Privileged bool     `json:"privileged,omitempty"` // container only
	Serial     []string `json:"serial,omitempty"`     // container only: absolute paths of character devices

	Devices      []schema.Device      `json:"devices,omitempty"`      // container only
	Capabilities *schema.Capabilities `json:"capabilities,omitempty"` // container only
	ReadOnly     bool                 `json:"readOnly,omitempty"`     // container only: the root file system
	Init         bool                 `json:"init,omitempty"`         // container only: Command is not the first process
	Volumes      []schema.Volume      `json:"volumes,omitempty"`      // container only; outlive Remove if they say so
	Timezone     string               `json:"timezone,omitempty"`     // container and host: of the node's tables
	Log          schema.Log           `json:"log,omitzero"`           // bounds other than the Runner's own

	// UserNamespace is the node's unless it is schema.UserNamespaceAuto (container
	// only): then the users 0 to RangeSize-1 inside are a Range of the node's that no
	// other application has, kept until Remove, and beyond it for as long as volumes
	// are kept. What is kept of a container goes on belonging to the same users of it
	// whatever this says from start to start.
	UserNamespace schema.UserNamespace `json:"userNamespace,omitempty"`

	// Files are placed before the start, owned by User. container and attach:
	// mounted at Path. host: written to $GNOMON_FILES + Path, never to Path
	// itself, so that no application can replace a file of the node. What comes
	// from the component is copied: at most MaxFromBytes in MaxFromEntries.
	Files []schema.File `json:"files,omitempty"`
	// Reload is how Reloader.Reload tells the program that Files have changed.
	Reload schema.Reload `json:"reload,omitempty"`

	// Resources bound everything the workload forks. In mode attach they count
	// within those of the target too.
	Resources schema.Resources `json:"resources"`

	// Network is the node's unless it is schema.NetworkBridge (container only).
	// In the node's, Host must equal Container for every one of Ports. A port that
	// somebody else has is ErrPortTaken.
	Network schema.Network `json:"network,omitempty"`
	Ports   []schema.Port  `json:"ports,omitempty"`
	DNS     *schema.DNS    `json:"dns,omitempty"` // container only

	// StopGrace applies when something other than Runner.Stop stops the
	// instance, such as the shutdown of the node. 0 = DefaultStopGrace.
	StopGrace time.Duration `json:"stopGrace"`
}

// Bounds of what Files copy from the component, all together.
const (
	MaxFromBytes   = 16 << 20
	MaxFromEntries = 1024
)

// DefaultStopGrace is the time between SIGTERM and SIGKILL when none is given.
const DefaultStopGrace = 10 * time.Second

// State is how far an instance has come. It only moves forward.
type State string

// The states.
const (
	Starting State = "starting" // the shim is setting it up
	Running  State = "running"  // PID is alive
	Exited   State = "exited"   // it ran; ExitCode and Signal say how it ended
	Failed   State = "failed"   // it never ran, or how it ended is not known; Error says why
)

// Live tells whether an instance in this state may have processes.
func (s State) Live() bool { return s == Starting || s == Running }

// Status is what is known of the latest instance of an application; of two, one of
// which was started beside the other, that is the former one while it is live, or
// while the other one isn't.
type Status struct {
	Name      string      `json:"name"`
	Instance  string      `json:"instance"` // unique to one start
	Hash      string      `json:"hash"`     // Spec.Hash
	Component string      `json:"component,omitempty"`
	Mode      schema.Mode `json:"mode"`
	State     State       `json:"state"`

	PID       int       `json:"pid,omitempty"` // in the node's PID namespace; 0 unless Running
	StartedAt time.Time `json:"startedAt"`     // zero until Running
	ExitedAt  time.Time `json:"exitedAt"`      // zero until Exited; of a lost workload, when the loss was noticed

	ExitCode int    `json:"exitCode"`         // 128 + number when ended by a signal
	Signal   string `json:"signal,omitempty"` // "SIGKILL" when ended by a signal
	OOM      bool   `json:"oom,omitempty"`    // ended after the kernel enforced the memory limit

	Target         string `json:"target,omitempty"`         // attach: whose container it joined
	TargetInstance string `json:"targetInstance,omitempty"` // and which instance of it
	TargetEnded    bool   `json:"targetEnded,omitempty"`    // Exited: it went down with that

	Addresses []string `json:"addresses,omitempty"` // of its own, with schema.NetworkBridge; IPv4 first

	Error string `json:"error,omitempty"` // Failed: why, for humans

	Claims []string `json:"claims,omitempty"` // of List: what it needs for itself, as Claims names it
	Next   *Status  `json:"next,omitempty"`   // of List: the instance that was started beside it, whatever became of that
}

// Runner starts, stops, removes and lists workloads, the same for every mode.
// Methods are safe for concurrent use; calls for one name are serialised.
type Runner interface {
	// Start makes a new instance and returns once its program runs. A former
	// instance of the name that has ended is cleaned up first; a live one is
	// ErrRunning. ErrUnsupported and ErrInvalid are final for the Spec, any
	// other error may pass. After an error nothing of the instance runs, and
	// List shows it as Failed if it got as far as an instance.
	Start(ctx context.Context, spec Spec) (Status, error)

	// Stop sends SIGTERM to the workload's main process and SIGKILL to all its
	// processes once that has exited or grace is over; 0 kills at once. On
	// return all are dead and the exit is recorded. Of two instances it ends both.
	// Stopping what is not live returns its status. Unknown names are ErrNotFound. If ctx ends first the
	// stop goes on without the caller.
	Stop(ctx context.Context, name string, grace time.Duration) (Status, error)

	// Remove stops the workload, deletes everything that belongs to the name,
	// its data included, and keeps the log. Unknown names are no error.
	Remove(ctx context.Context, name string) error

	// List returns the latest instance of every known name, ordered by name, and
	// as Failed without an instance what a start or removal cut off has left,
	// from disk and /proc alone: it is right after a restart of the agent, of
	// the node, and after any process was killed. A live instance of a later
	// version of this program is Running with nothing known but that, and says so
	// in Error; calls for its name are ErrForeign.
	List(ctx context.Context) ([]Status, error)
}

// HandOver is what a Runner may do beyond its contract: let one instance take over
// from another without a gap. Start with Spec.Former begins that; the new instance
// has a cgroup, a writable layer, addresses and files of its own, and shares the log
// and the data. Should Former have ended, it is a start like any other. After an
// error there is nothing but the former instance.
type HandOver interface {
	// Dismiss ends one of two instances of a name, as Stop does, and deletes it, so
	// that the other one is the only one. The former one it ends only while the
	// other runs: else it is ErrBeside. What isn't there is no error.
	Dismiss(ctx context.Context, name, instance string, grace time.Duration) error
}

// Reloader is what a Runner may do beyond its contract: bring changed files into
// an instance that goes on running.
type Reloader interface {
	// Reload replaces the content of files of the live instance, each as a whole,
	// does to its program what Spec.Reload says, and gives the instance the hash
	// of spec, which may differ from what it runs with in nothing but the content
	// of files, how to reload, and StopGrace: anything else is ErrInvalid. After
	// an error the files may have changed and the hash has not; it can be tried
	// again, and a Start makes up for it in any case.
	Reload(ctx context.Context, spec Spec) (Status, error)
}

// Documented failures of a Runner; test with errors.Is.
var (
	// ErrUnsupported: the mode or this version cannot do what an option asks;
	// the message names the option. Final until the Spec changes.
	ErrUnsupported = errors.New("not supported")
	// ErrInvalid: the Spec contradicts itself or names what is not there, such
	// as a program that does not exist. Final until the Spec changes.
	ErrInvalid = errors.New("invalid workload")
	// ErrRunning: the name has a live instance.
	ErrRunning = errors.New("already running")
	// ErrBeside: one of two instances stands in the way of the other.
	ErrBeside = errors.New("cannot be beside the instance that runs")
	// ErrForeign: the name has a live instance of a later version of this program,
	// which is left alone. It passes with an upgrade, or when the instance ends.
	ErrForeign = errors.New("held by a later version")
	// ErrNotFound: no instance of the name is known.
	ErrNotFound = errors.New("no such workload")
	// ErrTarget: the application to attach to has no running container, or
	// another instance than the one asked for.
	ErrTarget = errors.New("attach target is not running")
	// ErrPortTaken: one of Ports is in use on the node; the message names it. It
	// may become free.
	ErrPortTaken = errors.New("port taken")
	// ErrNoRange: every Range of the node's SubIDs is taken; the message has the
	// numbers. One becomes free when an application that has one is removed.
	ErrNoRange = errors.New("no users are left")
)
