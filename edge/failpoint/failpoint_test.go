package failpoint

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHit_OnlyWhatIsArmed(t *testing.T) {
	t.Cleanup(func() { _ = Arm("") })
	if err := Hit(StateBegin); err != nil || Environ() != nil {
		t.Fatalf("nothing is armed: %v, %v", err, Environ())
	}
	spec := "state.begin=error@2,step.start.after=error,outbox.begin=20ms"
	if err := Arm(spec); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true, false} {
		if err := Hit(StateBegin); errors.Is(err, ErrInjected) != want {
			t.Errorf("time %d: %v, want an error: %v", i+1, err, want)
		}
	}
	for range 2 {
		if err := HitStep("start", After); !errors.Is(err, ErrInjected) {
			t.Errorf("every time: %v", err)
		}
	}
	if err := HitStep("start", Before); err != nil {
		t.Error(err)
	}
	began := time.Now()
	if err := Hit(OutboxBegin); err != nil || time.Since(began) < 20*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if got := Environ(); !slices.Equal(got, []string{Env + "=" + spec}) {
		t.Errorf("handed on: %v", got)
	}
	if err := Arm(""); err != nil {
		t.Fatal(err)
	}
	if err := HitStep("start", After); err != nil {
		t.Errorf("disarmed: %v", err)
	}
}

func TestArm_Refuses(t *testing.T) {
	for _, bad := range []string{"x", "state.begin", "nowhere=kill", "state.begin=explode", "state.begin=kill@0", "state.begin=kill@x", "state.begin=-1s", "state.begin=kill,"} {
		if err := Arm(bad); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %v, want ErrSpec", bad, err)
		}
	}
	if err := Hit(StateBegin); err != nil {
		t.Error("what was refused is armed all the same")
	}
}

func TestHit_Kills(t *testing.T) {
	if os.Getenv("DIE") != "" {
		_ = Arm("state.done=kill@2")
		_ = Hit(StateDone)
		fmt.Print("alive")
		_ = Hit(StateDone)
		fmt.Print("still alive")
		return
	}
	c := exec.Command(os.Args[0], "-test.run=TestHit_Kills")
	c.Env = append(os.Environ(), "DIE=1")
	out, err := c.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || string(out) != "alive" {
		t.Fatalf("%v, %q", err, out)
	}
}

// What is off costs next to nothing, and no allocation.
func TestHit_CostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _ = Hit(StateBegin); _ = HitStep("start", Before) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHit(b *testing.B) {
	for b.Loop() {
		_ = Hit(StateBegin)
	}
}

// Each point that is named here is passed somewhere, so that none of them tests
// nothing.
func TestAll_ArePassed(t *testing.T) {
	passed := map[string]bool{}
	root := filepath.Join("..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "failpoint"+string(filepath.Separator)) {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := s.X.(*ast.Ident); ok && id.Name == "failpoint" {
					passed[s.Sel.Name] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := constants(t)
	for name, p := range named {
		if strings.HasPrefix(string(p), "step.") {
			continue
		}
		if !passed[name] {
			t.Errorf("%s is passed nowhere below edge", name)
		}
		if !known(p) {
			t.Errorf("%s is missing in All", name)
		}
	}
	if len(named) < 20 || !passed["HitStep"] {
		t.Errorf("%d constants, steps passed: %v", len(named), passed["HitStep"])
	}
}

// constants are the points that have a name in this package.
func constants(t *testing.T) map[string]Point {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "point.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Point{}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Point" {
			all[v.Names[0].Name] = Point(strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`))
		}
		return true
	})
	return all
}
