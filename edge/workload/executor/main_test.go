package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/executor"
	"gnomon/schema"
)

// shimPath is the gnomon-shim built for this run, busybox a static one.
var shimPath string

// peerPath is testdata/peer built for this run.
var peerPath string

const busybox = "/bin/busybox"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	if dir := os.Getenv(shimEnv); dir != "" {
		os.Exit(oldShim(dir))
	}
	os.Exit(func() int {
		if os.Geteuid() != 0 {
			fmt.Fprintln(os.Stderr, "FAIL: these tests start containers; run them as root: sudo -E go test ./edge/workload/...")
			return 1
		}
		if _, err := os.Stat(busybox); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL: these tests build a root file system from "+busybox+": apt-get install -y busybox-static")
			return 1
		}
		dir, err := os.MkdirTemp("", "shim")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		shimPath = filepath.Join(dir, "gnomon-shim")
		build := exec.Command("go", "build", "-trimpath", "-tags=netgo,osusergo", "-ldflags=-s -w", "-o", shimPath, "gnomon/edge/cmd/gnomon-shim")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: build gnomon-shim (needs a C compiler): %v\n%s", err, out)
			return 1
		}
		peerPath = filepath.Join(dir, "peer")
		build = exec.Command("go", "build", "-o", peerPath, "gnomon/edge/workload/executor/testdata/peer")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: build peer: %v\n%s", err, out)
			return 1
		}
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			return 1
		}
		return code
	}())
}

// node is one agent's data directory and cgroup, cleared up after the test.
type node struct {
	t      *testing.T
	data   string
	cgroup string
	rootfs string
	bridge workload.Bridge
	subids workload.Range
	users  schema.UserNamespace // of containers
	*executor.Executor
	stop func()
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, data: t.TempDir(), cgroup: "/gnomon-test/" + strings.ToLower(filepath.Base(t.TempDir())) + fmt.Sprint(time.Now().UnixNano())}
	// Users inside a container must be able to reach its root.
	for d := n.data; d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(d) == os.TempDir() {
			break
		}
	}
	n.rootfs, n.bridge = makeRootfs(t), newBridge(t)
	n.agent()
	t.Cleanup(n.close)
	return n
}

// agent starts an Executor, as an agent that comes up does.
func (n *node) agent() {
	n.t.Helper()
	e, err := executor.New(executor.Config{Data: n.data, Shim: shimPath, Cgroup: n.cgroup, Bridge: n.bridge, SubIDs: n.subids, LogBytes: 16 << 10, LogFiles: 3})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	n.Executor = e
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
	}
}

// restart replaces the agent by another on the same data.
func (n *node) restart() {
	n.t.Helper()
	n.stop()
	n.agent()
}

func (n *node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	all, err := n.List(ctx)
	if err != nil {
		n.t.Error(err)
	}
	for _, s := range all {
		if _, err := n.Stop(ctx, s.Name, 0); err != nil && !errors.Is(err, workload.ErrNotFound) {
			n.t.Error(err)
		}
		if err := n.Remove(ctx, s.Name); err != nil {
			n.t.Error(err)
		}
	}
	n.stop()
	n.nothingOfNetwork()
	for _, path := range []string{n.cgroup, filepath.Dir(n.cgroup)} {
		g, err := cgroup.At(path)
		if err != nil {
			n.t.Fatal(err)
		}
		// A shim that has let go of its lock may be about to leave its group.
		for end := time.Now().Add(5 * time.Second); path == n.cgroup && time.Now().Before(end); time.Sleep(time.Millisecond) {
			if pids, _ := g.Pids(); len(pids) == 0 {
				break
			}
		}
		if pids, _ := g.Pids(); len(pids) > 0 && path == n.cgroup {
			n.t.Errorf("processes left in %s: %v", path, pids)
			_ = g.Kill(ctx)
		}
		if path == n.cgroup {
			if err := g.Remove(); err != nil {
				n.t.Error(err)
			}
		}
	}
}

// makeRootfs builds a root file system out of nothing but busybox.
func makeRootfs(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, d := range []string{"bin", "etc", "tmp", "dev", "proc", "sys"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "bin/busybox"), string(b), 0o755)
	if err := os.Link(peerPath, filepath.Join(root, "bin/peer")); err != nil {
		t.Fatal(err)
	}
	for _, applet := range []string{"sh", "cat", "echo", "sleep", "id", "hostname", "pwd", "env", "ps", "kill", "head", "tail", "dd", "ls", "yes", "true", "mknod", "wc", "seq", "touch", "setsid", "nc", "stat", "grep", "rm", "mv", "readlink"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nmeter:x:1234:1235::/home/meter:/bin/sh\n", 0o644)
	put(t, filepath.Join(root, "etc/group"), "root:x:0:\nmeter:x:1235:\nserial:x:20:meter\n", 0o644)
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// modes are the three ways to run; each test of the contract runs in all.
var modes = schema.Modes

// inEachMode runs a test with a node on which spec starts a shell script in the
// mode. For attach a target runs already.
func inEachMode(t *testing.T, test func(t *testing.T, n *node, spec func(script string) workload.Spec)) {
	withOwnUsers(t, test)
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			if mode == schema.ModeAttach {
				n.start(n.spec(schema.ModeContainer, "target", "sleep 1000"))
			}
			test(t, n, func(script string) workload.Spec { return n.spec(mode, "app", script) })
		})
	}
}

// withOwnUsers does the same where the container has users of its own.
func withOwnUsers(t *testing.T, test func(t *testing.T, n *node, spec func(script string) workload.Spec)) {
	for _, mode := range []schema.Mode{schema.ModeContainer, schema.ModeAttach} {
		t.Run(string(mode)+" with own users", func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			n.users = schema.UserNamespaceAuto
			if mode == schema.ModeAttach {
				n.start(n.spec(schema.ModeContainer, "target", "sleep 1000"))
			}
			test(t, n, func(script string) workload.Spec { return n.spec(mode, "app", script) })
		})
	}
}

func (n *node) spec(mode schema.Mode, name, script string) workload.Spec {
	s := workload.Spec{Name: name, Mode: mode, Hash: "h1", Component: "c@1", Command: []string{"sh", "-c", script}}
	switch mode {
	case schema.ModeContainer:
		s.Root, s.UserNamespace = n.rootfs, n.users
	case schema.ModeAttach:
		s.Target = "target"
	case schema.ModeHost:
		s.Root = filepath.Join(n.rootfs, "bin")
		s.Env = []string{"PATH=" + filepath.Join(n.rootfs, "bin")}
	}
	return s
}

func (n *node) start(s workload.Spec) workload.Status {
	n.t.Helper()
	st, err := n.Start(context.Background(), s)
	if err != nil {
		n.t.Fatalf("start: %v", err)
	}
	return st
}

// get returns the status of a name from a fresh List.
func (n *node) get(name string) workload.Status {
	n.t.Helper()
	all, err := n.List(context.Background())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return workload.Status{}
}

// await waits for changes until the name is no longer live.
func (n *node) await(name string) workload.Status {
	n.t.Helper()
	late := time.After(20 * time.Second)
	for {
		if s := n.get(name); !s.State.Live() {
			return s
		}
		select {
		case <-n.Changes():
		case <-late:
			n.t.Fatalf("%s is still live: %+v", name, n.get(name))
		}
	}
}

// eventually polls a condition that no event announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never came true: %s", what)
}

func (n *node) log(name string) string {
	b, _ := os.ReadFile(n.LogPath(name))
	return string(b)
}

// logs waits until the log of a name holds a text.
func (n *node) logs(name, text string) string {
	n.t.Helper()
	var log string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if log = n.log(name); strings.Contains(log, text) {
			return log
		}
	}
	n.t.Fatalf("log of %s never held %q:\n%s", name, text, log)
	return ""
}
