package launch

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// Terminal is the side of a pseudo terminal that a process gets; nil: none.
type Terminal = *os.File

// Entry is a program that is to run beside a workload.
type Entry struct {
	Args  []string
	TTY   Terminal // instead of standard input and output
	Apart bool     // in a session of its own, so that signals to this one don't reach it
}

// Enter starts a program beside a process of the host: as its user, in its
// cgroup, with its environment and directory.
func Enter(ctx context.Context, j Job, e Entry) (*os.Process, error) {
	u, err := j.HostUser()
	if err != nil {
		return nil, err
	}
	p := j.Process(u, Where{Root: j.root(), Data: j.Request.Data, Files: j.Request.Files})
	p.Args = e.Args
	program, err := lookPath(p)
	if err != nil {
		return nil, err
	}
	in, err := j.Pass(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	stdio := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	if e.TTY != nil {
		stdio = []*os.File{e.TTY, e.TTY, e.TTY}
	}
	var child *os.Process
	defer asKillable()()
	err = in.Group.Fork(j.Limits(), func(attr *syscall.SysProcAttr) error {
		attr.Credential = credential(u)
		attr.Setsid = e.Apart || e.TTY != nil
		if e.TTY != nil {
			attr.Setctty, attr.Ctty = true, 0
		}
		var err error
		child, err = os.StartProcess(program, p.Args, &os.ProcAttr{Dir: p.Dir, Env: p.Env, Files: stdio, Sys: attr})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return child, nil
}

// asKillable makes this process, and what it starts, as likely to be ended for
// memory as any process, until restore is called: an agent may be spared.
func asKillable() (restore func()) {
	const file = "/proc/self/oom_score_adj"
	before, err := os.ReadFile(file)
	if err != nil || os.WriteFile(file, []byte("0"), 0) != nil {
		return func() {}
	}
	return func() { _ = os.WriteFile(file, before, 0) }
}
