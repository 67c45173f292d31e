package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/cli/input"
)

// What lies behind the limit is not to be dropped in silence.
func TestReadManifests_TooLarge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "all.yaml")
	text := "kind: node\nname: a\ndesired: {}\n" + strings.Repeat("#\n", maxManifest/2) + "---\nkind: node\nname: b\ndesired: {}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := readManifests([]string{file}, nil); !errors.Is(err, input.ErrTooLarge) {
		t.Fatalf("%d manifests, %v", len(all), err)
	}
}
