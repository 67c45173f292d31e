package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
)

// Bounds of a program that is run beside an instance.
const (
	maxSaid    = 1 << 10         // bytes of its output that are kept
	endingTime = 5 * time.Second // for the shim to end it and what it has started, once ctx is over
)

// notEntered is the shim's exit status when the program could not be started.
const notEntered = 126

// Exec runs a program beside an instance: in its container, or as its user in its
// cgroup, within its limits. said is the beginning of what it printed. When ctx or
// this process ends, so do the program and what it has started in its session; what
// is left of that when the program ends goes with it. ErrNotFound: the instance
// doesn't run any more.
func (e *Executor) Exec(ctx context.Context, name, id string, command []string) (said string, status int, err error) {
	for _, f := range e.instances(name) {
		if f.live && f.req.Instance == id {
			return e.enter(ctx, string(f.dir), command)
		}
	}
	return "", 0, fmt.Errorf("%w: instance %s of %s", workload.ErrNotFound, id, name)
}

func (e *Executor) enter(ctx context.Context, dir string, command []string) (said string, status int, err error) {
	// The shim ends what it runs when nobody has the other end of this: when ctx is
	// over, and when this process is.
	life, held, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer held.Close()
	defer life.Close()
	out, in, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer out.Close()
	defer in.Close()
	cmd := exec.CommandContext(ctx, e.cfg.Shim, append([]string{"exec", dir, "apart"}, command...)...)
	cmd.Dir, cmd.Env = "/", append([]string{"PATH=" + workload.DefaultPath, "GOMAXPROCS=2"}, failpoint.Environ()...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = in, in, []*os.File{life}
	cmd.Cancel, cmd.WaitDelay = held.Close, endingTime
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	in.Close()
	life.Close()
	heard := hear(out)
	err = cmd.Wait()
	said = heard()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return said, 0, ctx.Err()
	case errors.As(err, &ended) && ended.ExitCode() == notEntered:
		return "", 0, fmt.Errorf("run %s: %s", command[0], strings.TrimPrefix(strings.TrimSpace(said), "gnomon-shim: "))
	case errors.As(err, &ended):
		return said, ended.ExitCode(), nil
	}
	return said, 0, err
}

// hear reads what comes out of a pipe. What it returns is called once the program
// has ended: it doesn't wait for others who have the pipe, too.
func hear(pipe *os.File) (said func() string) {
	kept, done := &beginning{}, make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(kept, pipe)
	}()
	return func() string {
		_ = pipe.SetReadDeadline(time.Unix(1, 0))
		<-done
		_ = pipe.SetReadDeadline(time.Time{})
		if raw, err := pipe.SyscallConn(); err == nil { // what it said last
			_ = raw.Read(func(fd uintptr) bool {
				b := make([]byte, maxSaid)
				for !kept.full() {
					n, err := unix.Read(int(fd), b)
					if n <= 0 && !errors.Is(err, unix.EINTR) {
						break
					}
					_, _ = kept.Write(b[:max(0, n)])
				}
				return true
			})
		}
		return kept.String()
	}
}

// beginning keeps the beginning of what is written to it.
type beginning struct{ kept bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	if room := maxSaid - b.kept.Len(); room > 0 {
		b.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *beginning) full() bool { return b.kept.Len() >= maxSaid }

func (b *beginning) String() string { return b.kept.String() }
