package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// polite runs until it is asked to end.
const polite = `trap 'echo "$ROUND ends"; exit 0' TERM; echo "$ROUND runs"; while true; do sleep 0.02; done`

// round is a Spec of which one differs from another.
func round(s workload.Spec, n int, former string) workload.Spec {
	s.Hash, s.Former = fmt.Sprint("h", n), former
	s.Env = append(slices.Clone(s.Env), fmt.Sprint("ROUND=round-", n))
	return s
}

// pair starts an instance and another one beside it.
func pair(n *node, s workload.Spec) (a, b workload.Status) {
	n.t.Helper()
	a = n.start(round(s, 1, ""))
	n.logs("app", "round-1 runs")
	b = n.start(round(s, 2, a.Instance))
	n.logs("app", "round-2 runs")
	return a, b
}

// onlyOne checks that an instance is all there is of the application.
func onlyOne(n *node, want workload.Status) {
	n.t.Helper()
	got := n.get("app")
	if got.Instance != want.Instance || got.PID != want.PID || got.State != workload.Running || got.Next != nil || !alive(want.PID) {
		n.t.Errorf("there is %+v, want %+v alone", got, want)
	}
	dirs, err := os.ReadDir(filepath.Join(n.data, "run/app"))
	if err != nil || len(dirs) != 1 {
		n.t.Errorf("on disk: %v %v", dirs, err)
	}
	if groups := besides(n, "app"); len(groups) > 1 {
		n.t.Errorf("cgroups %v", groups)
	}
	if u, err := n.Usage("app"); err != nil || u.Pids < 1 {
		n.t.Errorf("use %+v %v", u, err)
	}
}

// besides lists the cgroups of an application, whichever container it is in.
func besides(n *node, name string) (all []string) {
	n.t.Helper()
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, h := range hierarchies {
		for _, pattern := range []string{name, name + "@*", "*/" + name, "*/" + name + "@*"} {
			found, _ := filepath.Glob(filepath.Join(h.Mount, n.cgroup, pattern))
			for _, path := range found {
				if rel, err := filepath.Rel(h.Mount, path); err == nil && !slices.Contains(all, rel) {
					all = append(all, rel)
				}
			}
		}
	}
	return all
}

func TestHandOver_OneTakesOverFromAnother(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		before := mounts(t)
		a, b := pair(n, spec(polite))
		for range 3 {
			got := n.get("app")
			if got.PID != a.PID || got.Hash != "h1" || got.Next == nil || got.Next.PID != b.PID || got.Next.Hash != "h2" || got.Next.State != workload.Running || !alive(a.PID) || !alive(b.PID) {
				t.Fatalf("status %+v next %+v, want %+v and %+v", got, got.Next, a, b)
			}
			n.restart()
		}
		if _, err := n.Start(context.Background(), round(spec(polite), 3, a.Instance)); !errors.Is(err, workload.ErrRunning) {
			t.Errorf("a third one: %v", err)
		}
		if err := n.Dismiss(context.Background(), "app", a.Instance, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if alive(a.PID) {
			t.Error("the former one is alive")
		}
		n.logs("app", "round-1 ends")
		onlyOne(n, b)
		if err := n.Dismiss(context.Background(), "app", a.Instance, 0); err != nil {
			t.Errorf("again: %v", err)
		}
		if err := n.Dismiss(context.Background(), "app", b.Instance, 0); !errors.Is(err, workload.ErrBeside) {
			t.Errorf("the only one: %v", err)
		}
		n.restart()
		onlyOne(n, b)
		c := n.start(round(spec(polite), 3, b.Instance)) // and again
		if err := n.Dismiss(context.Background(), "app", b.Instance, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		onlyOne(n, c)
		if got, err := n.Stop(context.Background(), "app", 10*time.Second); err != nil || got.State != workload.Exited || got.ExitCode != 0 {
			t.Errorf("stop: %+v %v", got, err)
		}
		d := n.start(round(spec(polite), 4, ""))
		onlyOne(n, d)
		if err := n.Remove(context.Background(), "app"); err != nil {
			t.Fatal(err)
		}
		if groups := besides(n, "app"); len(groups) > 0 || mounts(t) != before || n.get("app").Name != "" {
			t.Errorf("left: cgroups %v, mounts %v, listed %+v", groups, mounts(t) != before, n.get("app"))
		}
	})
}

func TestHandOver_IsTakenBack(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		a, b := pair(n, spec(polite))
		n.restart()
		if err := n.Dismiss(context.Background(), "app", b.Instance, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if alive(b.PID) {
			t.Error("the next one is alive")
		}
		onlyOne(n, a)

		// It ends by itself: that is seen until it is dismissed.
		b = n.start(round(spec("exit 7"), 3, a.Instance))
		for range 2 {
			eventually(t, "its end is seen", func() bool { next := n.get("app").Next; return next != nil && !next.State.Live() })
			got := n.get("app")
			if got.PID != a.PID || got.Next.Instance != b.Instance || got.Next.ExitCode != 7 || got.Next.State != workload.Exited {
				t.Fatalf("status %+v next %+v", got, got.Next)
			}
			n.restart()
		}
		if err := n.Dismiss(context.Background(), "app", a.Instance, 0); !errors.Is(err, workload.ErrBeside) || !alive(a.PID) {
			t.Fatalf("dismissed while nothing can take over: %v", err)
		}
		if err := n.Dismiss(context.Background(), "app", b.Instance, 0); err != nil {
			t.Fatal(err)
		}
		onlyOne(n, a)

		// It can't be started at all.
		s := round(spec(""), 4, a.Instance)
		s.Command = []string{"/no/such/program"}
		if st, err := n.Start(context.Background(), s); !errors.Is(err, workload.ErrInvalid) || st.State != workload.Failed || st.Instance == "" {
			t.Errorf("status %+v %v", st, err)
		}
		onlyOne(n, a)
	})
}

// The former one may end at any time, also without a word: then there is the other.
func TestHandOver_FormerEnds(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		a, b := pair(n, spec(polite))
		if err := syscall.Kill(a.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the former one is cleared away", func() bool {
			dirs, _ := os.ReadDir(filepath.Join(n.data, "run/app"))
			return len(dirs) == 1
		})
		onlyOne(n, b)

		c := n.start(round(spec(polite), 3, b.Instance))
		killShimOf(t, n, b.Instance)
		eventually(t, "what has lost its shim is cleared away", func() bool { return !alive(b.PID) })
		eventually(t, "nothing is left of it", func() bool {
			dirs, _ := os.ReadDir(filepath.Join(n.data, "run/app"))
			return len(dirs) == 1
		})
		onlyOne(n, c)

		// With no agent that sees it.
		d := n.start(round(spec(polite), 4, c.Instance))
		n.stop()
		killShimOf(t, n, c.Instance)
		eventually(t, "the shim is gone", func() bool { return !heldIn(n, c.Instance) })
		n.agent()
		eventually(t, "nothing is left of it", func() bool {
			dirs, _ := os.ReadDir(filepath.Join(n.data, "run/app"))
			return len(dirs) == 1
		})
		onlyOne(n, d)
		if alive(c.PID) {
			t.Error("what has lost its shim is alive")
		}
	})
}

// heldIn tells whether the shim of an instance lives.
func heldIn(n *node, id string) bool {
	return instance.Dir(filepath.Join(n.data, "run/app", id)).Held()
}

func killShimOf(t *testing.T, n *node, id string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.data, "run/app", id, "lock"))
	var pid int
	if err == nil {
		_, err = fmt.Sscan(string(b), &pid)
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHandOver_StopAndRemoveEndBoth(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		a, b := pair(n, spec(polite))
		got, err := n.Stop(context.Background(), "app", 10*time.Second)
		if err != nil || got.Instance != a.Instance || got.State != workload.Exited || got.ExitCode != 0 || got.Next != nil {
			t.Errorf("stop: %+v %v", got, err)
		}
		if log := n.log("app"); !strings.Contains(log, "round-1 ends") || !strings.Contains(log, "round-2 ends") {
			t.Errorf("not both were asked:\n%s", log)
		}
		if alive(a.PID) || alive(b.PID) {
			t.Error("one is alive")
		}
		a, b = pair(n, spec(polite))
		if err := n.Remove(context.Background(), "app"); err != nil {
			t.Fatal(err)
		}
		if groups := besides(n, "app"); len(groups) > 0 || alive(a.PID) || alive(b.PID) || n.get("app").Name != "" {
			t.Errorf("left: %v, %v %v, %+v", groups, alive(a.PID), alive(b.PID), n.get("app"))
		}
	})
}

// What can't be there twice is refused before anything is done.
func TestHandOver_Refused(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", polite)
	s.Serial = []string{"/dev/null"}
	a := n.start(round(s, 1, ""))
	claims := n.get("app").Claims
	if !slices.Contains(claims, "run.serial /dev/null") || slices.Contains(claims, workload.ClaimData) {
		t.Errorf("claims %q", claims)
	}
	put(t, filepath.Join(n.DataPath("app"), "x"), "", 0o600)
	if claims := n.get("app").Claims; !slices.Contains(claims, workload.ClaimData) {
		t.Errorf("claims with data %q", claims)
	}
	if _, err := n.Start(context.Background(), round(s, 2, a.Instance)); !errors.Is(err, workload.ErrBeside) || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("the same serial port: %v", err)
	}
	s.Serial = nil
	attached := n.spec(schema.ModeAttach, "other", polite)
	attached.Target = "app"
	n.start(attached)
	if _, err := n.Start(context.Background(), round(s, 2, a.Instance)); !errors.Is(err, workload.ErrBeside) {
		t.Errorf("others are attached: %v", err)
	}
	own := round(n.spec(schema.ModeContainer, "own", polite), 2, n.start(round(n.spec(schema.ModeContainer, "own", polite), 1, "")).Instance)
	own.UserNamespace = schema.UserNamespaceAuto
	if _, err := n.Start(context.Background(), own); !errors.Is(err, workload.ErrBeside) || !strings.Contains(err.Error(), "users") {
		t.Errorf("users of its own: %v", err)
	}
	if _, err := n.Start(context.Background(), round(n.spec(schema.ModeHost, "app", polite), 2, a.Instance)); !errors.Is(err, workload.ErrBeside) {
		t.Errorf("another mode: %v", err)
	}
	s2 := n.spec(schema.ModeAttach, "joined", polite)
	s2.Target = "app"
	s2 = round(s2, 2, n.start(round(s2, 1, "")).Instance)
	s2.Root = filepath.Join(n.rootfs, "bin")
	if _, err := n.Start(context.Background(), s2); !errors.Is(err, workload.ErrBeside) {
		t.Errorf("another component: %v", err)
	}
	onlyOne(n, a)
}

// Each container has a writable layer of its own; the one that takes over keeps its
// own through later starts.
func TestHandOver_Layers(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	const script = `echo "$ROUND sees $(ls /tmp)"; touch /tmp/$ROUND; ` + polite
	a, b := pair(n, n.spec(schema.ModeContainer, "app", script))
	log := n.logs("app", "round-2 runs")
	if strings.Contains(log, "round-2 sees round-1") {
		t.Errorf("they share a layer:\n%s", log)
	}
	if err := n.Dismiss(context.Background(), "app", b.Instance, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	b = n.start(round(n.spec(schema.ModeContainer, "app", script), 3, a.Instance))
	n.logs("app", "round-3 runs")
	if err := n.Dismiss(context.Background(), "app", a.Instance, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Stop(context.Background(), "app", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	n.start(round(n.spec(schema.ModeContainer, "app", script), 4, ""))
	if log := n.logs("app", "round-4 runs"); !strings.Contains(log, "round-4 sees round-3\n") {
		t.Errorf("the layer is lost:\n%s", log)
	}
	if layers, err := os.ReadDir(filepath.Join(n.data, "apps/app/layers")); err != nil || len(layers) != 1 {
		t.Errorf("layers %v %v", layers, err)
	}
	_ = b
}

// A host application runs from versions of its own, which stay for as long as they run.
func TestHandOver_Versions(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	spec := func(i int, former string) workload.Spec {
		root := filepath.Join(t.TempDir(), "package")
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, "run"), "#!"+filepath.Join(n.rootfs, "bin/sh")+"\n"+polite, 0o755)
		s := round(n.spec(schema.ModeHost, "app", ""), i, former)
		s.Root, s.Digest, s.Command = root, fmt.Sprintf("sha256:%016d%048d", i, i), []string{"./run"}
		s.Files = []schema.File{{Path: "/etc/app.conf", Content: fmt.Sprint("round ", i), Mode: "0644"}}
		return s
	}
	versions := func() (all []string) {
		entries, err := os.ReadDir(filepath.Join(n.data, "apps/app/versions"))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range entries {
			all = append(all, d.Name())
		}
		return all
	}
	current := func() string {
		to, err := os.Readlink(filepath.Join(n.data, "apps/app/current"))
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Base(to)
	}
	a := n.start(spec(1, ""))
	first := current()
	b := n.start(spec(2, a.Instance))
	if all := versions(); len(all) != 2 || current() == first {
		t.Errorf("versions %v, current %s", all, current())
	}
	if got, err := os.ReadFile(filepath.Join(n.data, "apps/app/files/etc/app.conf")); string(got) != "round 1" {
		t.Errorf("the files of what runs: %q %v", got, err)
	}
	if err := n.Dismiss(context.Background(), "app", b.Instance, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if current() != first {
		t.Errorf("current is %s, runs %s", current(), first)
	}
	b = n.start(spec(3, a.Instance))
	if err := n.Dismiss(context.Background(), "app", a.Instance, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	onlyOne(n, b)
	if current() == first {
		t.Error("current is not what runs")
	}
}

// Two on the bridge have addresses of their own, and none is left.
func TestHandOver_Addresses(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", "nc -ll -p 8080 -e echo hello & "+polite)
	s.Network = schema.NetworkBridge
	a, b := pair(n, s)
	if len(a.Addresses) == 0 || len(b.Addresses) == 0 || a.Addresses[0] == b.Addresses[0] {
		t.Fatalf("addresses %v and %v", a.Addresses, b.Addresses)
	}
	greets(t, a)
	greets(t, b)
	s.Ports = []schema.Port{{Host: 40_123, Container: 80, Protocol: "tcp"}}
	if err := n.Dismiss(context.Background(), "app", a.Instance, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	onlyOne(n, b)
	greets(t, b)
	c := n.start(round(s, 3, b.Instance)) // only now does it publish a port
	if c.Addresses[0] != a.Addresses[0] {
		t.Errorf("the address %v that is free again isn't taken, but %v", a.Addresses, c.Addresses)
	}
	greets(t, c)
	if _, err := n.Start(context.Background(), round(s, 4, c.Instance)); !errors.Is(err, workload.ErrRunning) {
		t.Errorf("beside the wrong one: %v", err)
	}
	if err := n.Dismiss(context.Background(), "app", b.Instance, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(context.Background(), round(s, 4, c.Instance)); !errors.Is(err, workload.ErrBeside) || !strings.Contains(err.Error(), "40123") {
		t.Errorf("the same port: %v", err)
	}
	onlyOne(n, c)
}

// In the node's network the new one shares the ports that the former one has, and has
// none that somebody else has, or that it couldn't bind.
func TestHandOver_PortsOfTheNode(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	port := func(l net.Listener) schema.Port {
		number := l.Addr().(*net.TCPAddr).Port
		return schema.Port{Host: number, Container: number, Protocol: "tcp"}
	}
	others, formers := below(t), below(t)
	s := n.spec(schema.ModeContainer, "app", polite)
	s.Ports = []schema.Port{port(formers)}
	_ = formers.Close()
	a := n.start(round(s, 1, ""))
	formers, err := net.Listen("tcp", formers.Addr().String()) // as its program would
	if err != nil {
		t.Fatal(err)
	}
	defer formers.Close()
	s.Ports = append(s.Ports, port(others))
	for range 2 {
		st, err := n.Start(context.Background(), round(s, 2, a.Instance))
		if !errors.Is(err, workload.ErrPortTaken) || !strings.Contains(err.Error(), fmt.Sprintf(" %d/tcp ", s.Ports[1].Host)) {
			t.Errorf("%+v %v", st, err)
		}
		onlyOne(n, a)
	}
	_ = others.Close()
	b := n.start(round(s, 3, a.Instance))
	if err := n.Dismiss(context.Background(), "app", a.Instance, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	onlyOne(n, b)

	// A port that is published is none that a program can share.
	s.Network = schema.NetworkBridge
	if _, err := n.Start(context.Background(), round(s, 4, b.Instance)); !errors.Is(err, workload.ErrBeside) || !strings.Contains(err.Error(), fmt.Sprint(s.Ports[0].Host)) {
		t.Errorf("published from now on: %v", err)
	}
	onlyOne(n, b)
}

// Users of its own have no ports of the node's that take a capability there.
func TestHandOver_PortsOfUsers(t *testing.T) {
	t.Parallel()
	free, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(free)) == "0" {
		t.Skip("this node gives everybody every port")
	}
	n := newNode(t)
	n.users = schema.UserNamespaceAuto
	s := n.spec(schema.ModeContainer, "app", polite)
	a := n.start(round(s, 1, ""))
	s.Ports = []schema.Port{{Host: 1, Container: 1, Protocol: "tcp"}}
	if st, err := n.Start(context.Background(), round(s, 2, a.Instance)); !errors.Is(err, workload.ErrUnsupported) || !strings.Contains(err.Error(), "run.ports 1:") {
		t.Errorf("%+v %v", st, err)
	}
	onlyOne(n, a)
}

// below is a listener on a port that no connection is given.
func below(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", 20_000+rand.IntN(12_000))); err == nil {
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
	}
	t.Fatal("no port is free")
	return nil
}

// greets checks that an instance is reached at its address at once, whoever had that
// before.
func greets(t *testing.T, st workload.Status) {
	t.Helper()
	var last error
	for range 20 { // it may not listen yet
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(st.Addresses[0], "8080"), time.Second)
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			text, err := io.ReadAll(conn)
			_ = conn.Close()
			if strings.TrimSpace(string(text)) != "hello" {
				t.Errorf("%v says %q %v", st.Addresses, text, err)
			}
			return
		}
		if last = err; !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%v is not reached: %v", st.Addresses, last)
}
