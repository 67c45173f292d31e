package container

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runc/libcontainer"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// Enter starts a program beside the workload of a container, or of what is
// attached to one: with its namespaces, cgroup, user and environment, and under
// the container's filter. console, when given, is a socket that the master of a
// new pseudo terminal is sent to.
func Enter(j launch.Job, pid int, args []string, console *os.File) (*libcontainer.Process, error) {
	dir, confined, err := confines(j)
	if err != nil {
		return nil, err
	}
	root, id := stateOf(dir)
	c, err := libcontainer.Load(root, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	p, err := beside(j, pid)
	if err != nil {
		return nil, err
	}
	p.Args, p.Stdin, p.Stdout, p.Stderr = args, os.Stdin, os.Stdout, os.Stderr
	if console != nil {
		p.Stdin, p.Stdout, p.Stderr, p.ConsoleSocket = nil, nil, nil, console
	}
	j.Request.Spec.Init = false // the application's, which tells of that alone
	st, err := staged(p, j, confined)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	if err := c.Run(p); err != nil {
		return nil, fmt.Errorf("start %s in container: %w", args[0], err)
	}
	if err := st.Await(); err != nil {
		_, _ = p.Wait() // it has ended, with a status that says nothing
		return nil, fmt.Errorf("start %s in container: %w", args[0], err)
	}
	return p, nil
}

// confines returns the instance directory and the Spec of the container that a
// workload is in: of what is attached, that is another's.
func confines(j launch.Job) (dir string, s workload.Spec, err error) {
	if j.Request.Spec.Mode != schema.ModeAttach {
		return string(j.Dir), j.Request.Spec, nil
	}
	target, err := instance.Dir(j.Request.TargetDir).ReadRequest()
	if err != nil {
		return "", s, fmt.Errorf("read what the container of %s is: %w", j.Request.Spec.Target, err)
	}
	return j.Request.TargetDir, target.Spec, nil
}

// beside is a process that is a workload's like in all but its program.
func beside(j launch.Job, pid int) (*libcontainer.Process, error) {
	r := j.Request
	attached := r.Spec.Mode == schema.ModeAttach
	w := launch.Where{Root: "/", Data: dataMount}
	if attached {
		w.Root = ""
		if r.Spec.Root != "" {
			w.Root = Opt(r.Spec.Name)
		}
	}
	u, err := j.FindUser(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return nil, err
	}
	g, err := cgroup.At(r.Cgroup)
	if err != nil {
		return nil, err
	}
	p := process(j, u, w)
	switch {
	case attached:
		p.SubCgroupPaths = map[string]string{"": filepath.Base(r.Cgroup)}
	case g.PureV2():
		p.SubCgroupPaths = map[string]string{"": MainGroup}
	}
	return p, nil
}
