package credentials

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"gnomon/edge/collect"
)

func put(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "ups", "user: gnomon\nauthProtocol: SHA256\nauthPassword: in-the-dark\nprivProtocol: AES\nprivPassword: whispered\n", 0o400)
	c, err := Dir(dir).Read("ups")
	if err != nil || c.User != "gnomon" || Reveal(c.AuthPassword) != "in-the-dark" || Reveal(c.PrivPassword) != "whispered" {
		t.Errorf("%v, %v", c, err)
	}
}

// Every refusal says which name and what to do, and nothing of what is in the file.
func TestRead_Refuses(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "open", "community: hush-hush", 0o644)
	put(t, dir, "odd", "community: hush-hush\nnonsense: hush-hush\n", 0o600)
	put(t, dir, "torn", "community: [hush-hush", 0o600)
	put(t, dir, "list", "- hush-hush", 0o600)
	put(t, dir, "large", strings.Repeat("#", maxFile+1), 0o600)
	put(t, dir, "foreign", "community: hush-hush", 0o600)
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "foreign"), 1234, 1234); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "odd"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"none": "no such file", "open": "chmod 600", "odd": "in YAML", "torn": "in YAML", "list": "in YAML",
		"large": "larger than", "link": "is a link", "dir": "no regular file", "../" + filepath.Base(dir) + "/odd": "no name", "": "no name", "..": "no name",
		"foreign": "belongs to user 1234",
	} {
		if name == "foreign" && os.Geteuid() != 0 {
			continue
		}
		c, err := Dir(dir).Read(name)
		if !errors.Is(err, collect.ErrCredentials) || !strings.Contains(err.Error(), says) || c != (Credentials{}) {
			t.Errorf("%s: %v, %v; want %q", name, c, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the refusal tells the secret: %v", name, err)
		}
	}
	if _, err := Dir("").Read("x"); err == nil || !strings.Contains(err.Error(), "--credentials") {
		t.Errorf("no directory: %v", err)
	}
}

// However it is printed, the secret isn't.
func TestSecret_IsNotPrinted(t *testing.T) {
	c := Credentials{User: "u", Community: "hush-hush", Password: "hush-hush", AuthPassword: "hush-hush", PrivPassword: "hush-hush"}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "c", c, "p", &c, "s", c.Community)
	log = slog.New(slog.NewTextHandler(&out, nil))
	log.Info("x", "c", c, "p", &c, "s", c.Community)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, c, &c, c.Password)
	}
	for _, v := range []any{c, &c, c.Password} {
		j, jerr := json.Marshal(v)
		y, yerr := yaml.Marshal(v)
		if jerr != nil || yerr != nil {
			t.Fatal(jerr, yerr)
		}
		out.Write(j)
		out.Write(y)
	}
	if s := out.String(); strings.Contains(s, "hush") || strings.Contains(s, "68757368") {
		t.Errorf("told: %s", s)
	}
}
