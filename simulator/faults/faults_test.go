package faults

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/failpoint"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/cloudtest"
	"gnomon/simulator/edgeproc"
)

func TestMain(m *testing.M) {
	done, status, err := edgeproc.Enclose()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
	if !done {
		status = cloudtest.Main(m)
	}
	os.Exit(status)
}

// build builds a program of this very tree.
func build(t *testing.T, name, cgo string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "gnomon/edge/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v: %s", name, err, out)
	}
	return path
}

// TestFaults does one fault of each kind, by chance; `make test-faults` does all.
func TestFaults(t *testing.T) {
	cfg := Config{
		Cloud: cloudtest.Config(t), Agent: build(t, "gnomon-edge", "0"), Shim: build(t, "gnomon-shim", "1"),
		Busybox: "/bin/busybox", Seed: uint64(time.Now().UnixNano()), Short: true,
	}
	cfg.Dir = filepath.Dir(cfg.Cloud.Data)
	t.Logf("seed %d", cfg.Seed)
	report, err := Run(t.Context(), cfg)
	var text strings.Builder
	report.WriteText(&text)
	t.Log(text.String())
	if err != nil {
		t.Error(err)
	}
	if !report.OK() {
		b, _ := os.ReadFile(filepath.Join(cfg.Dir, "agent.log"))
		t.Errorf("the promise did not hold; the agent's last words:\n%s", b[max(0, len(b)-4000):])
	}
}

// Every point that can fail is failed at, and names are told apart.
func TestMatrix_UsesEveryPoint(t *testing.T) {
	used, names := map[failpoint.Point]bool{}, map[string]bool{}
	for _, f := range matrix(rand.New(rand.NewPCG(1, 0)), false) {
		for _, p := range f.points {
			used[p] = true
		}
		if names[f.name] {
			t.Errorf("two faults are called %q", f.name)
		}
		names[f.name] = true
	}
	for _, p := range failpoint.All() {
		if !used[p] {
			t.Errorf("the matrix has no fault at %s", p)
		}
	}
}

// A short run has one fault of each kind, and with the same seed the same ones.
func TestMatrix_Short(t *testing.T) {
	groups := map[string]bool{}
	for _, f := range matrix(rand.New(rand.NewPCG(1, 0)), false) {
		groups[f.group] = true
	}
	var names [2][]string
	for i := range names {
		for _, f := range matrix(rand.New(rand.NewPCG(5, 0)), true) {
			names[i] = append(names[i], f.name)
		}
	}
	if len(names[0]) != len(groups) || !slices.Equal(names[0], names[1]) {
		t.Errorf("%d kinds, %d faults: %v, %v", len(groups), len(names[0]), names[0], names[1])
	}
}

// The planner's kinds of steps are points before and after.
func TestSteps_AreAllThatThePlannerPlans(t *testing.T) {
	var kinds []string
	files, err := filepath.Glob("../../edge/reconcile/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "StepKind" {
				kinds = append(kinds, strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`))
			}
			return true
		})
	}
	if !slices.Equal(slices.Sorted(slices.Values(kinds)), slices.Sorted(slices.Values(failpoint.Steps))) {
		t.Errorf("the planner plans %v; failpoint.Steps are %v", kinds, failpoint.Steps)
	}
}

func TestDifferences(t *testing.T) {
	before := machine{"process": {"1 since 2: a", "2 since 2: b"}, "mount": {"/"}}
	now := machine{"process": {"1 since 2: a", "2 since 9: b"}, "mount": {"/", "/x"}, "network device": {"veth0"}}
	want := []string{"process left over: 2 since 9: b", "process gone: 2 since 2: b", "mount left over: /x", "network device left over: veth0"}
	if got := before.differences(now); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := before.differences(before); got != nil {
		t.Errorf("%q", got)
	}
}

// What can't be done to a node is said, and what comes after it goes on.
func TestTrial_SaysWhatCannotBeDone(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	cloud := new(cloudproc.Cloud)
	r := &rig{node: &edgeproc.Node{Data: nowhere}, cloud: cloud, cfg: Config{Cloud: cloudproc.Config{Log: filepath.Join(nowhere, "log")}}}
	tr := &trial{rig: r, ctx: t.Context()}
	tr.onFullDisk(func() {})
	if tr.err == nil || !strings.Contains(tr.err.Error(), "fill the disk") {
		t.Errorf("the disk of a node that has none was filled: %v", tr.err)
	}
	if err := r.startCloud(t.Context()); err == nil || r.cloud != cloud {
		t.Errorf("a cloud that can't be started: %v, and there is %v", err, r.cloud)
	}
}
