package slot

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Env is the variable by which a launcher tells the agent it starts of itself.
const Env = "GNOMON_LAUNCH"

// Protocol is the number of what is said here. A launcher is older than the
// agents it starts: what is added must be optional.
const Protocol = 1

// Launch is what an agent is told by its launcher, in Env.
type Launch struct {
	Protocol int           `json:"protocol"`
	Data     string        `json:"data"`            // the directory of everything the agent keeps
	Factory  string        `json:"factory"`         // directory of the version that was installed with the launcher
	Target   string        `json:"target"`          // directory of the version that was started
	Trial    int           `json:"trial,omitempty"` // number of the start on trial; 0: not on trial
	Settle   time.Duration `json:"settle"`          // an agent on trial has been healthy for that long before it is kept
	Alone    time.Duration `json:"alone"`           // how long it runs instead of reaching a cloud that wasn't in reach before
}

// Launched returns what the launcher of this process says, nil when there is
// none, and takes it out of the environment: children have other launchers.
func Launched() (*Launch, error) {
	text := os.Getenv(Env)
	if text == "" {
		return nil, nil
	}
	_ = os.Unsetenv(Env)
	l := new(Launch)
	if err := json.Unmarshal([]byte(text), l); err != nil {
		return nil, fmt.Errorf("%s: %w", Env, err)
	}
	if l.Protocol < 1 {
		return nil, fmt.Errorf("%s: protocol %d is none", Env, l.Protocol)
	}
	return l, nil
}

// ExitIO is the exit status by which an agent tells its launcher that what failed
// is the disk, its space, or the lock on it, which says nothing of the version.
const ExitIO = 74

// Intent is what an agent wrote before it put another version on trial.
type Intent struct {
	Name      string            `json:"name"` // of the version's directory
	Version   string            `json:"version"`
	Component string            `json:"component,omitempty"`
	Hash      string            `json:"hash"`                // of its programs
	From      string            `json:"from"`                // version
	Cloud     bool              `json:"cloud"`               // was in reach
	Instances map[string]string `json:"instances,omitempty"` // of the applications that were running
	At        time.Time         `json:"at"`
}

// Starts is what the launcher counts of one version.
type Starts struct {
	Target  string `json:"target"`
	Trial   bool   `json:"trial"`
	Starts  int    `json:"starts"`           // begun, however they ended
	Crashes int    `json:"crashes"`          // bad ones
	IO      int    `json:"io"`               // ended by ExitIO
	Reason  string `json:"reason,omitempty"` // of the last one that ended badly
}

// Verdict is why the launcher gave a version up.
type Verdict struct {
	Name      string    `json:"name"` // of the version's directory
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Retryable bool      `json:"retryable"` // it says little about the version itself
	At        time.Time `json:"at"`
}

// Codes of verdicts.
const (
	CodeCrashed     = "crashed"     // bad starts
	CodeUnhealthy   = "unhealthy"   // not healthy in time
	CodeCloud       = "no-cloud"    // all it lacked was the cloud, which had been in reach before
	CodeIO          = "io"          // the disk failed too often
	CodeInterrupted = "interrupted" // the node went down too often while it was on trial
	CodeUnusable    = "unusable"    // it can't be started at all
)

// Failed is a version that is not tried again, or not soon.
type Failed struct {
	Hash     string  `json:"hash"`
	Version  string  `json:"version"`
	Verdict  Verdict `json:"verdict"`
	Attempts int     `json:"attempts"`
}

// maxFailed bounds what is remembered of failures; the oldest is forgotten.
const maxFailed = 16

// Health is what an agent on trial lacks to be healthy.
type Health struct {
	Target  string   `json:"target"`
	Waiting []string `json:"waiting"`
	Cloud   bool     `json:"cloud"` // the cloud is all it waits for
}

// Intent returns what the last trial was to be; the zero value if there was none.
func (d *Dir) Intent() (i Intent) {
	if !d.read("intent.json", &i) {
		return Intent{}
	}
	return i
}

// SetIntent writes what is to be tried. The agent writes it.
func (d *Dir) SetIntent(i Intent) error { return d.write("intent.json", i) }

// Starts returns what was counted of the version in dir.
func (d *Dir) Starts(dir string, trial bool) (s Starts) {
	if !d.read("starts.json", &s) || s.Target != dir || s.Trial != trial {
		return Starts{Target: dir, Trial: trial}
	}
	return s
}

// SetStarts writes what was counted. The launcher writes it.
func (d *Dir) SetStarts(s Starts) error { return d.write("starts.json", s) }

// ForgetTrial forgets what was counted of a trial that is over: the version may be
// tried again. The launcher calls it.
func (d *Dir) ForgetTrial() error {
	var s Starts
	if !d.read("starts.json", &s) || !s.Trial {
		return nil
	}
	return d.SetStarts(Starts{})
}

// Verdict returns the launcher's last verdict; the zero value if there is none.
func (d *Dir) Verdict() (v Verdict) {
	if !d.read("verdict.json", &v) {
		return Verdict{}
	}
	return v
}

// SetVerdict writes why a version is given up. The launcher writes it, before it
// gives it up.
func (d *Dir) SetVerdict(v Verdict) error { return d.write("verdict.json", v) }

// Failed returns the versions that failed, the last one last.
func (d *Dir) Failed() (all []Failed) {
	if !d.read("failed.json", &all) {
		return nil
	}
	return all
}

// SetFailed writes which versions failed. The agent writes it.
func (d *Dir) SetFailed(all []Failed) error {
	return d.write("failed.json", all[max(0, len(all)-maxFailed):])
}

// Health returns what the version in dir said last of what it lacks.
func (d *Dir) Health(dir string) (h Health) {
	if !d.read("health.json", &h) || h.Target != dir {
		return Health{}
	}
	return h
}

// SetHealth tells what an agent on trial lacks. The agent writes it.
func (d *Dir) SetHealth(h Health) error { return d.write("health.json", h) }

// CrashFile is where an agent's last words go.
func (d *Dir) CrashFile() string { return d.at("crash") }

// TakeCrash returns the beginning of the last words, and removes them.
func (d *Dir) TakeCrash() string {
	f, err := os.Open(d.CrashFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 512)
	n, _ := f.Read(b)
	if err := os.Remove(d.CrashFile()); err != nil {
		return "" // rather than take it for another's the next time
	}
	return string(b[:n])
}
