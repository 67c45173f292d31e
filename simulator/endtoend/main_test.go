package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gnomon/simulator/cloudtest"
)

const busybox = "/bin/busybox"

// Where the programs under test were built.
var agentPath, shimPath, rootfs string

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asTerminal {
		fmt.Fprintln(os.Stderr, "terminal:", becomeTerminal(os.Args[2])) // it returns when it fails
		os.Exit(1)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "FAIL: containers and cgroups need root: run the tests as root")
		os.Exit(1)
	}
	os.Exit(setUp(m))
}

func setUp(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gnomon-endtoend-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	agentPath, shimPath, rootfs = filepath.Join(dir, "gnomon-edge"), filepath.Join(dir, "gnomon-shim"), filepath.Join(dir, "rootfs")
	for _, b := range []struct{ path, pkg, cgo string }{
		{agentPath, "gnomon/edge/cmd/gnomon-edge", "0"}, {shimPath, "gnomon/edge/cmd/gnomon-shim", "1"},
	} {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-tags=netgo,osusergo", "-o", b.path, b.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: go build %s: %v: %s\n", b.pkg, err, out)
			return 1
		}
	}
	if err := makeRootfs(rootfs); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	return cloudtest.Main(m)
}

// makeRootfs builds a root file system out of nothing but busybox.
func makeRootfs(root string) error {
	for _, d := range []string{"bin", "etc", "tmp", "dev", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		return fmt.Errorf("these tests need a static busybox: apt-get install busybox-static: %w", err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), b, 0o755); err != nil {
		return err
	}
	for _, applet := range []string{"sh", "sleep", "cat", "ls"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/:/bin/sh\n"), 0o644)
}
