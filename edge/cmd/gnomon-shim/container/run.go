package container

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/cmd/gnomon-shim/seccomp"
	"gnomon/edge/cmd/gnomon-shim/stage"
	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
)

// MainGroup is the cgroup, below the container's own, that holds its processes
// on a pure v2 system: there a cgroup that limits others may hold none itself.
// No application can be called so.
const MainGroup = "_main"

// Run makes the container and starts its first process.
func Run(j launch.Job) (s launch.Started, err error) {
	if err := errors.Join(mountRoot(j), failpoint.Hit(failpoint.ShimMounted)); err != nil {
		return s, err
	}
	u, err := j.FindUser(j.Dir.Rootfs())
	if err != nil {
		return s, err
	}
	if err := j.PrepareData(u); err != nil {
		return s, err
	}
	files, err := j.PlaceFiles(u, false)
	if err != nil {
		return s, err
	}
	net, err := prepareNetwork(j)
	if err != nil {
		return s, err
	}
	defer func() {
		if err != nil {
			net.close()
		}
	}()
	cfg, err := config(j, u, files)
	if err != nil {
		return s, err
	}
	net.shape(cfg, j, files)
	c, err := libcontainer.Create(j.Dir.Container(), j.Request.Instance, cfg)
	if err != nil {
		return s, fmt.Errorf("create container: %w", err)
	}
	p := process(j, u, launch.Where{Root: "/", Data: dataMount})
	p.Init = true
	if r := j.Request.Range; r != nil { // the user may open /dev/stdout by name
		on := u.From(r.Start)
		_ = j.Output.Chown(on.UID, on.GID)
	}
	st, err := staged(p, j, j.Request.Spec)
	if err != nil {
		return s, errors.Join(err, c.Destroy())
	}
	defer st.Close()
	if err := failpoint.Hit(failpoint.ShimCreated); err != nil {
		return s, errors.Join(err, c.Destroy())
	}
	if err := c.Start(p); err != nil {
		return s, errors.Join(classify(fmt.Errorf("start container: %w", err)), c.Destroy())
	}
	if err := finishStart(c, p, j, net, st); err != nil {
		return s, errors.Join(err, c.Signal(unix.SIGKILL), c.Destroy())
	}
	s = net.started()
	s.PID, err = p.Pid()
	return s, errors.Join(err, j.Settle())
}

// finishStart does what is left while the container's first process waits, and
// lets it go on.
func finishStart(c *libcontainer.Container, p *libcontainer.Process, j launch.Job, net *netting, st *stage.Stage) error {
	pid, err := p.Pid()
	if err != nil {
		return err
	}
	if err := net.connect(pid); err != nil {
		return err
	}
	if err := errors.Join(separate(j), failpoint.Hit(failpoint.ShimWaiting)); err != nil {
		return err
	}
	if err := c.Exec(); err != nil {
		return classify(fmt.Errorf("start container: %w", err))
	}
	return await(st, j)
}

// staged makes a process go by way of a stage, which installs the filter of
// system calls of the container, whose Spec is given, and may stay as its init.
func staged(p *libcontainer.Process, j launch.Job, container workload.Spec) (*stage.Stage, error) {
	var filter []byte
	if !container.Privileged {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return nil, err
		}
		program, err := seccomp.Filter(capabilitiesOf(container), unix.ByteSliceToString(u.Release[:]))
		if err != nil {
			return nil, err
		}
		filter = seccomp.Bytes(program)
	}
	var status *os.File
	if j.Request.Spec.Init {
		var err error
		if status, err = os.OpenFile(j.Dir.Ended(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return nil, err
		}
	}
	st, err := stage.New(filter, status)
	if err != nil {
		return nil, err
	}
	p.Args, p.ExtraFiles = st.Args(p.Args), st.Files()
	return st, nil
}

// await waits until the program itself runs.
func await(st *stage.Stage, j launch.Job) error {
	err := st.Await()
	if errors.Is(err, stage.ErrProgram) {
		return launch.Classify(fmt.Errorf("%w %s", err, j.Request.Spec.Command[0]))
	}
	return err
}

// separate moves the container's first process, which waits to be told to go
// on, to a leaf of its own on a pure v2 system, so that attached applications
// can have limited leaves beside it.
func separate(j launch.Job) error {
	g, err := cgroup.At(j.Request.Cgroup)
	if err != nil || !g.PureV2() {
		return err
	}
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	leaf := g.Child(MainGroup)
	if err := leaf.Create(cgroup.Limits{}); err != nil {
		return err
	}
	for _, pid := range pids {
		if err := leaf.Join(pid); err != nil {
			return err
		}
	}
	g.Delegate()
	return nil
}

func process(j launch.Job, u launch.User, w launch.Where) *libcontainer.Process {
	p := j.Process(u, w)
	return &libcontainer.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Dir,
		UID: u.UID, GID: u.GID, AdditionalGroups: u.Groups,
		Stdout: j.Output, Stderr: j.Output,
	}
}

// mountRoot lays the writable layer over the component. This process has a
// mount namespace of its own, so the mount is gone with the container.
func mountRoot(j launch.Job) error {
	if err := ownMountNamespace(); err != nil {
		return err
	}
	// Mounts of the node come in, as when a disk is plugged in; none go out.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("isolate mounts: %w", err)
	}
	r := j.Request
	if err := os.MkdirAll(j.Dir.Rootfs(), 0o755); err != nil {
		return err
	}
	if st, err := os.Stat(r.Spec.Root); err != nil || !st.IsDir() {
		return fmt.Errorf("component root %s is not a directory: %w", r.Spec.Root, errors.Join(err, unix.ENOTDIR))
	}
	base, err := makeLayer(j)
	if err != nil {
		return err
	}
	return asShown(j, base, func() error {
		data := "lowerdir=" + escape(r.Spec.Root) + ",upperdir=" + escape(r.Upper) + ",workdir=" + escape(r.Work)
		if err := unix.Mount("overlay", j.Dir.Rootfs(), "overlay", 0, data); err != nil {
			return fmt.Errorf("mount root file system over %s: %w", r.Spec.Root, err)
		}
		return nil
	})
}

// escape keeps characters of a path from being read as overlayfs syntax.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace(path)
}

// ownMountNamespace makes sure that mounts here are not mounts of the node.
func ownMountNamespace() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	for _, pid := range []int{1, os.Getppid()} {
		if other, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err == nil && other == own {
			return errors.New("the shim was started without a mount namespace of its own")
		}
	}
	return nil
}

// classify marks a failure to find or run the program as final. libcontainer
// reports what happened inside the container as text.
func classify(err error) error {
	for _, hint := range []string{
		"executable file not found", "no such file or directory", "permission denied", "not a directory", "is a directory",
	} {
		if text := err.Error(); strings.Contains(text, "exec") && strings.Contains(text, hint) {
			return fmt.Errorf("%w: run.command: %w", workload.ErrInvalid, err)
		}
	}
	return err
}

// stateOf is where the container of an instance keeps its state.
func stateOf(dir string) (root, id string) {
	d := instance.Dir(dir)
	req, err := d.ReadRequest()
	if err != nil {
		return d.Container(), ""
	}
	return d.Container(), req.Instance
}
