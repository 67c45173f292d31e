package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"gnomon/simulator/cloudtest"
	"gnomon/simulator/crash"
	"gnomon/simulator/experiment"
)

func TestMain(m *testing.M) { os.Exit(cloudtest.Main(m)) }

func call(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"--no-such", "no-such"},
		{"--nodes x", "nodes"},
		{"nothing", `"nothing"`},
		{"-o xml", "table or json"},
		{"--mqtt 127.0.0.1:1", "give both"},
		{"--mqtt 127.0.0.1:1 --http http://127.0.0.1:2 --start-cloud", "one or the other"},
		{"--mqtt 127.0.0.1:1 --http http://127.0.0.1:2 --nodes 0", "nodes is 0"},
		{"--mqtt 127.0.0.1:1 --http http://127.0.0.1:2 --fault-rate 2", "fault-rate is 2"},
		{"--cloud-bin /no/such/gnomon", "/no/such/gnomon"},
		{"crash -o xml", "table or json"},
		{"crash --cloud-bin /bin/true --kills 0", "kills is 0"},
		{"crash more", `"more"`},
		{"faults --only nothing-like-that", "no fault has such a name"},
	} {
		code, stdout, stderr := call(t.Context(), strings.Fields(tc.args)...)
		if code != exitUsage || !strings.Contains(stderr, tc.says) || stdout != "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want exit 2 saying %q", tc.args, code, stdout, stderr, tc.says)
		}
	}
}

func TestHelpGoesToStdout(t *testing.T) {
	code, stdout, stderr := call(t.Context(), "--help")
	if code != exitOK || !strings.Contains(stdout, "--nodes") || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestACloudThatCannotStartIsExplained(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // a failure keeps the log
	code, stdout, stderr := call(t.Context(), "--cloud-bin", "/bin/false", "--nodes", "1")
	if code != exitFailed || !strings.Contains(stderr, "exited") || stdout != "" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestStartsItsOwnCloudAndLeavesNothingBehind(t *testing.T) {
	binary := cloudtest.Binary(t)
	t.Setenv("TMPDIR", t.TempDir())
	code, stdout, stderr := call(t.Context(), "--nodes", "20", "--delay", "1ms", "--seed", "7", "-o", "json", "--cloud-bin", binary)
	var r experiment.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d, stdout %q, stderr %q: %v", code, stdout, stderr, err)
	}
	if code != exitOK || !r.OK() || r.Seed != 7 || r.Nodes != 20 || r.Cloud == nil || r.Cloud.PeakRSSMiB == 0 {
		t.Errorf("exit %d, %+v\n%s", code, r, stderr)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCrashCommand(t *testing.T) {
	code, stdout, stderr := call(t.Context(), "crash", "--kills", "2", "--updaters", "8", "--uptime", "50ms", "-o", "json", "--cloud-bin", cloudtest.Binary(t))
	var r crash.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitOK || r.Kills != 2 || !r.OK() {
		t.Errorf("exit %d, %+v, %v\n%s", code, r, err, stderr)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, _, stderr := call(ctx, "--cloud-bin", "/bin/cat"); code != exitInterrupted || !strings.Contains(stderr, "interrupted") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}
