package upgrade

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gnomon/edge/artifact"
	"gnomon/edge/upgrade/slot"
	"gnomon/schema"
)

// ErrHandOver: another version is to be started in place of this one. The agent
// ends, with exit status 0, and its launcher goes on.
var ErrHandOver = errors.New("another version takes over")

// Components makes ready what a version is installed from.
type Components interface {
	Resolve(ctx context.Context, reference string) (artifact.Component, error)
}

// Config of an Upgrade. All but Launch, Cloud, Now and Log are required.
type Config struct {
	Version    string       // of this agent
	Shim       string       // that it uses, for versions that come without one
	Launch     *slot.Launch // by which it was started; nil: it upgrades nothing
	Components Components
	// Instances names the instance of every workload that runs, by application.
	Instances func(context.Context) (map[string]string, error)
	Cloud     func() bool // tells whether the cloud is in reach

	Now func() time.Time
	Log *slog.Logger
}

// Phase is how far an upgrade has come.
type Phase string

// The phases. A failed one may go on by itself, if its error is retryable.
const (
	Fetching   Phase = "fetching"
	Installing Phase = "installing"
	Switching  Phase = "switching"
	Trial      Phase = "trial"
	Done       Phase = "done"
	Failed     Phase = "failed"
)

// Status is the present upgrade, or the last one.
type Status struct {
	Phase   Phase     `json:"phase,omitempty"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Waiting []string  `json:"waiting,omitempty"` // on trial: what is missing
	At      time.Time `json:"at,omitzero"`       // since when
	Error   *Fault    `json:"error,omitempty"`
}

// Why says what keeps an upgrade from being done, "" if nothing does.
func (s Status) Why() string {
	switch {
	case s.Error != nil:
		return ": " + s.Error.Message + " (" + s.Error.Code + ")"
	case len(s.Waiting) > 0:
		return ", waiting: " + strings.Join(s.Waiting, "; ")
	}
	return ""
}

// Fault is why an upgrade has failed.
type Fault struct {
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Retryable bool      `json:"retryable"`
	At        time.Time `json:"at"`
}

func (f *Fault) Error() string { return f.Code + ": " + f.Message }

// Upgrade is the agent's own upgrade. Its methods may be called concurrently.
type Upgrade struct {
	cfg     Config
	dir     *slot.Dir
	trial   bool
	began   time.Time
	changed chan struct{} // Report gives something else
	kick    chan struct{} // something to act on changed

	mu      sync.Mutex
	wanted  *schema.NodeAgent
	asked   bool // whether anything is wanted has been told: a pass over all workloads is over
	status  Status
	missing []string // instances that this agent doesn't know though the one before it did
}

// New starts nothing. Begin has to be called before workloads are touched.
func New(cfg Config) *Upgrade {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	u := &Upgrade{cfg: cfg, began: time.Now(), changed: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
	if cfg.Launch != nil {
		u.dir = slot.At(cfg.Launch.Data)
		u.trial = cfg.Launch.Trial > 0 && u.dir.Target(slot.New) == cfg.Launch.Target
	}
	return u
}

// Begin takes in what the launcher and the version before this one left, and
// compares the workloads that run with those that did.
func (u *Upgrade) Begin(ctx context.Context) error {
	if u.dir == nil {
		return nil
	}
	intent := u.dir.Intent()
	if err := u.absorb(intent); err != nil {
		return err
	}
	switch {
	case u.trial:
		u.set(Status{Phase: Trial, From: intent.From, To: u.cfg.Version})
		if u.cfg.Launch.Trial == 1 { // later, this version may have changed them itself
			now, err := u.cfg.Instances(ctx)
			if err != nil {
				return err
			}
			for app, instance := range intent.Instances {
				if now[app] != instance {
					u.missing = append(u.missing, app)
				}
			}
		}
	case intent.Name != "" && u.dir.Target(slot.Current) == u.dir.Version(intent.Name):
		u.set(Status{Phase: Done, From: intent.From, To: intent.Version})
	}
	return nil
}

// absorb remembers what the launcher gave up.
func (u *Upgrade) absorb(intent slot.Intent) error {
	v := u.dir.Verdict()
	if v.Name == "" || v.Name != intent.Name || u.dir.Target(slot.Current) == u.dir.Version(v.Name) || u.trial {
		return nil
	}
	all := u.dir.Failed()
	f := slot.Failed{Hash: intent.Hash, Version: intent.Version}
	kept := all[:0]
	for _, e := range all {
		if e.Hash == f.Hash {
			f = e
		} else {
			kept = append(kept, e)
		}
	}
	if !f.Verdict.At.Equal(v.At) {
		f.Attempts++
	}
	f.Verdict = v
	u.set(Status{Phase: Failed, From: intent.From, To: intent.Version, Error: faultOf(v)})
	return u.dir.SetFailed(append(kept, f))
}

func faultOf(v slot.Verdict) *Fault {
	return &Fault{Code: v.Code, Message: v.Message, Retryable: v.Retryable, At: v.At}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed signals that Report may give something else. It is a level.
func (u *Upgrade) Changed() <-chan struct{} { return u.changed }

// Want tells which version the node is to have; nil: the one it has. It is called
// after every pass over the workloads, also when nothing has changed.
func (u *Upgrade) Want(a *schema.NodeAgent) {
	u.mu.Lock()
	same := u.asked && (a == nil) == (u.wanted == nil) && (a == nil || *a == *u.wanted)
	u.wanted, u.asked = a, true
	u.mu.Unlock()
	if !same {
		signal(u.kick)
	}
}

// Status returns the present upgrade, or the last one.
func (u *Upgrade) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

func (u *Upgrade) set(s Status) {
	s.At = u.cfg.Now()
	u.mu.Lock()
	u.status = s
	u.mu.Unlock()
	signal(u.changed)
}

func (u *Upgrade) want() (a *schema.NodeAgent, asked bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.wanted, u.asked
}

// Run upgrades when that is wanted. It returns ErrHandOver when this agent has to
// end for it, and nil when ctx ends.
func (u *Upgrade) Run(ctx context.Context) error {
	if u.trial {
		if err := u.prove(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	if u.dir != nil {
		if err := u.dir.Collect(); err != nil {
			u.cfg.Log.Warn("former versions can't be removed", "error", err)
		}
	}
	return u.follow(ctx)
}

// satisfied tells whether this is the version that is wanted.
func (u *Upgrade) satisfied(a *schema.NodeAgent) bool {
	if a == nil {
		return true
	}
	if a.Version != u.cfg.Version {
		return false
	}
	m := u.manifest()
	return a.Digest == "" || m.Digest == "" || a.Digest == m.Digest
}

// manifest is what this version's directory says; empty for the factory's.
func (u *Upgrade) manifest() slot.Manifest {
	if u.cfg.Launch == nil {
		return slot.Manifest{}
	}
	m, err := u.dir.ManifestOf(u.cfg.Launch.Target)
	if err != nil {
		return slot.Manifest{}
	}
	return m
}

// program is the path of a program in a directory.
func program(dir, name string) string { return filepath.Join(dir, name) }
