package executor_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// What fills the disk can be stopped all the same, what cannot be started says
// why, and all of it works again once there is room.
func TestFullDisk_StopAndStart(t *testing.T) {
	n := newNode(t)
	n.stop()
	if err := unix.Mount("tmpfs", n.data, "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Fatal("mount a tmpfs:", err)
	}
	n.agent()
	t.Cleanup(func() { _ = unix.Unmount(n.data, unix.MNT_DETACH) })
	spec := func(name string) workload.Spec {
		return workload.Spec{Name: name, Mode: schema.ModeHost, Hash: "h", Command: []string{"/bin/sleep", "1000"}, StopGrace: 2 * time.Second}
	}
	for _, name := range []string{"polite", "at-once"} {
		if st, err := n.Start(t.Context(), spec(name)); err != nil || st.State != workload.Running {
			t.Fatal(st, err)
		}
	}
	f, err := os.Create(filepath.Join(n.data, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if _, err := n.Start(t.Context(), spec("more")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("started on a full disk: %v", err)
	}
	for name, grace := range map[string]time.Duration{"polite": 2 * time.Second, "at-once": 0} {
		st, err := n.Stop(t.Context(), name, grace)
		if err != nil || st.State.Live() {
			t.Errorf("%s cannot be stopped: %s %v", name, st.State, err)
		}
		if g, err := n.Group(name); err != nil || g.Exists() {
			t.Errorf("%s left its cgroup behind: %v", name, err)
		}
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if st, err := n.Start(t.Context(), spec("polite")); err != nil || st.State != workload.Running {
		t.Error(st.State, err)
	}
	data, layers, logs := n.Footprint("polite")
	if data[0] != n.DataPath("polite") || filepath.Dir(layers[0]) != filepath.Dir(data[0]) || len(logs) != 3 || logs[0] != n.LogPath("polite") {
		t.Errorf("%s %s %v", data, layers, logs)
	}
	for _, name := range []string{"polite", "at-once", "more"} {
		if err := n.Remove(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

func TestRoots_OfWhatRuns(t *testing.T) {
	n := newNode(t)
	root := t.TempDir()
	if _, err := n.Start(t.Context(), workload.Spec{Name: "web", Mode: schema.ModeHost, Hash: "h", Root: root, Command: []string{"/bin/sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	if roots, err := n.Roots(); err != nil || len(roots) != 1 || roots[0] != root {
		t.Errorf("%v %v", roots, err)
	}
}
