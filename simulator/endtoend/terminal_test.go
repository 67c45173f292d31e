package endtoend

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/simulator/cloudtest"
	"gnomon/simulator/edgeproc"
)

// terminal is a shell on a machine of its own, as a user has it: its processes,
// ports and /tmp are nobody else's, and the programs are on its PATH. The kernel ends
// all that runs there with the shell.
type terminal struct {
	t     *testing.T
	dir   string // what is /tmp inside
	shell *exec.Cmd
	keys  io.WriteCloser
	words *bufio.Scanner    // of the shell itself: a status for each command
	logs  map[string]string // where commands say what they say, below dir
}

// asTerminal is the first argument of this program where it is to become a terminal's
// shell; the second is the directory that is /tmp there.
const asTerminal = "terminal"

// becomeTerminal turns this process, in namespaces of its own, into the shell.
func becomeTerminal(dir string) error {
	if within, err := edgeproc.Inside(); !within || err != nil {
		return errors.Join(errors.New("a terminal runs in namespaces of its own"), err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount(dir, "/tmp", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount /tmp: %w", err)
	}
	if err := os.Chdir("/tmp/gnomon"); err != nil {
		return err
	}
	// Cgroups alone are the machine's: none is made without applications, and those of
	// another node gw-1 are none of ours.
	environment := []string{"PATH=/tmp/bin:" + os.Getenv("PATH"), "HOME=/tmp", "LANG=C", "GNOMON_CGROUP=/gnomon-test/" + filepath.Base(filepath.Dir(dir))}
	return syscall.Exec("/bin/bash", []string{"bash", "--norc", "--noprofile"}, environment)
}

// openTerminal opens one in a directory that has some files.
func openTerminal(t *testing.T, files map[string]string) *terminal {
	t.Helper()
	term := &terminal{t: t, dir: t.TempDir(), logs: map[string]string{}}
	for _, sub := range []string{"bin", "log", "gnomon"} {
		if err := os.Mkdir(filepath.Join(term.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range map[string]string{"gnomon": cloudtest.Binary(t), "gnomon-edge": agentPath, "gnomon-shim": shimPath, "gnomon-sim": simulatorPath(t)} {
		if err := os.Link(path, filepath.Join(term.dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		path := filepath.Join(term.dir, "gnomon", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	term.start()
	return term
}

// start starts the shell; it ends, with all that it started, when nothing more can be
// typed.
func (term *terminal) start() {
	t := term.t
	t.Helper()
	cmd, err := edgeproc.Enclosed(asTerminal, term.dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
	own, err := os.Create(filepath.Join(term.dir, "log", "0 the shell"))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	cmd.Stderr = own
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	words, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term.shell, term.keys, term.words = cmd, keys, bufio.NewScanner(words)
	t.Cleanup(term.close)
}

// close ends the shell. Once it is reaped nothing that ran there is left.
func (term *terminal) close() {
	_ = term.shell.Process.Kill()
	_ = term.shell.Wait() // "signal: killed" is what was asked for
	if !term.t.Failed() {
		return
	}
	logs, err := filepath.Glob(filepath.Join(term.dir, "log", "*"))
	if err != nil {
		term.t.Error(err)
	}
	for _, path := range logs {
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			term.t.Logf("%s said:\n%s", filepath.Base(path), text[max(0, len(text)-4000):])
		}
	}
}

// run types a command, waits for its end and returns what it said. What it starts in
// the background goes on, and says what it says in the same place.
func (term *terminal) run(command string) (said string, status int) {
	term.t.Helper()
	log := term.logs[command]
	if log == "" {
		log = fmt.Sprintf("log/%d %s", len(term.logs)+1, strings.Fields(command)[0])
		term.logs[command] = log
	}
	status = term.enter(command, "/tmp/"+log)
	return read(term.t, filepath.Join(term.dir, log)), status
}

// enter has the shell read a command as it is.
func (term *terminal) enter(command, log string) (status int) {
	term.t.Helper()
	limit := time.AfterFunc(patience, func() { _ = term.shell.Process.Kill() })
	defer limit.Stop()
	if _, err := fmt.Fprintf(term.keys, "{ %s\n} </dev/null >'%s' 2>&1; echo $?\n", command, log); err != nil {
		term.t.Fatalf("%s: %v", command, err)
	}
	if !term.words.Scan() {
		term.t.Fatalf("%s: the shell has ended, or this took more than %s (%v)", command, patience, term.words.Err())
	}
	return number(term.t, term.words.Text())
}

// background runs a command that ends in & and waits until it says a sign.
func (term *terminal) background(command, sign string) {
	term.t.Helper()
	if sign == "" || !strings.HasSuffix(command, " &") {
		term.t.Fatalf("%s: no program that is known to run in the background", command)
	}
	if _, status := term.run(command); status != 0 {
		term.t.Fatalf("%s: status %d", command, status)
	}
	until(term.t, fmt.Sprintf("%s to say %s", command, sign), func() bool {
		gone := term.enter("kill -0 $!", "/dev/null") != 0
		said := read(term.t, filepath.Join(term.dir, term.logs[command]))
		if gone {
			term.t.Fatalf("%s: it has ended", command)
		}
		return strings.Contains(said, sign)
	})
}
