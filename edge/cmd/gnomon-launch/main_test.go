package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	lib := t.TempDir()
	if err := os.WriteFile(filepath.Join(lib, "gnomon-edge"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, problem string }{
		{"--factory " + lib + " -- run --dev", ""},
		{"--factory " + lib + " run --dev", ""},
		{"--factory " + lib, "gnomon-launch [flags] -- run"},
		{"--factory " + lib + " -- status", "gnomon-launch [flags] -- run"},
		{"--factory /nowhere -- run", "--factory"},
		{"--nonsense -- run", "nonsense"},
	} {
		var said bytes.Buffer
		cfg, err := parse(strings.Fields(c.args), &said)
		switch {
		case c.problem == "" && err != nil, c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%s: %v", c.args, err)
		case err == nil && (len(cfg.Args) != 2 || cfg.Args[0] != "run" || cfg.Factory != lib):
			t.Errorf("%s: %+v", c.args, cfg)
		}
	}
	cfg, err := parse(strings.Fields("--data x --trial 3m --settle 1s --alone 2m --early 10s --factory "+lib+" -- run"), &bytes.Buffer{})
	if err != nil || !filepath.IsAbs(cfg.Data) || cfg.Trial != 3*time.Minute || cfg.Settle != time.Second || cfg.Alone != 2*time.Minute || cfg.Early != 10*time.Second {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// What the unit starts is understood, and it leaves workloads alone.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("../../../deploy/systemd/gnomon-edge.service")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			settings[name] = value
		}
	}
	for name, want := range map[string]string{"KillMode": "process", "Restart": "always", "Delegate": "yes", "OOMPolicy": "continue"} {
		if settings[name] != want {
			t.Errorf("%s=%s, want %s", name, settings[name], want)
		}
	}
	args := strings.Fields(settings["ExecStart"])
	if len(args) == 0 || filepath.Base(args[0]) != "gnomon-launch" {
		t.Fatalf("ExecStart=%s", settings["ExecStart"])
	}
	lib := t.TempDir()
	if err := os.WriteFile(filepath.Join(lib, "gnomon-edge"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg, err := parse(append([]string{"--factory", lib}, args[1:]...), &bytes.Buffer{})
	if err != nil || cfg.Data != "/var/lib/gnomon" || cfg.Args[0] != "run" {
		t.Errorf("%+v, %v", cfg, err)
	}
}
