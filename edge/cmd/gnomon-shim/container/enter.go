package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runc/libcontainer"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// Entry is a program that is to run beside a workload.
type Entry struct {
	Args    []string
	PID     int      // of the workload's main process
	Console *os.File // a socket that the master of a new pseudo terminal is sent to; nil: this process' own input and output
}

// Enter starts a program beside the workload of a container, or of what is
// attached to one: with its namespaces, cgroup, user and environment, and under
// the container's filter.
func Enter(ctx context.Context, j launch.Job, e Entry) (*libcontainer.Process, error) {
	in, err := containerOf(j)
	if err != nil {
		return nil, err
	}
	leave, err := widen(ctx, j, in)
	if err != nil {
		return nil, err
	}
	defer leave()
	root, id := stateOf(string(in.Dir))
	c, err := libcontainer.Load(root, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	p, err := beside(j, e.PID)
	if err != nil {
		return nil, err
	}
	p.Args, p.Stdin, p.Stdout, p.Stderr = e.Args, os.Stdin, os.Stdout, os.Stderr
	if e.Console != nil {
		p.Stdin, p.Stdout, p.Stderr, p.ConsoleSocket = nil, nil, nil, e.Console
	}
	j.Request.Spec.Init = false // the application's, which tells of that alone
	st, err := staged(p, j, in.Request.Spec)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	if err := c.Run(p); err != nil {
		return nil, fmt.Errorf("start %s in container: %w", e.Args[0], err)
	}
	if err := st.Await(); err != nil {
		_, _ = p.Wait() // it has ended, with a status that says nothing
		return nil, fmt.Errorf("start %s in container: %w", e.Args[0], err)
	}
	return p, nil
}

// containerOf is the workload whose container another one is in: of what is
// attached, that is the target, else it itself.
func containerOf(j launch.Job) (launch.Job, error) {
	if j.Request.Spec.Mode != schema.ModeAttach {
		return j, nil
	}
	dir := instance.Dir(j.Request.TargetDir)
	target, err := dir.ReadRequest()
	if err != nil {
		return launch.Job{}, fmt.Errorf("read what the container of %s is: %w", j.Request.Spec.Target, err)
	}
	return launch.Job{Dir: dir, Request: target}, nil
}

// widen makes room in the limits of a workload and of the container that it is in,
// until leave is called.
func widen(ctx context.Context, j, in launch.Job) (leave func(), err error) {
	var all []*launch.Passage
	leave = func() {
		for _, p := range slices.Backward(all) {
			_ = p.Close() // what could not be put back the next one does
		}
	}
	jobs := []launch.Job{in} // a container always comes before what is attached to it
	if j.Dir != in.Dir {
		jobs = append(jobs, j)
	}
	for _, j := range jobs {
		p, err := j.Pass(ctx)
		if err == nil {
			all = append(all, p)
			err = p.Widen()
		}
		if err != nil {
			leave()
			return nil, err
		}
	}
	return leave, nil
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
