package executor_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/executor"
	"gnomon/schema"
)

// Every kind of leak is cleared away when an agent starts, and what lives isn't
// touched.
func TestSweep(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	live := []workload.Status{
		n.start(n.spec(schema.ModeContainer, "target", "while true; do sleep 0.1; done")),
		n.start(n.spec(schema.ModeAttach, "app", "while true; do sleep 0.1; done")),
		n.start(n.spec(schema.ModeHost, "own", "while true; do sleep 0.1; done")),
	}
	bridged := n.spec(schema.ModeContainer, "net", "while true; do sleep 0.1; done")
	bridged.Network = schema.NetworkBridge
	live = append(live, n.start(bridged))
	lost := n.spec(schema.ModeHost, "lost", "trap '' PIPE; while true; do sleep 0.1; done")
	lostStatus := n.start(lost)
	killShim(t, n, "lost") // to be accounted for: no leak
	n.stop()

	want := []executor.Leak{n.leakShim(), n.leakCgroup(), n.leakMount(), n.leakNetwork()}
	want = append(want, n.leakDirectories()...)
	e, err := executor.New(executor.Config{Data: n.data, Shim: shimPath, Cgroup: n.cgroup, Bridge: n.bridge})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Sweep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("not found: %+v in\n%+v", l, got)
		}
		if _, err := os.Lstat(l.What); err == nil && l.Kind != "mount" && l.What != filepath.Join(n.data, "apps/forgotten") {
			t.Errorf("%s is still there", l.What)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d found, want %d: %+v", len(got), len(want), got)
	}
	if again, err := e.Sweep(t.Context()); err != nil || len(again) > 0 {
		t.Errorf("once more: %+v %v", again, err)
	}
	n.agent()
	for _, st := range live {
		if now := n.get(st.Name); now.PID != st.PID || now.State != workload.Running || !alive(st.PID) {
			t.Errorf("%s was touched: %+v, before %+v", st.Name, now, st)
		}
	}
	if st := n.get("lost"); st.State != workload.Failed || st.Instance != lostStatus.Instance || !alive(lostStatus.PID) {
		t.Errorf("what is to be accounted for was touched: %+v", st)
	}
	if st := n.get("forgotten"); st.State != workload.Failed {
		t.Errorf("nobody would hear of what is left of it: %+v", st)
	}
}

// leakShim makes a shim whose instance is gone.
func (n *node) leakShim() executor.Leak {
	n.t.Helper()
	cwd, dir := n.t.TempDir(), filepath.Join(n.data, "run/ghost/0000000000aa")
	put(n.t, filepath.Join(cwd, "hold"), "read forever\n", 0o644)
	end, open, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { open.Close(); end.Close() })
	n.leave("_shims", &exec.Cmd{Path: busybox, Args: []string{"sh", "hold", dir}, Dir: cwd, Stdin: end})
	return executor.Leak{Kind: "shim", What: dir}
}

// leave starts a program in a cgroup, of which nobody knows.
func (n *node) leave(group string, cmd *exec.Cmd) {
	n.t.Helper()
	g, err := cgroup.At(n.cgroup + "/" + group)
	if err == nil {
		err = g.Create(cgroup.Limits{})
	}
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		err = g.Join(cmd.Process.Pid)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
}

func (n *node) leakCgroup() executor.Leak {
	n.leave("ghost", exec.Command("sleep", "1000"))
	return executor.Leak{Kind: "cgroup", What: n.cgroup + "/ghost"}
}

func (n *node) leakMount() executor.Leak {
	n.t.Helper()
	// In the directory of one that is known, but not live.
	found, _ := filepath.Glob(filepath.Join(n.data, "run/lost/*"))
	at := filepath.Join(found[0], "root fs")
	if err := os.Mkdir(at, 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if b, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(b), strings.ReplaceAll(at, " ", `\040`)) {
			n.t.Error("the mount is still there")
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
		_ = os.Remove(at)
	})
	return executor.Leak{Kind: "mount", What: at}
}

// leakDirectories leaves what cut-off starts do.
func (n *node) leakDirectories() []executor.Leak {
	n.t.Helper()
	var leaks []executor.Leak
	for _, sub := range []string{"run/own/0000000000bb", "apps/own/versions/.staging", "apps/forgotten"} {
		path := filepath.Join(n.data, sub)
		if err := os.MkdirAll(filepath.Join(path, "data"), 0o755); err != nil {
			n.t.Fatal(err)
		}
		leaks = append(leaks, executor.Leak{Kind: "directory", What: path})
	}
	return leaks
}

// leakNetwork leaves the network of a container whose shim was killed and whose
// directory is gone.
func (n *node) leakNetwork() executor.Leak {
	n.t.Helper()
	s := n.spec(schema.ModeContainer, "gone", "sleep 1000")
	s.Network = schema.NetworkBridge
	st := n.start(s)
	killShim(n.t, n, "gone")
	g := n.group("gone")
	if err := g.Kill(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	if err := g.Remove(); err != nil {
		n.t.Fatal(err)
	}
	for _, sub := range []string{"run/gone", "apps/gone"} {
		if err := os.RemoveAll(filepath.Join(n.data, sub)); err != nil {
			n.t.Fatal(err)
		}
	}
	n.t.Cleanup(func() {
		if _, err := netlink.LinkByName("gn-" + st.Instance); err == nil {
			n.t.Error("the cable is still there")
		}
	})
	return executor.Leak{Kind: "network", What: st.Instance}
}

// An agent that was given the cgroup of another one by mistake ends nothing there.
func TestSweep_LeavesAnotherAgentsWorkloads(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	st := n.start(n.spec(schema.ModeHost, "app", "while true; do sleep 0.1; done"))
	e, err := executor.New(executor.Config{Data: t.TempDir(), Shim: shimPath, Cgroup: n.cgroup, Bridge: n.bridge})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Sweep(t.Context()); err != nil || len(got) > 0 || !alive(st.PID) {
		t.Errorf("%+v %v, alive %v", got, err, alive(st.PID))
	}
}
