package input_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/cli/input"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Repeat("a", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, file, stdin string
		size              int
		says              string
	}{
		{name: "file", file: write("all", 10), size: 10},
		{name: "file of the limit", file: write("full", 16), size: 16},
		{name: "file over it", file: write("over", 17), says: "17 bytes, and at most 16 are taken"},
		{name: "standard input", file: "-", stdin: strings.Repeat("b", 16), size: 16},
		{name: "standard input over it", file: "-", stdin: strings.Repeat("b", 17), says: "more than 16 bytes, and at most 16 are taken"},
		{name: "empty", file: write("none", 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := input.Read(c.file, strings.NewReader(c.stdin), 16)
			if c.says != "" {
				if !errors.Is(err, input.ErrTooLarge) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.file) || text != nil {
					t.Fatalf("%d bytes, %v", len(text), err)
				}
				return
			}
			if err != nil || len(text) != c.size {
				t.Fatalf("%d bytes, %v; want %d", len(text), err, c.size)
			}
		})
	}
	if _, err := input.Read(filepath.Join(dir, "absent"), nil, 16); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
