package launch

import (
	"fmt"
	"os"
	"syscall"

	"gnomon/edge/workload/cgroup"
)

// Terminal is the side of a pseudo terminal that a process gets; nil: none.
type Terminal = *os.File

// Enter starts a program beside a process of the host: as its user, in its
// cgroup, with its environment and directory.
func Enter(j Job, args []string, stdio []*os.File, tty Terminal) (*os.Process, error) {
	u, err := j.HostUser()
	if err != nil {
		return nil, err
	}
	p := j.Process(u, Where{Root: j.root(), Data: j.Request.Data, Files: j.Request.Files})
	p.Args = args
	program, err := lookPath(p)
	if err != nil {
		return nil, err
	}
	g, err := cgroup.At(j.Request.Cgroup)
	if err != nil {
		return nil, err
	}
	if tty != nil {
		stdio = []*os.File{tty, tty, tty}
	}
	var child *os.Process
	err = g.Fork(j.Limits(), func(attr *syscall.SysProcAttr) error {
		attr.Credential = credential(u)
		if tty != nil {
			attr.Setsid, attr.Setctty, attr.Ctty = true, true, 0
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
