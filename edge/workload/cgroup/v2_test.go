package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a directory that looks like a unified hierarchy to this package. It has
// files, and no kernel: what is written stays as it was written last.
type tree struct {
	t     *testing.T
	mount string
}

func newTree(t *testing.T, groups ...string) tree {
	t.Helper()
	f := tree{t, t.TempDir()}
	for _, g := range append([]string{"/"}, groups...) {
		if err := os.MkdirAll(f.dir(g), 0o755); err != nil {
			t.Fatal(err)
		}
		f.set(g, map[string]string{
			"cgroup.controllers": "cpuset cpu io memory pids", "cgroup.subtree_control": "", "cgroup.procs": "", "cgroup.kill": "",
			"cpu.max": "max 100000", "memory.max": "max", "memory.swap.max": "max", "pids.max": "max", "io.max": "",
			"cpu.stat": "usage_usec 2500000\nuser_usec 1\n", "memory.current": "9000000", "memory.stat": "anon 1\ninactive_file 1000000\n",
			"memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n", "pids.current": "7",
		})
	}
	return f
}

func (f tree) dir(group string) string { return filepath.Join(f.mount, group) }

func (f tree) set(group string, files map[string]string) {
	f.t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(f.dir(group), name), []byte(content), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f tree) get(group, file string) string {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir(group), file))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

func (f tree) group(path string) Group {
	h := Hierarchy{Mount: f.mount, Unified: true}
	return Group{path: path, dirs: []dir{{h, f.dir(path)}}}
}

func TestV2_CreateHandsDownAndLimits(t *testing.T) {
	f := newTree(t, "/gnomon", "/gnomon/n1", "/gnomon/n1/web")
	g := f.group("/gnomon/n1/web")
	if !g.PureV2() {
		t.Error("not taken for a pure v2 system")
	}
	l := Limits{CPU: 500, Memory: 64 << 20, Pids: 32, IO: Throttle{Disk: Disk{254, 16}, Write: 1 << 20, ReadOps: 100}}
	if err := g.Create(l); err != nil {
		t.Fatal(err)
	}
	for _, parent := range []string{"/", "/gnomon", "/gnomon/n1"} {
		// The last of "+cpu", "+memory", "+pids", "+io", each a write of its own.
		if got := f.get(parent, "cgroup.subtree_control"); got != "+io" {
			t.Errorf("%s hands down %q", parent, got)
		}
	}
	if got := f.get("/gnomon/n1/web", "cgroup.subtree_control"); got != "" {
		t.Errorf("the group itself, which holds processes, hands down %q", got)
	}
	for file, want := range map[string]string{
		"cpu.max": "50000 100000", "memory.max": "67108864", "memory.swap.max": "0", "pids.max": "32",
		"io.max": "254:16 rbps=max wbps=1048576 riops=100 wiops=max",
	} {
		if got := f.get("/gnomon/n1/web", file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	// Without bounds they are lifted again.
	if err := g.Set(Limits{}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"cpu.max": "max 100000", "memory.max": "max", "pids.max": "max"} {
		if got := f.get("/gnomon/n1/web", file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

func TestV2_OnlyWhatAGroupHasIsHandedDown(t *testing.T) {
	f := newTree(t, "/a")
	f.set("/", map[string]string{"cgroup.controllers": "cpu pids", "cgroup.subtree_control": "pids"})
	handDown(f.mount)
	if got := f.get("/", "cgroup.subtree_control"); !strings.HasPrefix(got, "+cpu") {
		t.Errorf("hands down %q", got)
	}
	if err := os.Remove(filepath.Join(f.dir("/a"), "memory.max")); err != nil {
		t.Fatal(err)
	}
	if err := f.group("/a").Set(Limits{Memory: 1 << 20}); err == nil || !strings.Contains(err.Error(), "controller memory is not available") {
		t.Errorf("a limit that can't be kept: %v", err)
	}
	if err := f.group("/a").Set(Limits{Pids: 3}); err != nil {
		t.Error(err)
	}
}

func TestV2_UsageAndOOM(t *testing.T) {
	f := newTree(t, "/a")
	g := f.group("/a")
	if u := g.Usage(); u.CPU.Seconds() != 2.5 || u.Memory != 8_000_000 || u.Pids != 7 {
		t.Errorf("%+v", u)
	}
	if n := g.OOMKills(); n != 2 {
		t.Errorf("%d killed for memory", n)
	}
}

func TestV2_KillIsOneWrite(t *testing.T) {
	f := newTree(t, "/a")
	f.group("/a").killOnce()
	if got := f.get("/a", "cgroup.kill"); got != "1" {
		t.Errorf("cgroup.kill has %q", got)
	}
}

func TestV2_Delegated(t *testing.T) {
	const unit = "/system.slice/gnomon-edge.service"
	marked := func(at, attribute string) func(string, string) string {
		return func(path, name string) string {
			if path == "/cg"+at && name == attribute {
				return "1"
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		self      string
		attribute func(string, string) string
		want      string
	}{
		"by root":          {"0::" + unit + "\n", marked(unit, "trusted.delegate"), unit},
		"by a user":        {"0::" + unit + "\n", marked(unit, "user.delegate"), unit},
		"in the leaf":      {"0::" + unit + "/_agent\n", marked(unit, "trusted.delegate"), unit},
		"not handed over":  {"0::" + unit + "\n", marked("", ""), ""},
		"another's":        {"0::/user.slice/s.scope\n", marked(unit, "trusted.delegate"), ""},
		"the root":         {"0::/\n", marked("/", "trusted.delegate"), ""},
		"no unified":       {"3:cpu:/x\n", marked("/x", "trusted.delegate"), ""},
		"hybrid is beside": {"3:cpu:/x\n0::" + unit + "\n", marked(unit, "trusted.delegate"), unit},
	} {
		if got, ok := delegated("/cg", c.self, c.attribute); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", name, got, ok, c.want)
		}
	}
}

func TestV2_MakeRoom(t *testing.T) {
	f := newTree(t, "/unit", "/unit/_agent")
	f.set("/unit", map[string]string{"cgroup.procs": "17\n"})
	if err := makeRoom(f.dir("/unit")); err != nil {
		t.Fatal(err)
	}
	if got := f.get("/unit/_agent", "cgroup.procs"); got != "17" {
		t.Errorf("moved %q", got)
	}
	if got := f.get("/unit", "cgroup.subtree_control"); got != "+io" {
		t.Errorf("hands down %q", got)
	}
}
