package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// cramped gives a node's run directory a disk of its own. Once that is full what is
// there can be written to, and nothing is made beside it, until there is room again.
func cramped(n *node) (full, room func()) {
	n.t.Helper()
	dir := filepath.Join(n.data, "run")
	n.stop()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,nr_inodes=1000,mode=711"); err != nil {
		n.t.Fatal("mount a tmpfs:", err)
	}
	n.agent()
	n.t.Cleanup(func() {
		if err := n.Remove(context.Background(), "app"); err != nil {
			n.t.Error(err)
		}
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
	inodes := func(number uint64) {
		n.t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=4m,nr_inodes=%d,mode=711", number)); err != nil {
			n.t.Fatal("mount the tmpfs again:", err)
		}
	}
	full = func() {
		n.t.Helper()
		inodes(inodesIn(n))
	}
	return full, func() { inodes(1000) }
}

// inodesIn is how many files the run directory's disk has, those included that are
// deleted and open.
func inodesIn(n *node) uint64 {
	n.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(n.data, "run"), &st); err != nil {
		n.t.Fatal(err)
	}
	return st.Files - st.Ffree
}

// powerCut ends instances with no agent to see it.
func powerCut(n *node, all ...workload.Status) {
	n.t.Helper()
	n.stop()
	for _, st := range all {
		killShimOf(n.t, n, st.Instance)
	}
	for _, st := range all {
		eventually(n.t, "the shim is gone", func() bool { return !heldIn(n, st.Instance) })
	}
	n.agent()
}

// layersOf lists the writable layers of the application.
func layersOf(n *node) (all []string) {
	n.t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.data, "apps/app/layers"))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, d := range entries {
		all = append(all, d.Name())
	}
	return all
}

// remembers is a program that says which rounds its root knows, and leaves its own
// there.
const remembers = `echo "$ROUND knows $(ls /tmp | tr '\n' ' ')"; touch /tmp/$ROUND; ` + polite

// knows waits for what a round says, and checks which others it knows.
func knows(n *node, round int, others ...int) {
	n.t.Helper()
	want := fmt.Sprintf("round-%d knows", round)
	for _, o := range others {
		want += fmt.Sprintf(" round-%d", o)
	}
	log := n.logs("app", fmt.Sprintf("round-%d runs", round))
	if !slices.ContainsFunc(strings.Split(log, "\n"), func(line string) bool { return strings.TrimRight(line, " ") == want }) {
		n.t.Errorf("not %q:\n%s", want, log)
	}
}

// A hand-over that the node's power ends was none: what the former instance has
// written stays, and the other's goes.
func TestInterrupted_HandOverKeepsTheFormersLayer(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", remembers)
	a, b := pair(n, s)
	powerCut(n, a, b)
	if got := n.get("app"); got.Instance != a.Instance || got.State.Live() || got.Next == nil || got.Next.Instance != b.Instance {
		t.Fatalf("%+v next %+v", got, got.Next)
	}
	n.start(round(s, 3, ""))
	knows(n, 3, 1)
	if all := layersOf(n); len(all) != 1 {
		t.Errorf("layers %q", all)
	}

	// The next start may be of other files; on the way back these are there.
	c := n.get("app")
	d := n.start(round(s, 4, c.Instance))
	n.logs("app", "round-4 runs")
	powerCut(n, c, d)
	other := s
	other.Root = makeRootfs(t)
	n.start(round(other, 5, ""))
	knows(n, 5)
	n.restarted(round(s, 6, ""))
	knows(n, 6, 1, 3)
}

// restarted stops what runs and starts another.
func (n *node) restarted(s workload.Spec) workload.Status {
	n.t.Helper()
	if _, err := n.Stop(n.t.Context(), s.Name, 10*time.Second); err != nil {
		n.t.Fatal(err)
	}
	return n.start(s)
}

// An instance that there is no room for leaves nothing that the next start would
// take for the application's.
func TestInterrupted_FullDiskKeepsTheFormersLayer(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	full, room := cramped(n)
	s := n.spec(schema.ModeContainer, "app", remembers)
	a := n.start(round(s, 1, ""))
	n.logs("app", "round-1 runs")
	before := layersOf(n)
	full()
	if st, err := n.Start(t.Context(), round(s, 2, a.Instance)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("%+v %v", st, err)
	}
	if all := layersOf(n); !slices.Equal(all, before) {
		t.Errorf("layers %q, before %q", all, before)
	}
	room()
	onlyOne(n, a)
	n.restarted(round(s, 3, ""))
	knows(n, 3, 1)
}

// An agent that was killed before it had written an instance down leaves a layer that
// is of nobody, and later than the one in use.
func TestInterrupted_LayerOfNobody(t *testing.T) {
	t.Parallel()
	for _, goes := range []string{"again", "to other files", "beside"} {
		t.Run(goes, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			s := n.spec(schema.ModeContainer, "app", remembers)
			a := n.start(round(s, 1, ""))
			n.logs("app", "round-1 runs")
			own := layersOf(n)
			stray := filepath.Join(n.data, "apps/app/layers", own[0]+"-0123456789ab")
			later := time.Now().Add(24 * time.Hour) // the clock was wrong then, or is now
			if err := errors.Join(os.Mkdir(stray, 0o711), os.Chtimes(stray, later, later)); err != nil {
				t.Fatal(err)
			}
			switch goes {
			case "to other files":
				other := s
				other.Root = makeRootfs(t)
				n.restarted(round(other, 2, ""))
				knows(n, 2)
			case "beside":
				b := n.start(round(s, 2, a.Instance))
				knows(n, 2)
				if err := n.Dismiss(t.Context(), "app", b.Instance, 10*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			n.restarted(round(s, 3, ""))
			knows(n, 3, 1)
		})
	}
}

// The link to the current version leads to one that was started, also where an
// instance of another came no further than that.
func TestInterrupted_CurrentIsWhatWasStarted(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	full, room := cramped(n)
	n.start(n.release("1", "exit 0"))
	n.await("app")
	bad := n.release("2", "")
	bad.Command = []string{"nothing"}
	if _, err := n.Start(t.Context(), bad); err == nil {
		t.Fatal("started")
	}
	n.kept("1", "1", "1", "2")
	dirs, err := filepath.Glob(filepath.Join(n.data, "run/app/*"))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	if err := os.RemoveAll(dirs[0]); err != nil { // else a start makes room first
		t.Fatal(err)
	}
	eventually(t, "the shim has let go of them", func() bool { return inodesIn(n) == 2 })
	full()
	if st, err := n.Start(t.Context(), n.release("3", "")); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("%+v %v", st, err)
	}
	n.kept("1", "1", "1", "3")

	// Beside one that runs it is that one.
	current := func(digit string) { // whatever has proved itself meanwhile
		t.Helper()
		if to, err := os.Readlink(filepath.Join(n.data, "apps/app/current")); err != nil || filepath.Base(to) != strings.Repeat(digit, 16) {
			t.Errorf("the current version is %s, want %s: %v", to, digit, err)
		}
	}
	room()
	a := n.start(n.release("4", "exec sleep 1000"))
	current("4")
	full()
	next := n.release("5", "exec sleep 1000")
	next.Former = a.Instance
	if st, err := n.Start(t.Context(), next); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("%+v %v", st, err)
	}
	current("4")
	room()
	onlyOne(n, a)
	// Also where it is the switch itself that fails.
	if out, err := n.elsewhere(next, "version.switched=error"); err == nil {
		t.Fatalf("started: %s", out)
	}
	current("4")
	onlyOne(n, a)
}
