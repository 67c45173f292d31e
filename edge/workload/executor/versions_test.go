package executor_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// release is a version of a host application that says which it is, and then does
// what it is told.
func (n *node) release(digit, does string) workload.Spec {
	n.t.Helper()
	root := filepath.Join(n.t.TempDir(), "release")
	if err := os.MkdirAll(filepath.Join(root, "bin", "deep"), 0o755); err != nil {
		n.t.Fatal(err)
	}
	put(n.t, filepath.Join(root, "bin/prog"), "#!/bin/sh\necho this is "+digit+" at $(pwd)\n"+does+"\n", 0o755)
	put(n.t, filepath.Join(root, "bin/deep/data"), digit, 0o640)
	if err := os.Symlink("bin/deep", filepath.Join(root, "link")); err != nil {
		n.t.Fatal(err)
	}
	return workload.Spec{Name: "app", Mode: schema.ModeHost, Hash: "h" + digit, Component: "app@" + digit,
		Root: root, Digest: "sha256:" + strings.Repeat(digit, 64), Command: []string{"prog"}}
}

// kept checks which versions there are, and where the links lead.
func (n *node) kept(current, good string, want ...string) {
	n.t.Helper()
	app := filepath.Join(n.data, "apps", "app")
	var got []string
	entries, _ := os.ReadDir(filepath.Join(app, "versions"))
	for _, d := range entries {
		got = append(got, d.Name()[:1])
	}
	if !slices.Equal(got, want) {
		n.t.Errorf("versions %v, want %v", got, want)
	}
	for link, want := range map[string]string{"current": current, "good": good} {
		to, _ := os.Readlink(filepath.Join(app, link))
		if want != "" {
			want = "versions/" + strings.Repeat(want, 16)
		}
		if to != want {
			n.t.Errorf("%s leads to %q, want %q", link, to, want)
		}
	}
}

func TestVersions_KeepWhatProvedItself(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	one := n.release("1", "cat link/data; exit 0")
	n.start(one)
	if st := n.await("app"); st.ExitCode != 0 {
		t.Fatalf("%+v\n%s", st, n.log("app"))
	}
	n.logs("app", "this is 1 at "+filepath.Join(n.data, "apps/app/versions", strings.Repeat("1", 16)))
	n.kept("1", "", "1")
	// One that can't be started gives way on disk at once.
	two := n.release("2", "")
	two.Command = []string{"nothing"}
	if _, err := n.Start(t.Context(), two); err == nil {
		t.Fatal("started")
	}
	n.kept("1", "1", "1", "2")
	// One that fails doesn't take the place of the good one either.
	three := n.release("3", "exit 1")
	n.start(three)
	n.await("app")
	n.kept("3", "1", "1", "3")
	// The way back needs nothing but what is kept.
	if err := os.RemoveAll(one.Root); err != nil {
		t.Fatal(err)
	}
	n.start(one)
	if st := n.await("app"); st.ExitCode != 0 || st.Hash != "h1" {
		t.Errorf("%+v\n%s", st, n.log("app"))
	}
	n.kept("1", "1", "1")
	if err := n.Remove(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(n.data, "apps/app")); err == nil {
		t.Error("versions are left")
	}
}

// Wherever the agent is killed on the way to another version, the next start is
// right, and the former version is there until then.
func TestVersions_SurviveAKillAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, point := range []failpoint.Point{failpoint.VersionStaged, failpoint.VersionKept, failpoint.VersionSwitched} {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			one, two := n.release("1", "exit 0"), n.release("2", "exec sleep 1000")
			n.start(one)
			n.await("app")
			out, err := n.elsewhere(two, string(point)+"=kill")
			if err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("not killed: %v %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(n.data, "apps/app/versions", strings.Repeat("1", 16), "bin/prog")); err != nil {
				t.Error("the good version is gone: ", err)
			}
			n.restart()
			n.start(two)
			n.logs("app", "this is 2")
			n.kept("2", "1", "1", "2")
			// And back instead of forward.
			if _, err := n.Stop(t.Context(), "app", 0); err != nil {
				t.Fatal(err)
			}
			if out, err := n.elsewhere(n.release("3", ""), string(point)+"=kill"); err == nil {
				t.Fatalf("not killed: %s", out)
			}
			n.start(one)
			n.await("app")
			n.kept("1", "1", "1")
		})
	}
}

func TestHost_OwnUser(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	users := map[int]string{}
	owner := func(name string) int {
		t.Helper()
		s := n.release("1", `id -u; echo mine > $GNOMON_DATA/mine && echo wrote; exec sleep 1000`)
		s.Name, s.User = name, schema.UserOwn
		s.Files = []schema.File{{Path: "/secret", Content: "x", Mode: "0400"}}
		st := n.start(s)
		n.logs(name, "wrote")
		uid := ownerOf(t, "/proc/"+strconv.Itoa(st.PID))
		for _, path := range []string{n.DataPath(name), filepath.Join(n.data, "apps", name, "files/secret")} {
			if got := ownerOf(t, path); got != uid {
				t.Errorf("%s belongs to %d, the process to %d", path, got, uid)
			}
		}
		if uid < 70_000 || uid > 70_999 {
			t.Errorf("%s runs as %d", name, uid)
		}
		return uid
	}
	for _, name := range []string{"a", "b", "c"} {
		uid := owner(name)
		if other, taken := users[uid]; taken {
			t.Errorf("%s has the user of %s", name, other)
		}
		users[uid] = name
	}
	if _, err := n.Stop(t.Context(), "b", 0); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if name := users[owner("b")]; name != "b" {
		t.Errorf("b has become %q", name)
	}
	s := n.spec(schema.ModeContainer, "d", "true")
	s.User = schema.UserOwn
	if _, err := n.Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "run.user") {
		t.Errorf("in a container: %v", err)
	}
}

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}
