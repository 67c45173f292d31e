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
	"gnomon/schema"
)

// What containers have no business with is refused them by the kernel, also in an
// attached application, and a privileged one may.
func TestContainer_SystemCallsAreFiltered(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "target", "")
	s.Command = []string{"/bin/peer", "calls"}
	s.Capabilities = &schema.Capabilities{Add: []string{"SYS_PTRACE"}} // more than the default, less than all
	n.start(s)
	a := n.spec(schema.ModeAttach, "app", "")
	a.Command = []string{"/bin/peer", "calls"}
	n.start(a)
	for _, name := range []string{"target", "app"} {
		log := n.logs(name, "over")
		for _, want := range []string{
			"seccomp 2", "unshare: operation not permitted", "keyctl: operation not permitted", "mount: operation not permitted",
			"clone3: function not implemented", "unknown: function not implemented", "vsock: operation not permitted",
			"personality 0x40000: operation not permitted", "personality 0: <nil>", "tcp: <nil>",
		} {
			if !strings.Contains(log, want+"\n") {
				t.Errorf("%s: log lacks %q:\n%s", name, want, log)
			}
		}
	}
	s.Name, s.Privileged = "priv", true
	n.start(s)
	if log := n.logs("priv", "over"); !strings.Contains(log, "seccomp 0\n") || !strings.Contains(log, "unshare: <nil>\n") {
		t.Errorf("privileged:\n%s", log)
	}
}

// The shim's own binary, which a container's init is, can't be written to from
// inside.
func TestContainer_CannotWriteToTheShim(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", `echo x >> /proc/1/exe; echo over; sleep 1000`)
	s.Init = true
	before, err := os.Stat(shimPath)
	if err != nil {
		t.Fatal(err)
	}
	n.start(s)
	log := n.logs("app", "over")
	after, err := os.Stat(shimPath)
	if err != nil || after.Size() != before.Size() || !strings.Contains(log, "Read-only file system") && !strings.Contains(log, "Text file busy") {
		t.Errorf("%v, %d bytes before, %d after:\n%s", err, before.Size(), after.Size(), log)
	}
}

// An init of ours tells how the program ended, not how it ended itself, and
// passes signals on.
func TestInit_TellsHowTheProgramEnded(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]struct {
		code   int
		signal string
	}{
		"exit 0": {0, ""}, "exit 3": {3, ""}, "kill -9 $$": {137, "SIGKILL"}, "kill -SEGV $$": {139, "SIGSEGV"},
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			s := n.spec(schema.ModeContainer, "app", script)
			s.Init, s.Resources.Pids = true, 1
			n.start(s)
			if got := n.await("app"); got.ExitCode != want.code || got.Signal != want.signal {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", "trap 'echo asked; exit 7' TERM; echo up; while true; do sleep 0.05; done")
	s.Init = true
	n.start(s)
	n.logs("app", "up")
	if got, err := n.Stop(context.Background(), "app", 10*time.Second); err != nil || got.ExitCode != 7 || got.Signal != "" {
		t.Errorf("%+v %v", got, err)
	}
	s.Command = []string{"/no/such/program"}
	if _, err := n.Start(context.Background(), s); !errors.Is(err, workload.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "/no/such/program") {
		t.Errorf("no program: %v", err)
	}
	// Signals that nobody sends can't end an init; what does is the kernel.
	s.Command = []string{"sleep", "1000"}
	st := n.start(s)
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := n.await("app"); got.Signal != "SIGKILL" {
		t.Errorf("killed init: %+v", got)
	}
}

// A volume goes from one place to the other with Keep.
func TestVolume_KeepCanChange(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", `cat /d/x; echo "content" >> /d/x; id -u > /d/who; echo over`)
	s.User = "meter"
	for i, keep := range []bool{false, true, false} {
		s.Volumes = []schema.Volume{{Path: "/d", Kind: schema.VolumeLasting, Name: "d", Keep: keep}}
		n.start(s)
		n.await("app")
		if got := strings.Count(n.log("app"), "content\n"); got != i*(i+1)/2 {
			t.Errorf("start %d: content was read %d times:\n%s", i, got, n.log("app"))
		}
	}
	if _, err := os.Lstat(filepath.Join(n.data, "volumes/app/d")); err == nil {
		t.Error("what is not to be kept any more is still with what is")
	}
}

// An attached application finds its component and files in a container whose root
// can't be written to.
func TestAttach_ToReadOnly(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "target", "sleep 1000")
	s.ReadOnly = true
	n.start(s)
	a := n.spec(schema.ModeAttach, "app", `cat /opt/app/note /etc/app/conf; touch /new || echo "still read-only"; echo over; sleep 1000`)
	a.Root = t.TempDir()
	put(t, filepath.Join(a.Root, "note"), "a note\n", 0o644)
	a.Files = []schema.File{{Path: "/etc/app/conf", Content: "a file\n"}}
	n.start(a)
	log := n.logs("app", "over")
	for _, want := range []string{"a note\n", "a file\n", "still read-only"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

func TestStart_TimezoneUnknownHere(t *testing.T) {
	n := newNode(t)
	for _, mode := range []schema.Mode{schema.ModeContainer, schema.ModeHost} {
		s := n.spec(mode, "app", "sleep 1000")
		s.Timezone = "Mars/Olympus"
		if _, err := n.Start(context.Background(), s); !errors.Is(err, workload.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), "run.timezone") {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// Reading and writing past the page cache is held back.
func TestResources_IO(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeHost, "app", `dd if=/dev/zero of=$GNOMON_DATA/f bs=1M count=2 oflag=direct && echo over`)
	s.Command = []string{"/bin/dd", "if=/dev/zero", "of=" + filepath.Join(n.DataPath("app"), "f"), "bs=256k", "count=8", "oflag=direct"}
	s.Resources.IO = &schema.IO{Write: 1 << 20}
	began := time.Now()
	n.start(s)
	got := n.await("app")
	if took := time.Since(began); got.ExitCode != 0 || took < time.Second {
		t.Errorf("2 MiB at 1 MiB a second took %v: %+v\n%s", took, got, n.log("app"))
	}
}
