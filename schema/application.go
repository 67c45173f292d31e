package schema

import "time"

// Application is what the desired section of an app:<name> shadow says, with
// defaults applied.
type Application struct {
	Component string   `json:"component"` // name@version of the catalog, or file:///path; "" when command names a program that is already there
	Mode      Mode     `json:"mode"`      // default container
	AttachTo  string   `json:"attachTo"`  // mode attach: the application whose container is joined
	State     RunState `json:"state"`     // default running
	Run       Run      `json:"run"`
	DependsOn []string `json:"dependsOn"` // applications of the node that must run first, and be healthy if they have a probe
	Update    Update   `json:"update"`
}

// Update is how one run configuration follows another. It is committed once it
// ran for Healthy, and was healthy all that time if it has a probe; a program
// that ended as it should counts too. Until then the node reports what was
// committed before.
type Update struct {
	Healthy  Duration `json:"healthy"`  // default 30s with rollback, 10s with a strategy that may start first, else 0s: committed as soon as it runs
	Rollback bool     `json:"rollback"` // one that fails before it is committed gives way to the last one that was
	Strategy Strategy `json:"strategy"` // which of two instances is there first; "" = stop-first
	Shared   bool     `json:"shared"`   // two instances can use its data, lasting volumes, devices and ports of the node at once
}

// Strategy says in which order an instance takes the place of another.
type Strategy string

// The strategies. An instance that is started first has to be well for
// Update.Healthy beside the one that runs, but for no longer than MaxBeside, before
// that is stopped; if it fails, the one that runs goes on, and what was desired is
// not tried again.
const (
	StopFirst  Strategy = "stop-first"  // the old one is stopped, then the new one is started
	StartFirst Strategy = "start-first" // the new one is started beside the old one; while it can't be, the old one stays
	StartAuto  Strategy = "auto"        // start-first where nothing stands against it, else stop-first
)

// StartsFirst tells whether an instance may be started beside the one that runs.
func (u Update) StartsFirst() bool { return u.Strategy == StartFirst || u.Strategy == StartAuto }

// RunState is whether an application shall run.
type RunState string

// The run states.
const (
	StateRunning RunState = "running"
	StateStopped RunState = "stopped"
)

// Run is the run configuration, the same in all three modes; Matrix says what
// each mode does with it.
type Run struct {
	Command      []string          `json:"command"`      // replaces the component's entry point
	Args         []string          `json:"args"`         // replaces the component's arguments
	Env          map[string]string `json:"env"`          // added to the component's environment
	Files        []File            `json:"files"`        // placed before start
	Reload       Reload            `json:"reload"`       // how a change of nothing but the content of files takes effect; "" = by a restart
	Ports        []Port            `json:"ports"`        // reachable from outside the node
	Network      Network           `json:"network"`      // host (default) or bridge
	DNS          *DNS              `json:"dns"`          // name servers of the container; nil = the node's
	Hostname     string            `json:"hostname"`     // inside the container
	Privileged   bool              `json:"privileged"`   // all capabilities and devices
	Serial       []string          `json:"serial"`       // serial ports of the node, such as /dev/ttyS1
	Devices      []Device          `json:"devices"`      // of the node, besides the few that every program needs
	Capabilities *Capabilities     `json:"capabilities"` // other than UsualCapabilities
	ReadOnly     bool              `json:"readOnly"`     // the root file system; volumes, data, /tmp, /run and /var/tmp stay writable
	Init         bool              `json:"init"`         // a first process that passes signals on and collects orphans
	Volumes      []Volume          `json:"volumes"`      // directories beside the component's
	Timezone     string            `json:"timezone"`     // of the node's tables, such as Asia/Shanghai; "" = the component's
	Log          *Log              `json:"log"`          // bounds of the output that is kept; nil = the node's
	User         string            `json:"user"`         // uid, uid:gid or a name known where it runs; "" = the component's, else root; mode host: UserOwn
	Dir          string            `json:"dir"`          // working directory; "" = the component's
	StopGrace    Duration          `json:"stopGrace"`    // from the polite signal to the forced one; default 10s
	Resources    Resources         `json:"resources"`
	Restart      Restart           `json:"restart"`
	Health       *Health           `json:"health"`

	UserNamespace UserNamespace `json:"userNamespace"` // whose users a container has: host (default) or auto
}

// UserOwn as run.user is a user that no other application of the node has, for
// mode host.
const UserOwn = "own"

// File is a file with inline content, or a file or directory of the component.
type File struct {
	Path     string `json:"path"`               // absolute
	Content  string `json:"content"`            // UTF-8, at most MaxFileContent bytes
	From     string `json:"from,omitempty"`     // instead of content: a file or directory of the component, relative to its root; copied
	Mode     string `json:"mode"`               // octal permission bits; default 0644, with from those of the component
	ReadOnly bool   `json:"readOnly,omitempty"` // the application cannot write to it
}

// Reload is what is done once changed files are in place, each replaced as a
// whole, while the application goes on running.
type Reload string

// The ways to reload. A signal goes to the application's first process, which
// must handle it: one that doesn't is restarted instead.
const (
	ReloadNone Reload = "none" // it looks at its files by itself
	ReloadHUP  Reload = "SIGHUP"
	ReloadUSR1 Reload = "SIGUSR1"
	ReloadUSR2 Reload = "SIGUSR2"
)

// Network is whose network a container has.
type Network string

// The networks.
const (
	NetworkHost   Network = "host"   // the node's own
	NetworkBridge Network = "bridge" // one of its own on the node's bridge, reached by run.ports
)

// UserNamespace is whose users a container has.
type UserNamespace string

// The users of a container.
const (
	UserNamespaceHost UserNamespace = "host" // the node's: its user 0 is the node's root, with less to do
	UserNamespaceAuto UserNamespace = "auto" // its own, which on the node are a range of unprivileged ones that no other application has
)

// DNS says whom a container asks for names.
type DNS struct {
	Servers []string `json:"servers"` // addresses, at most MaxDNSServers; empty = the node's
	Search  []string `json:"search"`  // domains, at most MaxDNSSearch; empty = the node's
}

// Device is a device of the node under its own name.
type Device struct {
	Path   string `json:"path"`   // below /dev
	Access string `json:"access"` // r, w or rw (default)
}

// Capabilities changes what the root of a container may do. ALL stands for every
// capability, and what is added counts after what is dropped.
type Capabilities struct {
	Add  []string `json:"add"` // such as NET_ADMIN
	Drop []string `json:"drop"`
}

// VolumeKind is how long a volume's content stays.
type VolumeKind string

// The kinds of volumes.
const (
	VolumeLasting   VolumeKind = "lasting"   // on the node's disk, through restarts and updates
	VolumeTemporary VolumeKind = "temporary" // in memory, until the container ends
)

// Volume is a directory that is not part of the component.
type Volume struct {
	Path string     `json:"path"` // where the container sees it; absolute
	Kind VolumeKind `json:"kind"` // default lasting
	Name string     `json:"name"` // lasting: what it is called on the node
	Keep bool       `json:"keep"` // lasting: it stays when the application is removed
	Size Bytes      `json:"size"` // temporary: its bound, which counts as memory; default 16Mi
}

// Log bounds the output of an application that is kept.
type Log struct {
	Size  Bytes `json:"size"`  // at which a file is put aside; 0 = the node's
	Files int   `json:"files"` // kept, the current one included; 0 = the node's
}

// Port makes a container's port reachable on the node. In the node's own network
// both numbers are the same.
type Port struct {
	Host      int    `json:"host"`      // 1 to 65535
	Container int    `json:"container"` // 1 to 65535; default Host
	Protocol  string `json:"protocol"`  // tcp (default) or udp
}

// Resources bounds what an application may use. Zero means no bound.
type Resources struct {
	CPU    CPU   `json:"cpu"`    // at least 10m
	Memory Bytes `json:"memory"` // at least MinMemory
	Pids   int64 `json:"pids"`   // processes and threads, at least 1
	Disk   Bytes `json:"disk"`   // its data, writable layers and logs; over it, it is stopped and not started
	IO     *IO   `json:"io"`     // nil = no bound
}

// IO bounds reading and writing, per second, on the disk that holds the agent's
// data. Zero means no bound. A v1 cgroup does not bound what is written by way of
// the page cache.
type IO struct {
	Read     Bytes `json:"read"` // at least MinIO
	Write    Bytes `json:"write"`
	ReadOps  int64 `json:"readOps"` // at least 10
	WriteOps int64 `json:"writeOps"`
}

// RestartPolicy says after which exits an application is started again.
type RestartPolicy string

// The restart policies.
const (
	RestartAlways    RestartPolicy = "always"
	RestartOnFailure RestartPolicy = "on-failure" // exit status other than 0, or killed
	RestartNever     RestartPolicy = "never"
)

// Restart is the restart policy with its backoff, which doubles from Backoff to
// BackoffMax and starts over once the application stayed up for BackoffReset.
type Restart struct {
	Policy       RestartPolicy `json:"policy"`       // default always
	MaxRetries   int           `json:"maxRetries"`   // 0 = no limit
	Backoff      Duration      `json:"backoff"`      // default 1s
	BackoffMax   Duration      `json:"backoffMax"`   // default 1m
	BackoffReset Duration      `json:"backoffReset"` // default 10s
}

// Health is a probe; exactly one of HTTP, TCP and Exec is set. An instance is starting
// until enough probes in a row succeeded. One that is unhealthy is started again
// if the restart policy has it.
type Health struct {
	HTTP        *HTTPProbe `json:"http,omitempty"`
	TCP         *TCPProbe  `json:"tcp,omitempty"`
	Exec        *ExecProbe `json:"exec,omitempty"`
	StartPeriod Duration   `json:"startPeriod"` // from the start until a failure counts; ends with the first success; default 10s
	Interval    Duration   `json:"interval"`    // default 10s; at most a second in the start period
	Timeout     Duration   `json:"timeout"`     // default 2s
	Failures    int        `json:"failures"`    // in a row before it counts as unhealthy; default 3
	Successes   int        `json:"successes"`   // in a row before it counts as healthy; default 1
}

// HealthState is what the probe of an application says of its instance.
type HealthState string

// The health states.
const (
	HealthStarting  HealthState = "starting" // nothing is known for sure yet
	HealthHealthy   HealthState = "healthy"
	HealthUnhealthy HealthState = "unhealthy"
)

// HTTPProbe is healthy on a status from 200 to 399.
type HTTPProbe struct {
	Port int    `json:"port"`
	Path string `json:"path"` // default /
}

// TCPProbe is healthy when the port accepts a connection.
type TCPProbe struct {
	Port int `json:"port"`
}

// ExecProbe is healthy when a program that is run beside the application, in its
// container or as its user, ends with status 0. It counts within the
// application's limits. It is ended at the timeout; what it has started ends with
// it, whenever that is, unless that has left its session.
type ExecProbe struct {
	Command []string `json:"command"` // 1 to MaxProbeArgs arguments, the program first
}

// Limits of an application document, beyond those of every shadow.
const (
	MinMemory      Bytes = 4 << 20 // below it a container cannot be set up
	MinDisk        Bytes = 1 << 20 // below it not even its log has room
	MaxFileContent       = 32 << 10
	MaxFiles             = 32
	MaxPorts             = 64
	MaxEnv               = 256
	MaxProbeArgs         = 32
	MaxDependsOn         = 16
	MaxDNSServers        = 3 // more are not asked by any resolver
	MaxDNSSearch         = 6
	MaxDevices           = 32
	MaxVolumes           = 16
	MaxLogFiles          = 20

	MaxBeside = 5 * time.Minute // two instances of an application run well side by side

	MinIO      Bytes = 64 << 10 // bytes a second: below it nothing would start
	MinLogSize Bytes = 4 << 10
	MaxLogSize Bytes = 1 << 30
)
