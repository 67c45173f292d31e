package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// alive ignores the dead whom the node's init has not collected yet.
func alive(pid int) bool {
	p, ok := instance.Inspect(pid)
	return ok && !p.Zombie
}

func TestStart_RunsAndSeesItsSpec(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec(`echo "colour=$COLOUR app=$GNOMON_APP arg=$1 dir=$(pwd)"; cat "$GNOMON_FILES/tmp/conf/a.txt"; echo kept > $GNOMON_DATA/x; echo done; sleep 1000`)
		s.Command = append(s.Command, "sh", "$(COLOUR)-$$(COLOUR)-$(NONE)")
		s.Env = append(s.Env, "COLOUR=blue")
		s.Dir = "/tmp"
		s.Files = []schema.File{{Path: "/tmp/conf/a.txt", Content: "hello file\n", Mode: "0640"}}
		st := n.start(s)
		if st.State != workload.Running || !alive(st.PID) || st.Hash != "h1" || st.StartedAt.IsZero() || st.Instance == "" {
			t.Fatalf("status %+v", st)
		}
		log := n.logs("app", "done")
		for _, want := range []string{"colour=blue app=app arg=blue-$(COLOUR)-$(NONE) dir=/tmp", "hello file"} {
			if !strings.Contains(log, want) {
				t.Errorf("log lacks %q:\n%s", want, log)
			}
		}
		if _, err := n.Start(context.Background(), s); !errors.Is(err, workload.ErrRunning) {
			t.Errorf("second start: %v", err)
		}
		if got := n.get("app"); got.PID != st.PID || got.Instance != st.Instance {
			t.Errorf("list %+v, start %+v", got, st)
		}
	})
}

func TestExit_CodeAndSignalAreKept(t *testing.T) {
	for _, c := range []struct {
		script string
		code   int
		signal string
	}{
		{"exit 0", 0, ""}, {"exit 3", 3, ""}, {"sleep 1000 & kill -9 $!; wait $!; kill -USR1 $$; exit 9", 9, ""},
	} {
		t.Run(fmt.Sprint(c.code), func(t *testing.T) {
			inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
				n.start(spec("trap '' USR1; " + c.script))
				got := n.await("app")
				if got.State != workload.Exited || got.ExitCode != c.code || got.Signal != c.signal || got.ExitedAt.IsZero() || got.PID != 0 {
					t.Errorf("status %+v", got)
				}
			})
		})
	}
}

func TestExit_IsKeptWhileNoAgentRuns(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		st := n.start(spec("sleep 1000"))
		n.stop()
		if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the workload is gone", func() bool { return !alive(st.PID) })
		n.agent()
		got := n.await("app")
		if got.State != workload.Exited || got.ExitCode != 137 || got.Signal != "SIGKILL" || got.Instance != st.Instance {
			t.Errorf("status %+v", got)
		}
	})
}

func TestAgent_RestartsDisturbNothing(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		st := n.start(spec("sleep 1000"))
		for range 20 {
			n.restart()
			if got := n.get("app"); got.PID != st.PID || got.State != workload.Running || !alive(st.PID) {
				t.Fatalf("after restart %+v, before %+v", got, st)
			}
		}
		got, err := n.Stop(context.Background(), "app", time.Second)
		if err != nil || got.State != workload.Exited {
			t.Errorf("adopted workload does not stop: %+v %v", got, err)
		}
	})
}

func TestStop_AsksThenKills(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		n.start(spec("trap 'echo asked; exit 7' TERM; echo up; while true; do sleep 0.05; done"))
		n.logs("app", "up")
		got, err := n.Stop(context.Background(), "app", 10*time.Second)
		if err != nil || got.State != workload.Exited || got.ExitCode != 7 {
			t.Fatalf("polite stop: %+v %v", got, err)
		}
		n.logs("app", "asked")

		n.start(spec("trap '' TERM; echo deaf; while true; do sleep 0.05; done"))
		n.logs("app", "deaf")
		began := time.Now()
		got, err = n.Stop(context.Background(), "app", 300*time.Millisecond)
		if took := time.Since(began); took < 300*time.Millisecond || took > 5*time.Second {
			t.Errorf("stop took %v", took)
		}
		if err != nil || got.State != workload.Exited || got.Signal != "SIGKILL" {
			t.Errorf("forced stop: %+v %v", got, err)
		}
		if again, err := n.Stop(context.Background(), "app", 0); err != nil || again.Signal != "SIGKILL" {
			t.Errorf("stop of what is stopped: %+v %v", again, err)
		}
		if _, err := n.Stop(context.Background(), "nobody", 0); !errors.Is(err, workload.ErrNotFound) {
			t.Errorf("stop of nobody: %v", err)
		}
	})
}

func TestStop_TakesForkedChildrenAlong(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		n.start(spec("for i in 1 2 3; do (trap '' TERM HUP; setsid sleep 1000 & ) ; done; echo forked; sleep 1000"))
		n.logs("app", "forked")
		eventually(t, "the children run", func() bool { u, _ := n.Usage("app"); return u.Pids >= 4 })
		g := n.group("app")
		pids, _ := g.Pids()
		if _, err := n.Stop(context.Background(), "app", 0); err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d of %v is left", pid, pids)
			}
		}
	})
}

// group is the cgroup of an application.
func (n *node) group(name string) cgroup.Group {
	n.t.Helper()
	path := n.cgroup + "/" + name
	if st := n.get(name); st.Mode == schema.ModeAttach {
		path = n.cgroup + "/" + st.Target + "/" + name
	}
	g, err := cgroup.At(path)
	if err != nil {
		n.t.Fatal(err)
	}
	return g
}

func TestLimit_Memory(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec("exec head -c 200m /dev/zero | tail")
		s.Command = []string{"sh", "-c", "echo eating; exec tail /dev/zero"}
		s.Resources.Memory = 16 << 20
		n.start(s)
		got := n.await("app")
		if got.State != workload.Exited || !got.OOM || got.Signal != "SIGKILL" {
			t.Errorf("status %+v", got)
		}
		if target := n.get("target"); target.Name != "" && target.State != workload.Running {
			t.Errorf("target suffered: %+v", target)
		}
	})
}

func TestLimit_PidsAndCPU(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec("for i in $(seq 1 40); do sleep 1000 & done; echo not reached; wait")
		s.Resources = schema.Resources{Pids: 16, CPU: 250}
		n.start(s)
		n.logs("app", "can't fork")
		// One more may slip in while the shim's forking thread leaves.
		if u, err := n.Usage("app"); err != nil || u.Pids > 17 {
			t.Errorf("usage %+v %v", u, err)
		}
	})
}

// A limit too small for the set-up is lifted until the program runs.
func TestLimit_OfOneProcess(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec("")
		s.Resources = schema.Resources{Pids: 1, Memory: schema.MinMemory}
		s.Command[2] = "while ! [ -e $GNOMON_DATA/go ]; do :; done; sleep 1; echo not reached"
		if s.Mode == schema.ModeAttach {
			s.Command[2] = strings.ReplaceAll(s.Command[2], "$GNOMON_DATA", "/tmp")
		}
		n.start(s)
		signal := filepath.Join(n.DataPath("app"), "go")
		if s.Mode == schema.ModeAttach {
			signal = fmt.Sprintf("/proc/%d/root/tmp/go", n.get("target").PID)
		}
		put(t, signal, "", 0o644)
		n.logs("app", "can't fork")
	})
}

func TestUsage_CountsTheWorkload(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		n.start(spec("while true; do :; done"))
		eventually(t, "use is counted", func() bool {
			u, err := n.Usage("app")
			return err == nil && u.CPU > 10*time.Millisecond && u.Memory > 0 && u.Pids == 1
		})
		if _, err := n.Usage("nobody"); !errors.Is(err, workload.ErrNotFound) {
			t.Errorf("use of nobody: %v", err)
		}
	})
}

func TestRemove_LeavesNothingButTheLog(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		before := mounts(t)
		s := spec("echo here; trap 'exit 0' TERM; while true; do sleep 0.05; done")
		s.Files = []schema.File{{Path: "/tmp/f", Content: "x"}}
		st := n.start(s)
		n.logs("app", "here")
		g := n.group("app")
		if err := n.Remove(context.Background(), "app"); err != nil {
			t.Fatal(err)
		}
		if alive(st.PID) || g.Exists() || mounts(t) != before || n.get("app").Name != "" {
			t.Errorf("left: process %v, cgroup %v, mounts %v, listed %v", alive(st.PID), g.Exists(), mounts(t) != before, n.get("app"))
		}
		for _, d := range []string{"run/app", "apps/app"} {
			if _, err := os.Lstat(filepath.Join(n.data, d)); err == nil {
				t.Errorf("%s is left", d)
			}
		}
		if !strings.Contains(n.log("app"), "here") {
			t.Error("log is gone")
		}
		if err := n.Remove(context.Background(), "app"); err != nil {
			t.Errorf("second removal: %v", err)
		}
	})
}

// mounts counts mounts below the test's directories as the node sees them.
func mounts(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "/run/app/")
}

func TestShim_KilledIsNoticedAndClearedUp(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		st := n.start(spec("trap '' PIPE; while true; do sleep 0.05; done"))
		killShim(t, n, "app")
		got := n.await("app")
		if got.State != workload.Failed || !strings.Contains(got.Error, "shim lost") || got.ExitedAt.IsZero() {
			t.Fatalf("status %+v", got)
		}
		if !alive(st.PID) {
			t.Error("the workload should have survived its shim")
		}
		again, err := n.Start(context.Background(), spec("sleep 1000"))
		if err != nil || alive(st.PID) || again.Instance == st.Instance {
			t.Fatalf("start after the loss: %+v %v, old alive %v", again, err, alive(st.PID))
		}
		killShim(t, n, "app")
		if _, err := n.Stop(context.Background(), "app", 0); err != nil || alive(again.PID) {
			t.Errorf("stop after the loss: %v, alive %v", err, alive(again.PID))
		}
		if err := n.Remove(context.Background(), "app"); err != nil {
			t.Error(err)
		}
	})
}

func killShim(t *testing.T, n *node, name string) {
	t.Helper()
	locks, _ := filepath.Glob(filepath.Join(n.data, "run", name, "*", "lock"))
	var pid int
	b, err := os.ReadFile(locks[0])
	if err == nil {
		_, err = fmt.Sscan(string(b), &pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestStart_RefusesByName(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		name  string
		mode  schema.Mode
		alter func(*workload.Spec)
		want  error
		text  string
	}{
		{"ports", schema.ModeContainer, func(s *workload.Spec) { s.Ports = []schema.Port{{Host: 8080, Container: 80}} }, workload.ErrUnsupported, "run.ports"},
		{"hostname", schema.ModeHost, func(s *workload.Spec) { s.Hostname = "x" }, workload.ErrUnsupported, "run.hostname"},
		{"privileged", schema.ModeHost, func(s *workload.Spec) { s.Privileged = true }, workload.ErrUnsupported, "run.privileged"},
		{"serial", schema.ModeHost, func(s *workload.Spec) { s.Serial = []string{"/dev/ttyS0"} }, workload.ErrUnsupported, "run.serial"},
		{"attach serial", schema.ModeAttach, func(s *workload.Spec) { s.Serial = []string{"/dev/ttyS0"} }, workload.ErrUnsupported, "run.serial"},
		{"no target", schema.ModeAttach, func(*workload.Spec) {}, workload.ErrTarget, "target"},
		{"no program", schema.ModeContainer, func(s *workload.Spec) { s.Command = []string{"/bin/nothing"} }, workload.ErrInvalid, "nothing"},
		{"no program", schema.ModeHost, func(s *workload.Spec) { s.Command = []string{"nothing"} }, workload.ErrInvalid, "nothing"},
		{"no program", schema.ModeHost, func(s *workload.Spec) { s.Command = []string{"/bin/nothing"} }, workload.ErrInvalid, "nothing"},
		{"no user", schema.ModeContainer, func(s *workload.Spec) { s.User = "nobody-here" }, workload.ErrInvalid, "run.user"},
		{"no device", schema.ModeContainer, func(s *workload.Spec) { s.Serial = []string{"/dev/ttyNONE"} }, nil, "run.serial"},
		{"name", schema.ModeHost, func(s *workload.Spec) { s.Name = "../x" }, workload.ErrInvalid, "name"},
	} {
		t.Run(string(c.mode)+" "+c.name, func(t *testing.T) {
			s := n.spec(c.mode, "app", "sleep 1000")
			c.alter(&s)
			st, err := n.Start(context.Background(), s)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("error %v, want %v with %q", err, c.want, c.text)
			}
			if c.want == nil && (errors.Is(err, workload.ErrInvalid) || errors.Is(err, workload.ErrUnsupported)) {
				t.Errorf("error is final: %v", err)
			}
			if st.State.Live() {
				t.Errorf("status %+v", st)
			}
			g, _ := cgroup.At(n.cgroup + "/app")
			if pids, _ := g.Pids(); len(pids) > 0 {
				t.Errorf("processes left: %v", pids)
			}
		})
	}
}
