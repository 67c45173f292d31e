package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
)

// Config of an Executor.
type Config struct {
	Data   string // absolute; created
	Shim   string // the gnomon-shim program
	Cgroup string // absolute path of the cgroup all workloads live below, such as /gnomon/n1; two agents on a node need two

	LogBytes int64 // of one log file; default 1 MiB
	LogFiles int   // kept per application; default 3
	// Bridge is where containers with a network of their own are plugged in;
	// default workload.DefaultBridge.
	Bridge workload.Bridge
	// SubIDs are the users of the node that containers with users of their own have
	// them from; default workload.DefaultSubIDs. Two agents on a node need two.
	SubIDs workload.Range

	// StartTimeout bounds the set-up of a workload, not its run; default 30 s. It
	// only ever matters on a node whose disk or kernel hangs.
	StartTimeout time.Duration

	Log *slog.Logger // default: discard
}

// Executor runs workloads on this node. It implements workload.Runner.
type Executor struct {
	cfg     Config
	shims   string // cgroup of all shims
	changes chan struct{}
	wake    wakeup

	owners sync.Mutex // one user, or range of users, is given at a time

	mu    sync.Mutex
	names map[string]*sync.Mutex // serialises the calls for one name
}

var (
	_ workload.Runner   = (*Executor)(nil)
	_ workload.HandOver = (*Executor)(nil)
	_ workload.Reloader = (*Executor)(nil)
)

// New checks the configuration. It starts nothing and looks at nothing that runs.
func New(cfg Config) (*Executor, error) {
	if !filepath.IsAbs(cfg.Data) {
		return nil, fmt.Errorf("data directory %q is not absolute", cfg.Data)
	}
	cfg.Data = filepath.Clean(cfg.Data)
	if strings.ContainsRune(cfg.Data, '\n') {
		return nil, fmt.Errorf("data directory %q holds a line break", cfg.Data)
	}
	if _, err := cgroup.At(cfg.Cgroup); err != nil {
		return nil, err
	}
	if cfg.Bridge == (workload.Bridge{}) {
		cfg.Bridge = workload.DefaultBridge()
	}
	if err := cfg.Bridge.Check(); err != nil {
		return nil, err
	}
	if cfg.SubIDs == (workload.Range{}) {
		cfg.SubIDs = workload.DefaultSubIDs()
	}
	if err := cfg.SubIDs.Check(); err != nil {
		return nil, err
	}
	shim, err := filepath.Abs(cfg.Shim)
	if err != nil {
		return nil, err
	}
	cfg.Shim = shim
	if cfg.LogBytes <= 0 {
		cfg.LogBytes = 1 << 20
	}
	if cfg.LogFiles <= 0 {
		cfg.LogFiles = 3
	}
	if cfg.StartTimeout <= 0 {
		cfg.StartTimeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []string{"run", "apps", "logs", "subids"} {
		// Other users of the node have no business with files and environments.
		if err := os.MkdirAll(filepath.Join(cfg.Data, d), 0o711); err != nil {
			return nil, err
		}
	}
	// No application can be called so.
	shims := filepath.Join(cfg.Cgroup, "_shims")
	return &Executor{cfg: cfg, shims: shims, changes: make(chan struct{}, 1), wake: newWakeup(), names: map[string]*sync.Mutex{}}, nil
}

// Changes signals that List may have changed since it was last called: a
// workload ended or its shim died. It is a level, not a count, and needs Run.
func (e *Executor) Changes() <-chan struct{} { return e.changes }

// LogPath returns the current log file of a name; predecessors have .1 and so on
// appended.
func (e *Executor) LogPath(name string) string {
	return filepath.Join(e.cfg.Data, "logs", name+".log")
}

// DataPath returns the directory of a name that survives updates.
func (e *Executor) DataPath(name string) string { return filepath.Join(e.app(name), "data") }

// Usage reads what an application uses now.
func (e *Executor) Usage(name string) (cgroup.Usage, error) {
	st, ok := e.find(name)
	if !ok {
		return cgroup.Usage{}, fmt.Errorf("%w: %s", workload.ErrNotFound, name)
	}
	if err := st.foreign(); err != nil {
		return cgroup.Usage{}, err
	}
	g, err := e.group(st)
	if err != nil {
		return cgroup.Usage{}, err
	}
	return g.Usage(), nil
}

// List implements workload.Runner.
func (e *Executor) List(context.Context) ([]workload.Status, error) {
	entries, err := os.ReadDir(filepath.Join(e.cfg.Data, "run"))
	if err != nil {
		return nil, err
	}
	all := []workload.Status{}
	for _, d := range entries { // sorted by name
		if inst, ok := e.find(d.Name()); ok {
			all = append(all, e.status(inst))
		} else if _, err := os.Stat(e.run(d.Name())); err == nil {
			// A start or a removal was cut off. Whoever removes what isn't
			// wanted has to hear of it, or it would lie around for ever.
			all = append(all, workload.Status{Name: d.Name(), State: workload.Failed, Error: "left over from a start or a removal that was cut off"})
		}
	}
	return all, nil
}

func (e *Executor) app(name string) string { return filepath.Join(e.cfg.Data, "apps", name) }
func (e *Executor) run(name string) string { return filepath.Join(e.cfg.Data, "run", name) }

// group returns the cgroup of an instance: below the target's for an attached one.
func (e *Executor) group(f found) (cgroup.Group, error) { return cgroup.At(f.req.Cgroup) }

func (e *Executor) cgroupOf(s workload.Spec) string {
	return filepath.Join(e.cfg.Cgroup, s.Name)
}

// lock serialises the calls for a name.
func (e *Executor) lock(name string) (unlock func()) {
	m := e.mutex(name)
	m.Lock()
	return m.Unlock
}

func (e *Executor) tryLock(name string) (unlock func(), ok bool) {
	m := e.mutex(name)
	return m.Unlock, m.TryLock()
}

func (e *Executor) mutex(name string) *sync.Mutex {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.names[name]
	if m == nil {
		m = &sync.Mutex{}
		e.names[name] = m
	}
	return m
}

// found is an instance on disk.
type found struct {
	dir   instance.Dir
	req   instance.Request
	newer int // protocol version of its shim, where that is a later one and lives
	live  bool
	next  *found // the instance that was started beside it
}

// name is that of the application.
func (f found) name() string { return filepath.Base(filepath.Dir(string(f.dir))) }

// foreign is ErrForeign for an instance that is not to be touched.
func (f found) foreign() error {
	if f.newer == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is held by a shim that speaks protocol %d, this agent up to %d; it is left alone until the agent is upgraded or it ends",
		workload.ErrForeign, f.name(), f.newer, instance.Protocol)
}

// status tells how an instance is, and the one beside it.
func (e *Executor) status(f found) workload.Status {
	st := e.alone(f)
	if f.newer == 0 && st.State.Live() {
		st.Claims = e.claims(f)
	}
	if f.next != nil {
		next := e.alone(*f.next)
		st.Next = &next
	}
	return st
}

// alone tells how an instance is. A shim that is gone without having written
// how its workload ended leaves a loss, which is recorded here for good.
func (e *Executor) alone(f found) workload.Status {
	if err := f.foreign(); err != nil {
		return workload.Status{Name: f.name(), Instance: filepath.Base(string(f.dir)), State: workload.Running, Error: err.Error()}
	}
	live := f.dir.Held()
	rec, err := f.dir.ReadRecord()    // after looking at the shim: its last words count
	rec.Status.Hash = f.req.Spec.Hash // a reload gives it another
	if err == nil && (live || !rec.Status.State.Live()) {
		return rec.Status
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.cfg.Log.Error("instance record is unreadable", "dir", string(f.dir), "error", err)
	}
	if err != nil {
		s := f.req.Spec
		rec = instance.Record{Status: workload.Status{Name: s.Name, Instance: f.req.Instance, Hash: s.Hash,
			Component: s.Component, Mode: s.Mode, State: workload.Starting, Target: s.Target, TargetInstance: s.TargetInstance}}
		if live {
			return rec.Status
		}
	}
	rec.Status.Error = loss(f.dir, rec)
	rec.Status.State, rec.Status.PID, rec.Status.ExitedAt = workload.Failed, 0, time.Now()
	e.record(f, rec)
	return rec.Status
}

// record writes down a loss, unless a call for the name is under way: a start or
// a removal is about to delete the instance, and must not find anything new in it.
func (e *Executor) record(f found, rec instance.Record) {
	unlock, ok := e.tryLock(rec.Status.Name)
	if !ok {
		return
	}
	defer unlock()
	if err := f.dir.WriteRecord(rec); err != nil && !errors.Is(err, os.ErrNotExist) {
		e.cfg.Log.Error("loss of an instance cannot be recorded", "dir", string(f.dir), "error", err)
	}
}

// loss says in words why it is not known how an instance ended.
func loss(dir instance.Dir, rec instance.Record) string {
	switch {
	case rec.Status.State == workload.Starting:
		return "shim lost: it ended before the workload ran" + lastWords(dir)
	case rec.Boot != instance.BootID():
		return "the node restarted while the workload ran"
	case rec.Alive():
		return "shim lost: it was killed; what is left of the workload is ended with the next start, stop or removal"
	default:
		return "shim lost: it was killed, how the workload ended is not known" + lastWords(dir)
	}
}

// lastWords are the end of what the shim wrote to its own log.
func lastWords(dir instance.Dir) string {
	b, err := os.ReadFile(dir.ShimLog())
	if err != nil || len(b) == 0 {
		return ""
	}
	if len(b) > 500 {
		b = b[len(b)-500:]
	}
	return ": " + strings.TrimSpace(string(b))
}

// reap collects a shim that was a child of this process; others are not ours.
func reap(pid int) {
	var s unix.WaitStatus
	_, _ = unix.Wait4(pid, &s, unix.WNOHANG, nil)
}
