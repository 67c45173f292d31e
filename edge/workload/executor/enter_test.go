package executor_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
