package faults

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// diskSize is the node's disk, a file system in memory.
const diskSize = 64 << 20

// node is one edge node: a disk, a cgroup, and at most one agent.
type node struct {
	name   string
	data   string // its disk
	cloud  string // host:port of MQTT
	binary string
	shim   string
	log    *os.File
	agent  *process
}

// process is one run of the agent.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it is reaped
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// newNode makes a disk in dir.
func newNode(cfg Config) (*node, error) {
	n := &node{name: fmt.Sprintf("faults-%d", os.Getpid()), data: filepath.Join(cfg.Dir, "edge"), cloud: cfg.Cloud.MQTT, binary: cfg.Agent, shim: cfg.Shim}
	if err := os.Mkdir(n.data, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("gnomon-faults", n.data, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", diskSize)); err != nil {
		return nil, fmt.Errorf("make the node's disk: %w", err)
	}
	if err := n.boot(); err != nil {
		return nil, fmt.Errorf("make the node's boot: %w", err)
	}
	var err error
	n.log, err = os.OpenFile(filepath.Join(cfg.Dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return n, err
}

func (n *node) cgroup() string { return "/gnomon-faults/" + n.name }

// start starts the agent with some more environment.
func (n *node) start(env ...string) error {
	cmd := exec.Command(n.binary, "run", "--dev", "--cloud", "mqtt://"+n.cloud, "--node", n.name,
		"--data", n.data, "--shim", n.shim, "--cgroup", n.cgroup(), "--log-level", "debug")
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	n.agent = &process{cmd, make(chan struct{})}
	go func(p *process) {
		_ = p.cmd.Wait()
		close(p.done)
	}(n.agent)
	return nil
}

// kill ends the agent with SIGKILL, and nothing else.
func (n *node) kill() {
	if n.agent == nil {
		return
	}
	_ = n.agent.cmd.Process.Kill()
	<-n.agent.done
	n.agent = nil
}

// errAlive: the agent was to die and did not.
var errAlive = errors.New("the agent lives")

// dies waits until the agent has killed itself.
func (n *node) dies(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-n.agent.done:
	case <-timer.C:
		return errAlive
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	state := n.agent.cmd.ProcessState
	n.agent = nil
	if s, ok := state.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the agent ended with %v, it was to be killed", state)
	}
	return nil
}

// powerCut kills all that the node runs at once and removes what a restart of
// the kernel would remove.
func (n *node) powerCut() error {
	n.kill()
	deadline := time.Now().Add(patience)
	for left := n.processes(); len(left) > 0; left = n.processes() {
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes cannot be killed: %v", left)
		}
		time.Sleep(time.Millisecond) // they are on their way
	}
	for _, dir := range n.groups() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return n.boot()
}

// bootID is where the kernel tells one run of itself from the next.
const bootID = "/proc/sys/kernel/random/boot_id"

// boot makes whoever asks believe that the kernel was started anew.
func (n *node) boot() error {
	path := filepath.Join(filepath.Dir(n.data), "boot_id")
	_, err := os.Stat(path)
	first := errors.Is(err, os.ErrNotExist)
	if err := os.WriteFile(path, []byte(uuid()), 0o644); err != nil || !first {
		return err
	}
	return unix.Mount(path, bootID, "", unix.MS_BIND, "")
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// readOnly makes the node's disk read-only for whatever is opened from now on;
// the function returned makes it writable again. The disk itself can't become so
// while anybody writes to it, but a mount over it can.
func (n *node) readOnly() (func() error, error) {
	if err := unix.Mount(n.data, n.data, "", unix.MS_BIND, ""); err != nil {
		return nil, err
	}
	mend := func() error { return unix.Unmount(n.data, unix.MNT_DETACH) }
	if err := unix.Mount("", n.data, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return nil, errors.Join(err, mend())
	}
	return mend, nil
}

// fill leaves no room on the disk; the function returned makes it again.
func (n *node) fill() (func() error, error) {
	path := filepath.Join(n.data, fmt.Sprintf("filling-%d", time.Now().UnixNano()))
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return func() error { return os.Remove(path) }, nil
}

// rot replaces the content of records by rubbish, nil: all of them. The agent
// must not run.
func (n *node) rot(names ...string) error {
	if names == nil {
		found, err := filepath.Glob(filepath.Join(n.data, "state", "*"))
		if err != nil {
			return err
		}
		for _, path := range found {
			if name := filepath.Base(path); name != "lock" && name != "reserve" {
				names = append(names, name)
			}
		}
	}
	for _, name := range slices.Compact(names) {
		path := filepath.Join(n.data, "state", name)
		if _, err := os.Stat(path); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte("\x00rubbish\xff\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// remove ends everything and takes the disk away.
func (n *node) remove() error {
	err := errors.Join(n.powerCut(), unix.Unmount(n.data, unix.MNT_DETACH), unix.Unmount(bootID, unix.MNT_DETACH), n.log.Close())
	for _, top := range []string{"/sys/fs/cgroup/gnomon-faults", "/sys/fs/cgroup/*/gnomon-faults"} {
		found, _ := filepath.Glob(top)
		for _, dir := range found {
			_ = os.Remove(dir) // another run may be there
		}
	}
	return err
}
