// Package rotatetest is for tests of those who rotate a log together: it knows who
// waits for the lock. It is never part of a program that users run.
package rotatetest

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// AwaitWaiting waits until so many wait for a lock that this process has (proc(5),
// /proc/locks). No event tells of it.
func AwaitWaiting(t testing.TB, number int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		waiting, ours := 0, ""
		for line := range strings.Lines(string(locks)) {
			switch f := strings.Fields(line); {
			case len(f) > 5 && f[1] == "->" && f[0] == ours:
				waiting++
			case len(f) > 4 && f[1] == "FLOCK" && f[4] == strconv.Itoa(os.Getpid()):
				ours = f[0]
			}
		}
		if waiting == number {
			return
		}
	}
	t.Fatal("they never waited")
}
