package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gnomon/edge/upgrade/slot"
)

// Config of a Launcher. Dir, Data, Factory and Args are required.
type Config struct {
	Dir     *slot.Dir
	Data    string   // the agent's directory, absolute
	Factory string   // directory of the agent that was installed with the launcher, absolute
	Args    []string // of the agent

	Trial  time.Duration // a version on trial is healthy within that; default 10m
	Settle time.Duration // and for that long; default 10s
	Alone  time.Duration // see slot.Launch; default 5m
	Early  time.Duration // a crash this soon after a start is a bad start; default 1m
	Grace  time.Duration // between SIGTERM and SIGKILL; default 30s
	Pause  time.Duration // after a bad start, doubled up to PauseMax; default 1s
	Longer time.Duration // the longest pause; default 1m

	Stdout, Stderr io.Writer // of the agent; default this process's
	Now            func() time.Time
	Log            *slog.Logger
}

// Launcher keeps an agent running while Run runs.
type Launcher struct {
	cfg    Config
	starts slot.Starts // of the version started last
	bad    int         // starts in a row that ended badly
}

// New fills the configuration in. It starts nothing.
func New(cfg Config) *Launcher {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&cfg.Trial, 10 * time.Minute}, {&cfg.Settle, 10 * time.Second}, {&cfg.Alone, 5 * time.Minute},
		{&cfg.Early, time.Minute}, {&cfg.Grace, 30 * time.Second}, {&cfg.Pause, time.Second}, {&cfg.Longer, time.Minute},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if cfg.Stdout == nil {
		cfg.Stdout = os.Stdout
	}
	if cfg.Stderr == nil {
		cfg.Stderr = os.Stderr
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Launcher{cfg: cfg}
}

// Run keeps an agent running until ctx ends, and then ends it. The kernel kills
// the agent when the thread that started it is gone, so that there is one thread.
func (l *Launcher) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		c, err := l.choose()
		if err != nil {
			l.cfg.Log.Error("what to start can't be settled", "error", err)
			l.bad++
			l.rest(ctx)
			continue
		}
		// What is on trial is started only once that is on disk: or who is cut off
		// every time would start it for ever.
		l.starts = c.starts
		l.starts.Starts++
		if c.starts.Trial {
			if err := l.cfg.Dir.SetStarts(l.starts); err != nil {
				l.cfg.Log.Error("trial put off: its start can't be written", "error", err)
				l.starts = slot.Starts{}
				c = l.fallback()
			}
		}
		if e := l.once(ctx, c); ctx.Err() == nil {
			l.account(c, e)
			l.rest(ctx)
		}
	}
	return nil
}

// fallback is what is started while a trial can't be.
func (l *Launcher) fallback() choice {
	dir := l.cfg.Dir.Target(slot.Current)
	if dir == "" {
		dir = l.cfg.Factory
	}
	return choice{dir, l.startsOf(dir, false)}
}

// end is how a run of the agent ended.
type end struct {
	after   time.Duration
	code    int // -1 by a signal
	reason  string
	overdue bool // ended because it wasn't healthy in time
}

// once starts the agent and waits for its end.
func (l *Launcher) once(ctx context.Context, c choice) end {
	l.cfg.Dir.TakeCrash()
	told := slot.Launch{
		Protocol: slot.Protocol, Data: l.cfg.Data, Factory: l.cfg.Factory, Target: c.dir,
		Settle: l.cfg.Settle, Alone: l.cfg.Alone,
	}
	if c.starts.Trial {
		told.Trial = l.starts.Starts
	}
	text, err := json.Marshal(told)
	if err != nil {
		return end{code: -1, reason: err.Error()}
	}
	cmd := exec.Command(filepath.Join(c.dir, slot.Agent), l.cfg.Args...)
	cmd.Env = append(os.Environ(), slot.Env+"="+string(text))
	cmd.Stdout, cmd.Stderr = l.cfg.Stdout, l.cfg.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return end{code: -1, reason: err.Error()}
	}
	l.cfg.Log.Info("agent started", "version", filepath.Base(c.dir), "pid", cmd.Process.Pid, "trial", told.Trial)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	overdue := l.watch(ctx, c, cmd.Process, ended)
	e := end{after: time.Since(began), code: cmd.ProcessState.ExitCode(), overdue: overdue}
	e.reason = cmd.ProcessState.String()
	if last := l.cfg.Dir.TakeCrash(); last != "" {
		first, _, _ := strings.Cut(last, "\n\n")
		e.reason += ": " + strings.TrimSpace(first)
	}
	return e
}

// watch waits for the agent's end, and brings it about when it is time.
func (l *Launcher) watch(ctx context.Context, c choice, p *os.Process, ended chan error) (overdue bool) {
	var deadline <-chan time.Time
	if c.starts.Trial {
		t := time.NewTimer(l.cfg.Trial)
		defer t.Stop()
		deadline = t.C
	}
	var kill <-chan time.Time
	done := ctx.Done()
	for {
		select {
		case <-ended:
			return overdue
		case <-done:
			done, deadline = nil, nil
			kill = l.terminate(p)
		case <-deadline:
			deadline = nil
			if l.cfg.Dir.Target(slot.New) == c.dir { // else it is the current one by now
				overdue = true
				kill = l.terminate(p)
			}
		case <-kill:
			kill = nil
			_ = p.Kill() // if it has ended, so much the better
		}
	}
}

func (l *Launcher) terminate(p *os.Process) <-chan time.Time {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		l.cfg.Log.Warn("agent can't be signalled", "error", err)
	}
	return time.After(l.cfg.Grace)
}

// account counts how a run ended.
func (l *Launcher) account(c choice, e end) {
	trial := c.starts.Trial && l.cfg.Dir.Target(slot.New) == c.dir
	log := l.cfg.Log.With("version", filepath.Base(c.dir), "after", e.after.Round(time.Millisecond).String(), "how", e.reason)
	if e.code == 0 && l.handedOver(c) {
		log.Info("agent handed over")
		l.bad = 0
		return
	}
	log.Warn("agent ended")
	s := l.starts
	if c.starts.Trial && !trial { // kept in the meantime: what follows is counted anew
		s = slot.Starts{Target: c.dir}
	}
	switch {
	case e.overdue && trial:
		l.unhealthy(c.dir)
		return
	case e.code == slot.ExitIO:
		s.IO++
	case trial || e.after < l.cfg.Early:
		s.Crashes++
	default: // it had been running well
		s.Crashes, l.bad = 0, 0
	}
	if l.bad++; trial {
		if code, _ := over(s); code != "" {
			l.bad = 0 // the version before has done nothing to wait for
		}
	}
	s.Reason = e.reason
	l.starts = s
	if err := l.cfg.Dir.SetStarts(s); err != nil {
		log.Error("how it ended can't be written", "error", err)
	}
}

// handedOver tells whether an agent ended so that another version is started.
func (l *Launcher) handedOver(c choice) bool {
	next := l.cfg.Dir.Target(slot.New)
	abandoned := c.starts.Trial && next == "" && l.cfg.Dir.Target(slot.Current) != c.dir
	return abandoned || next != "" && next != c.dir
}

// unhealthy ends a trial that took too long.
func (l *Launcher) unhealthy(dir string) {
	code, reason := slot.CodeUnhealthy, "it didn't say what it waits for"
	if h := l.cfg.Dir.Health(dir); len(h.Waiting) > 0 {
		reason = strings.Join(h.Waiting, "; ")
		if h.Cloud {
			code = slot.CodeCloud
		}
	}
	reason = fmt.Sprintf("not healthy within %s: %s", l.cfg.Trial, reason)
	if err := l.giveUp(dir, code, reason, l.cfg.Dir.Reject); err != nil {
		l.cfg.Log.Error("verdict can't be written", "error", err)
	}
}

// rest waits after a bad start, the longer the more there were in a row.
func (l *Launcher) rest(ctx context.Context) {
	if l.bad == 0 {
		return
	}
	t := time.NewTimer(min(l.cfg.Longer, l.cfg.Pause<<min(l.bad-1, 20)))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
