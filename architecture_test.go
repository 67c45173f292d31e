// Package architecture holds the tests of the house itself: the dependency
// rule, package comments, the size budgets and the purity of the core. It
// promises that what ARCHITECTURE.md says of the layout is what the code does;
// it never looks at behaviour.
package architecture

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

type goPackage struct {
	ImportPath, Dir, Doc, Name string
	Imports                    []string
	GoFiles, CgoFiles          []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,Imports,GoFiles,CgoFiles", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// rooms orders the top-level folders: each may import those of a lower rank,
// and itself. Cloud and edge share a rank and never meet.
var rooms = map[string]int{"shadow": 0, "cli": 0, "mqttguard": 0, "schema": 1, "cloud": 2, "edge": 2, "simulator": 3, "benchmarks": 4, "deploy": 4}

// adapters may be imported only below the given folders, by mains, and by tests.
var adapters = map[string][]string{
	"github.com/opencontainers/runc": {"gnomon/edge/cmd/gnomon-shim"},
	"gnomon/edge/workload/network":   {"gnomon/edge/cmd/gnomon-shim"},
	"github.com/cockroachdb/pebble":  {"gnomon/cloud/store/pebble"},
	"github.com/mochi-mqtt/server":   {"gnomon/cloud/broker", "gnomon/edge/bus", "gnomon/mqttguard", "gnomon/benchmarks/cmd/bench-peer"},
	"github.com/goburrow/":           {"gnomon/edge/collect/modbus", "gnomon/edge/collect/medium", "gnomon/benchmarks/cmd/gnomon-bench"},
	"github.com/gosnmp/":             {"gnomon/edge/collect/snmp"},
	"github.com/eclipse/paho.golang": {"gnomon/cloud/external", "gnomon/edge/link", "gnomon/edge/bus/uplink", "gnomon/edge/collect/mqtt", "gnomon/simulator"},
	"github.com/redis/go-redis":      {"gnomon/cloud/store/redis", "gnomon/cloud/fanout/redis", "gnomon/benchmarks/cmd/gnomon-bench"},
}

func room(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, "gnomon/")
	if !ok {
		return ""
	}
	top, _, _ := strings.Cut(rest, "/")
	return top
}

func TestArchitectureDependencyRule(t *testing.T) {
	for _, p := range packages(t) {
		from := room(p.ImportPath)
		rank, known := rooms[from]
		if !known {
			if p.ImportPath != "gnomon" {
				t.Errorf("%s is in no room of the house: add it to ARCHITECTURE.md and here", p.ImportPath)
			}
			continue
		}
		for _, imp := range p.Imports {
			if to := room(imp); to != "" && to != from && rooms[to] >= rank {
				t.Errorf("%s imports %s: the rule is shadow ← schema ← {cloud, edge} ← simulator ← benchmarks", p.ImportPath, imp)
			}
			for adapter, homes := range adapters {
				if strings.HasPrefix(imp, adapter) && !below(p.ImportPath, homes) {
					t.Errorf("%s imports %s, which only %v may", p.ImportPath, imp, homes)
				}
			}
			if imp == "C" && !strings.HasPrefix(p.ImportPath, "gnomon/edge/cmd/gnomon-shim") {
				t.Errorf("%s uses cgo: only gnomon-shim may", p.ImportPath)
			}
		}
	}
}

func below(path string, homes []string) bool {
	for _, h := range homes {
		if path == h || strings.HasPrefix(path, h+"/") {
			return true
		}
	}
	return false
}

func TestArchitecturePackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath == "gnomon" {
			continue // tests only
		}
		if len(p.Doc) < 20 {
			t.Errorf("%s needs a package comment: what it is for, what it promises, what it never does", p.ImportPath)
		}
		for _, bad := range []string{"util", "utils", "common", "helper", "helpers", "manager", "misc"} {
			if p.Name == bad {
				t.Errorf("%s: %q names nothing", p.ImportPath, bad)
			}
		}
	}
}

const (
	maxFileLines     = 600
	maxFunctionLines = 70
	maxMethods       = 4
)

func TestArchitectureSizes(t *testing.T) {
	for _, p := range packages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			checkSizes(t, f)
		}
	}
}

func checkSizes(t *testing.T, path string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	wd, _ := os.Getwd()
	name, _ := filepath.Rel(wd, path)
	if n := fset.File(file.Pos()).LineCount(); n > maxFileLines {
		t.Errorf("%s has %d lines, the limit is %d", name, n, maxFileLines)
	}
	if strings.HasSuffix(path, "_test.go") {
		return
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if lines := fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1; lines > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, the limit is %d", name, n.Name.Name, lines, maxFunctionLines)
			}
		case *ast.InterfaceType:
			if n.Methods != nil && n.Methods.NumFields() > maxMethods {
				t.Errorf("%s:%d: an interface with %d methods, the limit is %d", name, fset.Position(n.Pos()).Line, n.Methods.NumFields(), maxMethods)
			}
		}
		return true
	})
}

// impure lists what the pure packages may not call. Packages are checked by
// import above; these are functions of packages that are otherwise welcome.
var impure = []string{"time.Now", "time.Since", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker", "os.", "slog.", "rand.", "net.Dial", "net.Listen", "http."}

func TestArchitecturePureCore(t *testing.T) {
	for _, p := range packages(t) {
		codec := strings.HasPrefix(p.ImportPath, "gnomon/edge/collect/") && strings.HasSuffix(p.ImportPath, "/wire")
		if r := room(p.ImportPath); r != "shadow" && r != "schema" && p.ImportPath != "gnomon/edge/reconcile" && !codec {
			continue
		}
		for _, f := range p.GoFiles {
			path := filepath.Join(p.Dir, f)
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if _, ok := n.(*ast.GoStmt); ok {
					t.Errorf("%s starts a goroutine", path)
				}
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				id, ok := sel.X.(*ast.Ident)
				if !ok || id.Obj != nil {
					return true
				}
				for _, bad := range impure {
					if name := id.Name + "." + sel.Sel.Name; name == bad || strings.HasSuffix(bad, ".") && strings.HasPrefix(name, bad) {
						t.Errorf("%s uses %s: the core is pure", path, name)
					}
				}
				return true
			})
		}
	}
}
