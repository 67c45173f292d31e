package edgeproc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what to run.
type Config struct {
	Agent string // path of gnomon-edge
	Shim  string // path of gnomon-shim
	Cloud string // host:port of MQTT
	Dir   string // scratch; the disk is mounted below and the agent's log is here
	Disk  int64  // size of the disk in memory, in bytes; 0: a directory of Dir
}

// Node is one edge node: a disk, a cgroup, a boot id, and at most one agent.
type Node struct {
	Name string
	Data string // its disk

	cfg   Config
	log   *os.File
	agent *process
}

// process is one run of the agent.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it is reaped
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// New makes a node on which nothing runs yet. The caller owns its end: Remove.
func New(cfg Config) (*Node, error) {
	n := &Node{Name: fmt.Sprintf("node-%d", os.Getpid()), Data: filepath.Join(cfg.Dir, "edge"), cfg: cfg}
	if err := os.Mkdir(n.Data, 0o755); err != nil {
		return nil, err
	}
	if cfg.Disk > 0 {
		if err := unix.Mount("gnomon-node", n.Data, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", cfg.Disk)); err != nil {
			return nil, fmt.Errorf("make the node's disk: %w", err)
		}
	}
	if err := n.boot(); err != nil {
		return nil, fmt.Errorf("make the node's boot: %w", err)
	}
	var err error
	n.log, err = os.OpenFile(filepath.Join(cfg.Dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return n, err
}

func (n *Node) Cgroup() string { return "/gnomon-sim/" + n.Name }

// Start starts the agent with some more environment.
func (n *Node) Start(env ...string) error {
	cmd := exec.Command(n.cfg.Agent, "run", "--dev", "--cloud", "mqtt://"+n.cfg.Cloud, "--node", n.Name,
		"--data", n.Data, "--shim", n.cfg.Shim, "--cgroup", n.Cgroup(), "--log-level", "debug")
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

// Kill ends the agent with SIGKILL, and nothing else.
func (n *Node) Kill() {
	if n.agent == nil {
		return
	}
	_ = n.agent.cmd.Process.Kill()
	<-n.agent.done
	n.agent = nil
}

// ErrAlive means that the agent was to die and did not.
var ErrAlive = errors.New("the agent lives")

// Exited is closed once the agent is gone. There must be one.
func (n *Node) Exited() <-chan struct{} { return n.agent.done }

// Dies waits until the agent has killed itself.
func (n *Node) Dies(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-n.agent.done:
	case <-timer.C:
		return ErrAlive
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

// PowerCut kills all that the node runs at once and removes what a restart of
// the kernel would remove.
func (n *Node) PowerCut() error {
	n.Kill()
	deadline := time.Now().Add(time.Minute)
	for left := n.Processes(); len(left) > 0; left = n.Processes() {
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes cannot be killed: %v", left)
		}
		time.Sleep(time.Millisecond) // they are on their way
	}
	for _, dir := range n.Groups() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return n.boot()
}

// bootID is where the kernel tells one run of itself from the next.
const bootID = "/proc/sys/kernel/random/boot_id"

// boot makes whoever asks believe that the kernel was started anew.
func (n *Node) boot() error {
	path := filepath.Join(filepath.Dir(n.Data), "boot_id")
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

// ReadOnly makes the node's disk read-only for whatever is opened from now on;
// the function returned makes it writable again. The disk itself can't become so
// while anybody writes to it, but a mount over it can.
func (n *Node) ReadOnly() (func() error, error) {
	if err := unix.Mount(n.Data, n.Data, "", unix.MS_BIND, ""); err != nil {
		return nil, err
	}
	mend := func() error { return unix.Unmount(n.Data, unix.MNT_DETACH) }
	if err := unix.Mount("", n.Data, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return nil, errors.Join(err, mend())
	}
	return mend, nil
}

// Fill leaves no room on the disk; the function returned makes it again.
func (n *Node) Fill() (func() error, error) {
	path := filepath.Join(n.Data, fmt.Sprintf("filling-%d", time.Now().UnixNano()))
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

// Remove ends everything and takes the disk away.
func (n *Node) Remove() error {
	err := errors.Join(n.PowerCut(), unix.Unmount(bootID, unix.MNT_DETACH), n.log.Close())
	if n.cfg.Disk > 0 {
		err = errors.Join(err, unix.Unmount(n.Data, unix.MNT_DETACH))
	}
	for _, top := range []string{"/sys/fs/cgroup/gnomon-sim", "/sys/fs/cgroup/*/gnomon-sim"} {
		found, _ := filepath.Glob(top)
		for _, dir := range found {
			_ = os.Remove(dir) // another run may be there
		}
	}
	return err
}
