package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/artifact"
	"gnomon/edge/upgrade/slot"
	"gnomon/schema"
)

// How failures that may pass are tried again.
const (
	pauseMin    = time.Second      // after the first failure, doubled up to
	pauseMax    = 10 * time.Minute // that
	trialPause  = time.Hour        // between trials of a version that failed for another's fault
	maxTrials   = 3                // of such a version
	probeWithin = 15 * time.Second // that a program says its version
	probeGrace  = time.Second      // that whatever it has started keeps its output open after it
)

// follow does what is wanted, whenever that changes.
func (u *Upgrade) follow(ctx context.Context) error {
	failures := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.kick:
			failures = 0
		case <-timer.C:
		}
		timer.Stop() // what both call for is done once
		select {
		case <-u.kick:
			failures = 0
		default:
		}
		a, asked := u.want()
		if !asked || u.satisfied(a) {
			u.settle(a)
			continue
		}
		err := u.attempt(ctx, a)
		switch {
		case errors.Is(err, ErrHandOver):
			return err
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errOvertaken):
			signal(u.kick)
			continue
		}
		f := u.fault(err)
		u.cfg.Log.Warn("agent can't be upgraded", "to", a.Version, "code", f.Code, "error", f.Message)
		u.set(Status{Phase: Failed, From: u.cfg.Version, To: a.Version, Error: f})
		if f.Retryable {
			timer.Reset(min(pauseMax, pauseMin<<min(failures, 20)))
			failures++
		}
	}
}

// settle forgets a failure that nobody is waiting for any more.
func (u *Upgrade) settle(a *schema.NodeAgent) {
	if s := u.Status(); s.Phase != "" && s.Phase != Done && !(a == nil && s.Phase == Failed) {
		u.set(Status{})
	}
}

// errOvertaken: something else is wanted by now.
var errOvertaken = errors.New("overtaken")

// attempt does everything up to the switch.
func (u *Upgrade) attempt(ctx context.Context, a *schema.NodeAgent) error {
	if u.dir == nil {
		return &Fault{Code: "no-launcher", Message: "the agent wasn't started by gnomon-launch, so nothing could start another version of it"}
	}
	if lower(a.Version, u.cfg.Version) && !a.Downgrade {
		return &Fault{Code: "downgrade", Message: fmt.Sprintf("%s is lower than %s, which runs; say downgrade: true if that is meant", a.Version, u.cfg.Version)}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := make(chan struct{})
	overtaken := false
	go func() { // a new wish breaks a fetch off
		defer close(watch)
		for {
			select {
			case <-ctx.Done():
				return
			case <-u.kick:
				if now, _ := u.want(); now == nil || *now != *a {
					overtaken = true
					cancel()
					return
				}
			}
		}
	}()
	err := u.prepare(ctx, a)
	cancel()
	<-watch
	if overtaken && !errors.Is(err, ErrHandOver) {
		return errOvertaken
	}
	return err
}

// prepare fetches, checks and installs a version, and puts it on trial.
func (u *Upgrade) prepare(ctx context.Context, a *schema.NodeAgent) error {
	u.set(Status{Phase: Fetching, From: u.cfg.Version, To: a.Version})
	c, err := u.cfg.Components.Resolve(ctx, a.Component)
	if err != nil {
		return err
	}
	if a.Digest != "" && a.Digest != c.Digest {
		have := c.Digest
		if have == "" {
			have = "none: it is a plain directory"
		}
		return &Fault{Code: "digest-mismatch", Message: fmt.Sprintf("%s shall have the digest %s and has %s", a.Component, a.Digest, have), Retryable: true}
	}
	u.set(Status{Phase: Installing, From: u.cfg.Version, To: a.Version})
	name, hash, err := u.install(ctx, a, c)
	if err != nil {
		return err
	}
	instances, err := u.cfg.Instances(ctx)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	u.set(Status{Phase: Switching, From: u.cfg.Version, To: a.Version})
	if err := u.dir.SetIntent(slot.Intent{
		Name: name, Version: a.Version, Component: a.Component, Hash: hash,
		From: u.cfg.Version, Cloud: u.cfg.Cloud(), Instances: instances, At: u.cfg.Now(),
	}); err != nil {
		return err
	}
	if err := u.dir.Stage(name); err != nil {
		return err
	}
	u.cfg.Log.Info("handing over", "from", u.cfg.Version, "to", a.Version)
	return ErrHandOver
}

// install lays a version beside the present one.
func (u *Upgrade) install(ctx context.Context, a *schema.NodeAgent, c artifact.Component) (name, hash string, err error) {
	src := slot.Source{Agent: program(c.Root, slot.Agent), Shim: program(c.Root, slot.Shim)}
	if err := slot.Usable(c.Root); err != nil {
		return "", "", &Fault{Code: "component-unusable", Message: fmt.Sprintf("%s holds no program %s: %v", a.Component, slot.Agent, err), Retryable: true}
	}
	if _, err := os.Stat(src.Shim); errors.Is(err, os.ErrNotExist) {
		src.Shim = u.cfg.Shim
	}
	if hash, err = slot.HashOf(src.Agent, src.Shim); err != nil {
		return "", "", err
	}
	if f := u.blocked(hash); f != nil {
		return "", "", f
	}
	name, err = slot.NameOf(a.Version, hash)
	if err != nil {
		return "", "", err
	}
	if err := u.dir.Collect(name); err != nil { // what came to nothing before
		u.cfg.Log.Warn("former versions can't be removed", "error", err)
	}
	src.Manifest = slot.Manifest{Version: a.Version, Component: a.Component, Digest: c.Digest, Hash: hash}
	if name, err = u.dir.Install(src); err != nil {
		return "", "", err
	}
	return name, hash, says(ctx, program(u.dir.Version(name), slot.Agent), a.Version)
}

// blocked tells why programs that failed before are not tried, or not yet.
func (u *Upgrade) blocked(hash string) *Fault {
	for _, f := range u.dir.Failed() {
		if f.Hash != hash {
			continue
		}
		fault := faultOf(f.Verdict)
		// A clock that was set back must not hold it up for ever.
		if age := u.cfg.Now().Sub(f.Verdict.At); f.Attempts < maxTrials && f.Verdict.Retryable && (age < 0 || age >= trialPause) {
			return nil
		}
		fault.Retryable = f.Verdict.Retryable && f.Attempts < maxTrials
		return fault
	}
	return nil
}

// says asks a program for its version: one that can't answer can't be an agent.
func says(ctx context.Context, path, version string) error {
	asking, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	cmd := exec.CommandContext(asking, path, "version")
	cmd.WaitDelay = probeGrace
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return &Fault{Code: "component-unusable", Message: fmt.Sprintf("its program doesn't tell its version: %v", err)}
	}
	fields := strings.Fields(string(out))
	if len(fields) == 0 || fields[len(fields)-1] != version {
		return &Fault{Code: "version-mismatch", Message: fmt.Sprintf("its program says %.100q, not %s", strings.TrimSpace(string(out)), version)}
	}
	return nil
}

// fault maps errors to the codes of reports.
func (u *Upgrade) fault(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		out := *f
		if out.At.IsZero() {
			out.At = u.cfg.Now()
		}
		return &out
	}
	out := &Fault{Code: "upgrade-failed", Message: err.Error(), Retryable: true, At: u.cfg.Now()}
	for _, known := range []struct {
		err  error
		code string
	}{
		{artifact.ErrReference, "component-reference"},
		{artifact.ErrComponentNotFound, "component-not-found"},
		{artifact.ErrDigestMismatch, "digest-mismatch"},
		{artifact.ErrUnsafePath, "component-unsafe"},
		{artifact.ErrTooLarge, "component-too-large"},
		{artifact.ErrFormat, "component-unusable"},
		{unix.ENOSPC, "disk-full"},
		{unix.EDQUOT, "disk-full"},
		{unix.EROFS, "disk-read-only"},
		{unix.EIO, "disk-error"},
	} {
		if errors.Is(err, known.err) {
			out.Code = known.code
			break
		}
	}
	return out
}
