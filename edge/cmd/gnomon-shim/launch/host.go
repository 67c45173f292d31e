package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
)

// Host starts a process of the host, born in its own cgroup.
func Host(j Job) (s Started, err error) {
	u, err := j.HostUser()
	if err != nil {
		return s, err
	}
	if err := j.PrepareData(u); err != nil {
		return s, err
	}
	if j.Request.Spec.Former == "" { // else a container has it open
		if err := Rebase(j.Request.Data); err != nil {
			return s, err
		}
	}
	if _, err := j.PlaceFiles(u, true); err != nil {
		return s, err
	}
	if zone := j.Request.Spec.Timezone; zone != "" {
		if _, err := FindZone(zone); err != nil {
			return s, err
		}
	}
	p := j.Process(u, Where{Root: j.root(), Data: j.Request.Data, Files: j.Request.Files})
	program, err := lookPath(p)
	if err != nil {
		return s, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return s, err
	}
	defer null.Close()
	// The user may open /dev/stdout by name.
	_ = j.Output.Chown(u.UID, u.GID)

	g, err := cgroup.At(j.Request.Cgroup)
	if err != nil {
		return s, err
	}
	if err := errors.Join(g.Create(j.Limits()), failpoint.Hit(failpoint.ShimCreated)); err != nil {
		return s, err
	}
	err = g.Fork(j.Limits(), func(attr *syscall.SysProcAttr) error {
		attr.Setsid = true
		attr.Credential = credential(u)
		child, err := os.StartProcess(program, p.Args, &os.ProcAttr{
			Dir: p.Dir, Env: p.Env, Files: []*os.File{null, j.Output, j.Output}, Sys: attr,
		})
		if err != nil {
			return err
		}
		s.PID = child.Pid
		return child.Release()
	})
	if err != nil {
		return s, Classify(fmt.Errorf("start %s: %w", program, err))
	}
	return s, nil
}

// HostUser is who a process of the host runs as.
func (j Job) HostUser() (User, error) {
	if j.Request.User != "" {
		return FindUser("/", j.Request.User)
	}
	return FindUser("/", j.Request.Spec.User)
}

// root is where the component lies that a process of the host runs from.
func (j Job) root() string {
	if j.Request.Root != "" {
		return j.Request.Root
	}
	return j.Request.Spec.Root
}

func credential(u User) *syscall.Credential {
	c := &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	for _, g := range u.Groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}

// lookPath finds the program as a shell in the process' directory would.
func lookPath(p Process) (string, error) {
	name := p.Args[0]
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.ContainsRune(name, '/') {
		return filepath.Join(p.Dir, name), nil
	}
	path, _ := workload.Getenv(p.Env, "PATH")
	for _, d := range filepath.SplitList(path) {
		full := filepath.Join(d, name)
		if st, err := os.Stat(full); filepath.IsAbs(full) && err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("%w: run.command: %s is not in PATH %s", workload.ErrInvalid, name, path)
}

// Classify marks errors that the same Spec will meet again.
func Classify(err error) error {
	for _, e := range []error{unix.ENOENT, unix.EACCES, unix.ENOEXEC, unix.ENOTDIR, unix.EISDIR, unix.ELOOP} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: run.command: %w", workload.ErrInvalid, err)
		}
	}
	return err
}
