// Package cloudtest gives tests the real gnomon binary: built once for each test
// process, from this very tree, in a temporary directory that Main removes. It
// is for tests only and never falls back to a binary that happens to lie around.
package cloudtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"gnomon/simulator/cloudproc"
)

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "gnomon-test-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "gnomon")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "gnomon/cloud/cmd/gnomon")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build gnomon/cloud/cmd/gnomon: %w: %s", err, out)
	}
	return path, nil
})

var built string // directory, "" = nothing was built

// Main runs a package's tests and removes what was built for them.
func Main(m *testing.M) int {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	return code
}

// Binary returns the path of the gnomon binary.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Config returns what starts a cloud on free ports with a data directory that
// goes with the test.
func Config(t testing.TB) cloudproc.Config {
	t.Helper()
	cfg, remove, err := cloudproc.Scratch(Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	return cfg
}

// Start starts a cloud, waits until it serves, and stops it with the test.
func Start(t testing.TB) cloudproc.Config {
	t.Helper()
	cfg := Config(t)
	cloud, err := cloudproc.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Kill)
	if err := cloud.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cfg
}
