package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseMount(t *testing.T) {
	for line, want := range map[string]string{
		"33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct":              "/sys/fs/cgroup/cpu,cpuacct [cpu cpuacct] false",
		"34 32 0:30 / /sys/fs/cgroup/systemd rw shared:9 - cgroup systemd rw,xattr,name=systemd": "/sys/fs/cgroup/systemd [name=systemd] false",
		"35 32 0:31 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate":         "/sys/fs/cgroup [] true",
		"36 32 0:32 / /sys/fs/cgroup/odd rw - cgroup odd rw":                                     "",
		"22 27 0:21 / /proc rw,relatime - proc proc rw":                                          "",
		"":              "",
		"1 2 - cgroup2": "",
	} {
		h, ok := parseMount(line)
		got := ""
		if ok {
			got = fmt.Sprintf("%s %v %v", h.Mount, h.Controllers, h.Unified)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestAt_RefusesPathsThatAreNotClean(t *testing.T) {
	for _, p := range []string{"", "/", "gnomon/x", "/gnomon/../x", "/gnomon/"} {
		if _, err := At(p); err == nil {
			t.Errorf("%q was accepted", p)
		}
	}
}

func testGroup(t *testing.T) Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("cgroups need root: sudo -E go test ./edge/workload/...")
	}
	g, err := At(fmt.Sprintf("/gnomon-test/cg%d", time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.Kill(ctx); err != nil {
			t.Error(err)
		}
		if err := g.Remove(); err != nil || g.Exists() {
			t.Errorf("remove: %v, exists %v", err, g.Exists())
		}
	})
	return g
}

// A process is born in its group, so nothing it forks can be elsewhere, and a
// fork bomb dies whole.
func TestFork_BornInsideAndKilledWhole(t *testing.T) {
	g := testGroup(t)
	l := Limits{Pids: 50, Memory: 64 << 20, CPU: 500}
	if err := g.Create(l); err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	err := g.Fork(l, func(attr *syscall.SysProcAttr) error {
		cmd = exec.Command("/bin/sh", "-c", `b() { b | b & }; (b) & exec sleep 100`) // which outlives the forks that are refused
		cmd.SysProcAttr = attr
		attr.Setsid = true
		return cmd.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		if !strings.HasSuffix(line, ":"+g.Path()) {
			t.Errorf("outside of the group: %s", line)
		}
	}
	for end := time.Now().Add(5 * time.Second); g.Usage().Pids < 40 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := g.Usage().Pids; n < 10 || n > 51 {
		t.Errorf("%d processes", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		t.Error(err)
	}
	if pids, err := g.Pids(); len(pids) != 0 || err != nil {
		t.Errorf("left: %v %v", pids, err)
	}
	_ = cmd.Wait()
}

func TestChild_LimitsWithinItsParent(t *testing.T) {
	g := testGroup(t)
	if err := g.Create(Limits{Pids: 20}); err != nil {
		t.Fatal(err)
	}
	c := g.Child("inner")
	if err := c.Create(Limits{Pids: 5}); err != nil {
		t.Fatal(err)
	}
	if d, _ := c.controller("pids"); strings.TrimSpace(readText(t, d.path+"/pids.max")) != "5" {
		t.Error("limit of the child is not set")
	}
	if err := c.Remove(); err != nil || c.Exists() || !g.Exists() {
		t.Errorf("remove child: %v", err)
	}
}

// A limit is raised and lowered, of memory with that of memory and swap together.
func TestSet_RaisesAndLowers(t *testing.T) {
	g := testGroup(t)
	if err := g.Create(Limits{Pids: 4, Memory: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	for _, l := range []Limits{{Pids: 20, Memory: 24 << 20}, {Pids: 4, Memory: 8 << 20}, {Pids: 5, Memory: 9 << 20}} {
		if err := g.Set(l); err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
		d, _ := g.controller("memory")
		for _, file := range []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max"} {
			if exists(d.path, file) {
				if got := readInt(d.path, file); got != l.Memory {
					t.Errorf("%+v: %s is %d", l, file, got)
				}
			}
		}
		if d, _ := g.controller("pids"); readInt(d.path, "pids.max") != l.Pids {
			t.Errorf("%+v: pids.max is %d", l, readInt(d.path, "pids.max"))
		}
	}
}

// Who holds a group does nothing to a later one of its name.
func TestHold_IsOfOneGroupAlone(t *testing.T) {
	g := testGroup(t)
	if _, _, err := g.Hold(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("held what isn't there: %v", err)
	}
	if err := g.Create(Limits{Pids: 4}); err != nil {
		t.Fatal(err)
	}
	held, release, err := g.Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	d, _ := g.controller("pids")
	if err := held.Set(Limits{Pids: 9}); err != nil || readInt(d.path, "pids.max") != 9 {
		t.Errorf("%d, %v", readInt(d.path, "pids.max"), err)
	}
	if err := errors.Join(g.Remove(), g.Create(Limits{Pids: 5})); err != nil {
		t.Fatal(err)
	}
	if err := held.Set(Limits{Pids: 7}); err == nil || readInt(d.path, "pids.max") != 5 {
		t.Errorf("the later one is bounded to %d, %v", readInt(d.path, "pids.max"), err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
