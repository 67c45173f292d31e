package idle

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/rotate/rotatetest"
)

const (
	limit = 64
	files = 3
	line  = "line\n"
)

// writer starts this program anew, idling, and returns what its workload writes to.
// It ends with the test.
func writer(t *testing.T, log string) *os.File {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	wait, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// The workload is what ends when its input does.
	env := strings.Replace(Spec{Main: 1 << 20, Pipe: 3, Stop: "/no/such/file", LogFile: log, LogBytes: limit, LogFiles: files}.Environ(), fmt.Sprint(1<<20), "$!", 1)
	cmd := exec.Command("/bin/sh", "-c", `cat <&4 >/dev/null 3<&- & export `+strings.Replace(env, "=", `="`, 1)+`"; exec "$0" -test.run=^$ 4<&-`, os.Args[0])
	cmd.ExtraFiles = []*os.File{out, wait}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	wait.Close()
	t.Cleanup(func() {
		in.Close()
		end.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// put makes a file and its predecessors, each full of a letter.
func put(t *testing.T, log string) {
	t.Helper()
	for name, letter := range map[string]string{log: "c", log + ".1": "b", log + ".2": "a"} {
		err := os.WriteFile(name+".new", []byte(strings.Repeat(letter, limit)), 0o640)
		if err == nil {
			err = os.Rename(name+".new", name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// holds waits until so many lines are in the log, wherever, and checks that it was
// rotated once.
func holds(t *testing.T, log string, lines int) {
	t.Helper()
	var got []byte
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		got = got[:0]
		for _, name := range []string{log, log + ".1", log + ".2"} {
			b, _ := os.ReadFile(name)
			got = append(append(got, b...), '|')
		}
		if bytes.Count(got, []byte(line)) == lines {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the log holds %q", got)
		}
	}
	if want := strings.Repeat(line, lines) + "|" + strings.Repeat("c", limit) + "|" + strings.Repeat("b", limit) + "|"; string(got) != want {
		t.Fatalf("the log holds %q, want %q", got, want)
	}
}

// Two writers that find the file full at the same moment rotate once: the second
// would drop the oldest file for one that is almost empty.
func TestIdle_TwoWritersRotateOnce(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	writers := []*os.File{writer(t, log), writer(t, log)}
	for range 50 {
		put(t, log)
		held, err := os.Open(log) // both shall wait at the same place
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		for _, w := range writers {
			if _, err := w.WriteString(line); err != nil {
				t.Fatal(err)
			}
		}
		rotatetest.AwaitWaiting(t, len(writers))
		held.Close()
		holds(t, log, len(writers))
	}
}

// What is written first goes to a fresh file, too, where the one there is is full.
func TestIdle_FindsTheFileFull(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	put(t, log)
	if _, err := writer(t, log).WriteString(line); err != nil {
		t.Fatal(err)
	}
	holds(t, log, 1)
}
