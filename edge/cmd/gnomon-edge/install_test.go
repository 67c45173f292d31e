package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/cli/input"
)

// What lies behind the limit is not to be dropped in silence: here, half of what
// is wanted.
func TestReadManifest_TooLarge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.yaml")
	text := "kind: application\nname: a\ndesired: {mode: host}\n" + strings.Repeat("#\n", maxManifest/2) + "---\nkind: application\nname: b\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := readManifest(file, nil); !errors.Is(err, input.ErrTooLarge) {
		t.Fatalf("%+v, %v", m, err)
	}
	if m, err := readManifest("-", strings.NewReader(text)); !errors.Is(err, input.ErrTooLarge) {
		t.Fatalf("%+v, %v", m, err)
	}
}
