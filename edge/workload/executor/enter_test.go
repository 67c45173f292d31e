package executor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// confinement is a script that says what a process may do, and where it counts.
const confinement = `grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status
	cat /proc/self/cgroup /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; echo over`

// odd is a shell's line that goes on as somebody whom the kernel, short of memory,
// treats in a way of his own, as it does an agent under systemd. To be spared, as
// that is, takes a right that tests need not have.
const odd = `echo 300 > /proc/self/oom_score_adj; exec "$@"`

// entered runs a program beside an application as gnomon-edge exec does.
func (n *node) entered(how string, st workload.Status, stdio *os.File, command ...string) (output string, status int) {
	n.t.Helper()
	args := []string{"-c", odd, "sh", shimPath, "exec", filepath.Join(n.data, "run", st.Name, st.Instance), how}
	cmd := exec.Command("/bin/sh", append(args, command...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if stdio != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio, stdio, stdio
	}
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		n.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// What is run beside an application may do what that may, and no more, and counts
// where it does: whether a probe or somebody on the node has it run.
func TestExec_IsConfinedAsTheApplication(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		for _, user := range []string{"", "1234:1235"} {
			s := spec(confinement + "; exec sleep 1000")
			s.User = user
			if s.Mode == schema.ModeContainer {
				s.Capabilities = &schema.Capabilities{Add: []string{"SYS_PTRACE"}, Drop: []string{"MKNOD"}}
			}
			st := n.start(s)
			want, _, _ := strings.Cut(n.logs("app", "over\n"), "over\n")
			if filtered := strings.Contains(want, "Seccomp:\t2\n"); filtered != (s.Mode != schema.ModeHost) {
				t.Fatalf("the application itself:\n%s", want)
			}
			probed, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"sh", "-c", confinement})
			if got, _, _ := strings.Cut(probed, "over\n"); err != nil || status != 0 || got != want {
				t.Errorf("as %q a probe (status %d, %v):\n%sthe application:\n%s", user, status, err, probed, want)
			}
			said, status := n.entered("pipe", st, nil, "sh", "-c", confinement)
			if got, _, _ := strings.Cut(said, "over\n"); status != 0 || got != want {
				t.Errorf("as %q somebody on the node (status %d):\n%sthe application:\n%s", user, status, said, want)
			}
			if err := errors.Join(n.Remove(t.Context(), "app"), os.Remove(n.LogPath("app"))); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// An init of the container's own tells of its program, not of one that is run beside.
func TestExec_BesideAnInit(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", "trap 'exit 7' TERM; echo up; while true; do sleep 0.05; done")
	s.Init = true
	st := n.start(s)
	n.logs("app", "up")
	if said, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"sh", "-c", "grep Seccomp: /proc/self/status; exit 3"}); err != nil || status != 3 || said != "Seccomp:\t2\n" {
		t.Errorf("said %q, status %d, %v", said, status, err)
	}
	if got, err := n.Stop(t.Context(), "app", 10*time.Second); err != nil || got.ExitCode != 7 {
		t.Errorf("%+v %v", got, err)
	}
}

// A privileged container has no filter, and neither has what is run beside it.
func TestExec_BesideThePrivileged(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", "exec sleep 1000")
	s.Privileged = true
	st := n.start(s)
	if said, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"sh", "-c", "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status"}); err != nil || status != 0 || said != "NoNewPrivs:\t0\nSeccomp:\t0\n" {
		t.Errorf("said %q, status %d, %v", said, status, err)
	}
}

// terminal opens a pseudo terminal; what it shows is read until nobody has it open.
func terminal(t *testing.T) (slave *os.File, shown <-chan string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(master) // its end is an error
		all <- string(b)
	}()
	return slave, all
}

// With a terminal it is no different, and the terminal is left as it was, also when
// the program can't be run.
func TestExec_OnATerminal(t *testing.T) {
	for _, mode := range []schema.Mode{schema.ModeContainer, schema.ModeHost} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			st := n.start(n.spec(mode, "app", "exec sleep 1000"))
			for what, c := range map[string]struct {
				command []string
				status  int
				shows   string
			}{
				"a program":  {[]string{"sh", "-c", `[ -t 0 ] && [ -t 1 ] && grep Seccomp: /proc/self/status; exit 5`}, 5, map[schema.Mode]string{schema.ModeContainer: "Seccomp:\t2", schema.ModeHost: "Seccomp:\t0"}[mode]},
				"no program": {[]string{"/no/such"}, 126, "no such file or directory"},
			} {
				slave, shown := terminal(t)
				before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
				if err != nil {
					t.Fatal(err)
				}
				_, status := n.entered("tty", st, slave, c.command...)
				after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
				if err != nil || *after != *before {
					t.Errorf("%s: the terminal was %+v, is %+v: %v", what, before, after, err)
				}
				slave.Close()
				if text := <-shown; status != c.status || !strings.Contains(text, c.shows) {
					t.Errorf("%s: status %d, shows %q", what, status, text)
				}
			}
		})
	}
}

// alone waits until a process that sleeps is all there is of the application.
func (n *node) alone(st workload.Status) {
	n.t.Helper()
	g := n.group(st.Name)
	eventually(n.t, "nothing is left beside the application", func() bool {
		pids, err := g.Pids()
		return err == nil && len(pids) == 1 && pids[0] == st.PID
	})
}

// sleeper is an application of one process.
const sleeper = "exec sleep 1000"

// A program that has ended is over, with its status and without delay, whatever it
// has left behind, which goes with it.
func TestExec_LeavesNothingBehind(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		st := n.start(spec(sleeper))
		for what, script := range map[string]string{
			"which has its output":          `sleep 1000 & echo said`,
			"which ignores signals":         `(trap '' HUP TERM; sleep 1000; sleep 1000) & echo said`,
			"in a process group of its own": `peer group > $GNOMON_DATA/group & until grep -qs own $GNOMON_DATA/group; do sleep 0.01; done; rm $GNOMON_DATA/group; echo said`,
			"many":                          `for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo said`,
		} {
			for code := range 2 {
				began := time.Now()
				said, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"sh", "-c", script + "; exit " + strconv.Itoa(code)})
				if err != nil || status != code || said != "said\n" {
					t.Errorf("%s: said %q, status %d, %v after %v", what, said, status, err, time.Since(began))
				}
				n.alone(st)
			}
		}
	})
}

// What a program leaves on the node goes with it even out of another session.
func TestExec_OnTheNodeLeavesNothingAnywhere(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	st := n.start(n.spec(schema.ModeHost, "app", sleeper))
	script := `setsid sh -c 'setsid sleep 1000 & echo up; sleep 1000' & sleep 0.1; echo said`
	if said, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"sh", "-c", script}); err != nil || status != 0 || !strings.Contains(said, "said\n") {
		t.Errorf("said %q, status %d, %v", said, status, err)
	}
	n.alone(st)
}

// Whenever its time is over, also while it is being started, nothing of a program
// is left.
func TestExec_EndsAtAnyTime(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		st := n.start(spec(sleeper))
		began := time.Now()
		if _, _, err := n.Exec(t.Context(), "app", st.Instance, []string{"true"}); err != nil {
			t.Fatal(err)
		}
		usual := min(time.Since(began), 300*time.Millisecond)
		const times = 24
		for i := range times {
			ctx, cancel := context.WithTimeout(t.Context(), usual*time.Duration(i)/(times*3/4))
			if _, _, err := n.Exec(ctx, "app", st.Instance, []string{"sh", "-c", "sleep 1000 & sleep 1000"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("time %d: %v", i, err)
			}
			cancel()
		}
		n.alone(st)
	})
}

// A program is over with the agent that has had it run, however that ends.
func TestExec_EndsWithTheAgent(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		st := n.start(spec(sleeper))
		agent := n.another(order{Spec: workload.Spec{Name: "app"}, Instance: st.Instance, Command: []string{"sh", "-c", "sleep 1000 & sleep 1000; true"}}, "")
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		g := n.group("app")
		eventually(t, "the program runs", func() bool {
			pids, err := g.Pids()
			return err == nil && len(pids) >= 4 && !slices.ContainsFunc(pids, isPreparing)
		})
		if err := agent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = agent.Wait()
		n.alone(st)
	})
}

// isPreparing tells whether a process is on its way to its program.
func isPreparing(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	return err != nil || !slices.Contains([]string{"sh", "sleep", "busybox"}, strings.TrimSpace(string(b)))
}

// So it is when the shim is asked to end, as when the node goes down.
func TestExec_EndsWhenAsked(t *testing.T) {
	for _, mode := range []schema.Mode{schema.ModeContainer, schema.ModeHost} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			st := n.start(n.spec(mode, "app", sleeper))
			life, held, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			defer life.Close()
			shim := exec.Command(shimPath, "exec", filepath.Join(n.data, "run/app", st.Instance), "apart", "sh", "-c", "echo up; sleep 1000; true")
			shim.ExtraFiles = []*os.File{life}
			out, err := shim.StdoutPipe()
			if err == nil {
				err = shim.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("up\n"))); err != nil {
				t.Error(err)
			}
			if err := shim.Process.Signal(unix.SIGTERM); err != nil {
				t.Error(err)
			}
			if err := shim.Wait(); err == nil || shim.ProcessState.ExitCode() != 128+int(unix.SIGKILL) {
				t.Errorf("the shim: %v", err)
			}
			n.alone(st)
		})
	}
}

// Only who holds the pipe may have a program run apart.
func TestExec_ApartTakesAPipe(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	st := n.start(n.spec(schema.ModeHost, "app", sleeper))
	if said, status := n.entered("apart", st, nil, "true"); status != 126 || !strings.Contains(said, "file descriptor 3") && !strings.Contains(said, "life") {
		t.Errorf("said %q, status %d", said, status)
	}
}
