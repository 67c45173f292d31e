package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/cloud/store/redis/redistest"
)

// A shared store is reached with TLS and a user by flags and environment, without
// a password that others could see.
func TestSharedStoreSettings(t *testing.T) {
	secure := redistest.NewSecure(t, "~* &* +@all")
	url := secure.Start(t).URL("gnomon")
	t.Setenv("GNOMON_STORE", url)
	t.Setenv("GNOMON_STORE_USER", secure.User)
	t.Setenv("GNOMON_STORE_CA", secure.CA)
	certificate := []string{"--store-cert", secure.Cert, "--store-key", secure.Key}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secure.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(args ...string) (int, string) {
		var out bytes.Buffer
		root := rootCommand()
		root.SetArgs(append([]string{"store", "check"}, args...))
		root.SetOut(&out)
		if err := root.ExecuteContext(t.Context()); err != nil {
			return exitCode(t.Context(), err), out.String() + err.Error()
		}
		return 0, out.String()
	}
	if code, out := check(append(certificate, "--store-password-file", file)...); code != 0 || !strings.Contains(out, `"shadows": 0`) {
		t.Errorf("password in a file: %d %s", code, out)
	}
	if code, out := check(certificate...); code != 2 || !strings.Contains(out, "has no password") {
		t.Errorf("no password: %d %s", code, out)
	}
	t.Setenv("GNOMON_STORE_PASSWORD", "wrong")
	if code, out := check(certificate...); code == 0 || !strings.Contains(out, "--store-password-file") {
		t.Errorf("wrong password: %d %s", code, out)
	}
	if code, out := check(append(certificate, "--store-password-file", file)...); code != 0 {
		t.Errorf("a file wins over the environment: %d %s", code, out)
	}
	t.Setenv("GNOMON_STORE_PASSWORD", secure.Password)
	if code, out := check(certificate...); code != 0 {
		t.Errorf("password in the environment: %d %s", code, out)
	}
	if code, out := check(); code == 0 || !strings.Contains(out, "--store-cert") {
		t.Errorf("no certificate: %d %s", code, out)
	}
	// Who names a directory means it, whatever the environment says.
	if code, out := check("--data", filepath.Join(t.TempDir(), "none")); code != 2 || !strings.Contains(out, "--data") {
		t.Errorf("a directory: %d %s", code, out)
	}
}
