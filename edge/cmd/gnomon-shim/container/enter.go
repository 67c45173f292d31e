package container

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runc/libcontainer"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload/cgroup"
	"gnomon/schema"
)

// Enter starts a program beside the workload of a container, or of what is
// attached to one: with its namespaces, cgroup, user and environment. console,
// when given, is a socket that the master of a new pseudo terminal is sent to.
func Enter(j launch.Job, pid int, args []string, console *os.File) (*libcontainer.Process, error) {
	r := j.Request
	dir, w := string(j.Dir), launch.Where{Root: "/", Data: dataMount}
	attached := r.Spec.Mode == schema.ModeAttach
	if attached {
		dir, w.Root = r.TargetDir, ""
		if r.Spec.Root != "" {
			w.Root = Opt(r.Spec.Name)
		}
	}
	root, id := stateOf(dir)
	c, err := libcontainer.Load(root, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	u, err := j.FindUser(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return nil, err
	}
	p := process(j, u, w)
	p.Args, p.Stdin, p.Stdout, p.Stderr = args, os.Stdin, os.Stdout, os.Stderr
	if console != nil {
		p.Stdin, p.Stdout, p.Stderr, p.ConsoleSocket = nil, nil, nil, console
	}
	g, err := cgroup.At(r.Cgroup)
	switch {
	case err != nil:
		return nil, err
	case attached:
		p.SubCgroupPaths = map[string]string{"": filepath.Base(r.Cgroup)}
	case g.PureV2():
		p.SubCgroupPaths = map[string]string{"": MainGroup}
	}
	if err := c.Run(p); err != nil {
		return nil, classify(fmt.Errorf("start in container: %w", err))
	}
	return p, nil
}
