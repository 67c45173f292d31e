package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
)

// Bounds of a program that is run beside an instance.
const (
	maxSaid    = 1 << 10         // bytes of its output that are kept
	endingTime = 2 * time.Second // for the shim to end it and what it has started, once ctx is over
)

// notEntered is the shim's exit status when the program could not be started.
const notEntered = 126

// Exec runs a program beside an instance: in its container, or as its user in its
// cgroup, within its limits. said is the beginning of what it printed. When ctx
// ends, so do the program and what it has started in its session. ErrNotFound: the
// instance doesn't run any more.
func (e *Executor) Exec(ctx context.Context, name, id string, command []string) (said string, status int, err error) {
	for _, f := range e.instances(name) {
		if f.live && f.req.Instance == id {
			return e.enter(ctx, string(f.dir), command)
		}
	}
	return "", 0, fmt.Errorf("%w: instance %s of %s", workload.ErrNotFound, id, name)
}

func (e *Executor) enter(ctx context.Context, dir string, command []string) (said string, status int, err error) {
	cmd := exec.CommandContext(ctx, e.cfg.Shim, append([]string{"exec", dir, "apart"}, command...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = endingTime
	out := &beginning{}
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return out.String(), 0, ctx.Err()
	case errors.As(err, &ended) && ended.ExitCode() == notEntered:
		return "", 0, fmt.Errorf("run %s: %s", command[0], strings.TrimPrefix(strings.TrimSpace(out.String()), "gnomon-shim: "))
	case errors.As(err, &ended):
		return out.String(), ended.ExitCode(), nil
	}
	return out.String(), 0, err
}

// beginning keeps the beginning of what is written to it.
type beginning struct{ kept bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	if room := maxSaid - b.kept.Len(); room > 0 {
		b.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *beginning) String() string { return b.kept.String() }
