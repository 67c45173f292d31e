// Package launch holds what the three ways of starting a workload have in
// common, and the simplest of them, a process of the host. It is pure Go and
// knows nothing of libcontainer.
package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// Job is one workload to start.
type Job struct {
	Dir     instance.Dir
	Request instance.Request
	Output  *os.File // the workload's stdout and stderr

	io cgroup.Throttle
}

// Started is a workload that runs.
type Started struct {
	PID       int
	Addresses []string                    // of its own
	Keep      []*os.File                  // to be kept open as long as it runs
	Serve     func(context.Context) error // to be run as long as it runs; nil = nothing
}

// Limits are those of the workload's cgroup.
func (j Job) Limits() cgroup.Limits {
	r := j.Request.Spec.Resources
	l := cgroup.Limits{CPU: int64(r.CPU), Memory: int64(r.Memory), Pids: r.Pids, IO: j.io}
	if l.Pids > 0 && j.Request.Spec.Init {
		l.Pids++ // the init is not the application's
	}
	return l
}

// FindDisk completes a job with the disk that its limits are about.
func (j *Job) FindDisk() error {
	bounds := j.Request.Spec.Resources.IO
	if bounds == nil || *bounds == (schema.IO{}) {
		return nil
	}
	disk, err := cgroup.DiskOf(filepath.Dir(j.Request.LogFile))
	if errors.Is(err, cgroup.ErrNoDisk) {
		return fmt.Errorf("%w: run.resources.io: the agent's data %w", workload.ErrUnsupported, err)
	}
	j.io = cgroup.Throttle{Disk: disk, Read: int64(bounds.Read), Write: int64(bounds.Write), ReadOps: bounds.ReadOps, WriteOps: bounds.WriteOps}
	return err
}

// SetupLimits are those in force while libcontainer, itself a program of several
// threads and megabytes, prepares the workload from inside its cgroup. Only
// limits too small for that are lifted, until Settle.
func (j Job) SetupLimits() cgroup.Limits {
	l := j.Limits()
	if l.Pids > 0 {
		l.Pids = max(l.Pids, setupPids)
	}
	if l.Memory > 0 {
		l.Memory = max(l.Memory, setupMemory)
	}
	return l
}

const (
	setupPids   = 16
	setupMemory = 16 << 20
)

// Settle puts the limits asked for in force once the workload's program runs.
// What libcontainer used takes a moment to be given back.
func (j Job) Settle() error {
	if j.SetupLimits() == j.Limits() {
		return nil
	}
	g, err := cgroup.At(j.Request.Cgroup)
	if err != nil {
		return err
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err = g.Set(j.Limits()); err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

// Where tells how the workload sees what it is given.
type Where struct {
	Root  string // of the component; "" when there is none of its own
	Data  string
	Files string
}

// Process is a workload ready to be started.
type Process struct {
	Args []string
	Env  []string
	Dir  string
	User User
}

// Zones is where a node has its tables of time zones.
const Zones = "/usr/share/zoneinfo"

// FindZone checks that the node has the table of a time zone.
func FindZone(name string) (path string, err error) {
	path = filepath.Join(Zones, name)
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return "", fmt.Errorf("%w: run.timezone: this node has no %s; install tzdata", workload.ErrUnsupported, path)
	}
	return path, nil
}

// Process works the Spec out into arguments, environment, directory and user.
func (j Job) Process(u User, w Where) Process {
	s := j.Request.Spec
	path := workload.DefaultPath
	if w.Root != "" && w.Root != "/" {
		path = filepath.Join(w.Root, "bin") + ":" + w.Root + ":" + path
	}
	env := workload.MergeEnv([]string{"PATH=" + path, "HOME=" + u.Home}, s.Env, []string{
		workload.EnvApp + "=" + s.Name,
		workload.EnvInstance + "=" + j.Request.Instance,
		workload.EnvData + "=" + w.Data,
		workload.EnvFiles + "=" + w.Files,
	})
	if zone := s.Timezone; zone != "" && s.Mode == schema.ModeHost {
		env = workload.MergeEnv([]string{"TZ=:" + filepath.Join(Zones, zone)}, env)
	}
	p := Process{Env: env, User: u, Dir: s.Dir}
	for _, a := range s.Command {
		p.Args = append(p.Args, workload.Expand(a, env))
	}
	if !filepath.IsAbs(p.Dir) {
		p.Dir = filepath.Join("/", w.Root, p.Dir)
	}
	return p
}

// User is who the workload runs as.
type User struct {
	UID, GID int
	Groups   []int
	Home     string
}

// FindUser looks a user up in a tree's /etc/passwd and /etc/group. Numbers need
// no entry there. Links that lead out of the tree are not followed.
func FindUser(root, spec string) (User, error) {
	tree, err := os.OpenRoot(root)
	if err != nil {
		return User{}, err
	}
	defer func() { _ = tree.Close() }()
	open := func(name string) io.Reader {
		f, err := tree.Open(name)
		if err != nil {
			return nil
		}
		// The whole file is read below, and the process is about to exec.
		return io.LimitReader(f, 1<<20)
	}
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, open("etc/passwd"), open("etc/group"))
	if err != nil {
		return User{}, fmt.Errorf("%w: run.user %q: %w", workload.ErrInvalid, spec, err)
	}
	return User{UID: u.Uid, GID: u.Gid, Groups: u.Sgids, Home: u.Home}, nil
}
