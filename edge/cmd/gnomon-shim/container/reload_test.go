package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// A kernel that cannot put a mount beneath another gets it on top, so often and
// no more, and all of them are taken away in the end.
func TestSwap_OnOlderKernels(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("mounts need root: sudo -E go test ./edge/cmd/gnomon-shim/...")
	}
	for name, beneath := range map[string]int{"beneath": moveMountBeneath, "on top": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			was := moveMountBeneath
			moveMountBeneath = beneath
			defer func() { moveMountBeneath = was }()
			holder := exec.Command("sleep", "1000")
			holder.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
			pid := holder.Process.Pid
			dir := filepath.Join(t.TempDir(), "0123456789ab", "files")
			at := filepath.Join(t.TempDir(), "a file")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			r := instance.Request{Instance: "0123456789ab", TargetPID: pid, Spec: workload.Spec{Files: []schema.File{{Path: at}}}}
			g := graft{to: at}
			content := func(i int) {
				g.from = filepath.Join(dir, fmt.Sprintf("0-%d", i))
				if err := os.WriteFile(g.from, fmt.Append(nil, i), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			content(0)
			if err := plant(pid, 0, []graft{g}); err != nil {
				t.Fatal(err)
			}
			want := 1
			for i := 1; i < maxStacked; i++ {
				content(i)
				sole, err := g.swap(pid, r.Instance)
				if err != nil || sole != (name == "beneath") {
					t.Fatal(i, sole, err)
				}
				if sole {
					g.forgetFormer()
				}
				if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s", pid, at)); string(b) != fmt.Sprint(i) {
					t.Fatalf("%q %v, want %d", b, err, i)
				}
				if name == "on top" {
					want++
				}
				if n := stacked(pid, at, r.Instance); n != want {
					t.Fatalf("%d mounts after %d times, want %d", n, i, want)
				}
			}
			if _, err := g.swap(pid, r.Instance); (err != nil) != (name == "on top") || err != nil && !strings.Contains(err.Error(), "restart") {
				t.Errorf("once more: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != want {
				t.Errorf("%d files are left, want %d: %v", len(left), want, left)
			}
			Detach(r)
			if n := stacked(pid, at, r.Instance); n != 0 {
				t.Errorf("%d mounts are left", n)
			}
		})
	}
}
