package usage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload/cgroup"
)

// counter is a cgroup whose numbers the test sets.
type counter struct {
	usage         cgroup.Usage
	read, written int64
}

func (c *counter) Usage() cgroup.Usage { return c.usage }
func (c *counter) IO() (r, w int64)    { return c.read, c.written }
func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// kernel is a /proc and a /sys of a node with two processors, a disk and two
// interfaces of which one is hardware.
func kernel(t *testing.T) (proc, sys string) {
	proc, sys = t.TempDir(), t.TempDir()
	put(t, proc, "stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0 0 0\ncpu1 50 0 50 400 0 0 0 0 0 0\nintr 1\n")
	put(t, proc, "meminfo", "MemTotal:        1000 kB\nMemFree:          10 kB\nMemAvailable:     400 kB\n")
	put(t, proc, "loadavg", "0.1 0.2 0.3 2/321 4711\n")
	put(t, proc, "sys/kernel/pid_max", "32768\n")
	put(t, proc, "sys/kernel/threads-max", "5000\n")
	put(t, proc, "diskstats", " 8 0 sda 1 0 10 0 1 0 20 0 0 0 0\n 8 1 sda1 1 0 10 0 1 0 20 0 0 0 0\n")
	put(t, proc, "self/net/dev", "Inter-| x\n face |bytes\n    lo: 7 0 0 0 0 0 0 0 7 0\n  eth0: 1000 1 0 0 0 0 0 0 2000 1\n veth1: 1000 1 0 0 0 0 0 0 2000 1\n")
	put(t, sys, "block/sda/device/x", "")
	put(t, sys, "class/net/eth0/device/x", "")
	return proc, sys
}

func TestSample_Node(t *testing.T) {
	proc, sys := kernel(t)
	s := New(Config{Proc: proc, Sys: sys, Paths: []string{t.TempDir(), "/not/there"}})
	now := time.Now()
	n := s.Sample(now, nil).Node
	if n.Settled || n.Cores != 2 || n.Memory != 600<<10 || n.MemoryTotal != 1000<<10 || n.Pids != 321 || n.PidsMost != 5000 {
		t.Errorf("first: %+v", n)
	}
	if len(n.FileSystems) != 1 || n.FileSystems[0].Size <= 0 || n.FileSystems[0].Fraction() <= 0 || n.FileSystems[0].Fraction() > 1 {
		t.Errorf("file systems: %+v", n.FileSystems)
	}
	put(t, proc, "stat", "cpu  150 0 100 950 0 0 0 0 0 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\n") // 50 of 200 ticks
	put(t, proc, "diskstats", " 8 0 sda 1 0 30 0 1 0 60 0 0 0 0\n 8 1 sda1 1 0 99 0 1 0 99 0 0 0 0\n")
	put(t, proc, "self/net/dev", "  lo: 999 0 0 0 0 0 0 0 7 0\n  eth0: 3000 1 0 0 0 0 0 0 6000 1\n veth1: 9000 1 0 0 0 0 0 0 9000 1\n")
	n = s.Sample(now.Add(2*time.Second), nil).Node
	if !n.Settled || n.CPU != 0.5 || n.Rates != (Rates{Read: 20 * 512 / 2, Written: 40 * 512 / 2, In: 1000, Out: 2000}) {
		t.Errorf("second: %+v", n)
	}
}

func TestSample_Application(t *testing.T) {
	proc, sys := kernel(t)
	s := New(Config{Proc: proc, Sys: sys})
	c := &counter{usage: cgroup.Usage{CPU: time.Second, Memory: 5 << 20, Pids: 3}, read: 100, written: 200}
	target := Target{Name: "web", Instance: "i1", PID: 42, Group: c}
	now := time.Now()
	sample := func(after time.Duration) Application {
		now = now.Add(after)
		return s.Sample(now, []Target{target}).Applications["web"]
	}
	if a := sample(0); a.Settled || !a.Running || a.Memory != 5<<20 || a.Pids != 3 || a.CPU != 0 {
		t.Errorf("first: %+v", a)
	}
	c.usage.CPU, c.read, c.written = 3*time.Second, 1100, 4200
	if a := sample(4 * time.Second); !a.Settled || a.CPU != 0.5 || a.Read != 250 || a.Written != 1000 || a.Network {
		t.Errorf("second: %+v", a)
	}
	c.usage.CPU = 4 * time.Second
	if a := sample(time.Millisecond); a.Settled {
		t.Errorf("a rate over a millisecond: %+v", a)
	}
	if a := sample(2*time.Second - time.Millisecond); !a.Settled || a.CPU != 0.5 { // 1 s since the one before the hasty one
		t.Errorf("after a hasty sample: %+v", a)
	}
	c.written = 0 // a process is gone with its account
	if a := sample(time.Second); !a.Settled || a.Written != 0 {
		t.Errorf("an account that went back: %+v", a)
	}
	target.Instance, c.usage.CPU = "i2", time.Second // its counters began anew
	if a := sample(time.Second); a.Settled || a.CPU != 0 {
		t.Errorf("another instance: %+v", a)
	}
	c.usage.CPU = 0 // its group was made anew
	if a := sample(time.Second); a.Settled {
		t.Errorf("counters that went back: %+v", a)
	}
	if len(s.Sample(now.Add(time.Second), nil).Applications) != 0 {
		t.Error("it is still there")
	}
}

func TestSample_ApplicationWithItsOwnNetwork(t *testing.T) {
	proc, sys := kernel(t)
	for pid, ns := range map[string]string{"self": "net:[1]", "42": "net:[2]", "43": "net:[1]"} {
		if err := os.MkdirAll(filepath.Join(proc, pid, "ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(ns, filepath.Join(proc, pid, "ns/net")); err != nil {
			t.Fatal(err)
		}
	}
	put(t, proc, "42/net/dev", "  lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 100 1 0 0 0 0 0 0 200 1\n")
	s := New(Config{Proc: proc, Sys: sys})
	targets := []Target{{Name: "own", Instance: "i", PID: 42, Group: new(counter)}, {Name: "shared", Instance: "i", PID: 43, Group: new(counter)}}
	now := time.Now()
	s.Sample(now, targets)
	put(t, proc, "42/net/dev", "  eth0: 300 1 0 0 0 0 0 0 600 1\n")
	all := s.Sample(now.Add(time.Second), targets).Applications
	if a := all["own"]; !a.Network || a.In != 200 || a.Out != 400 {
		t.Errorf("own: %+v", a)
	}
	if a := all["shared"]; a.Network || a.In != 0 {
		t.Errorf("shared: %+v", a)
	}
}

// The kernel of this machine can be read.
func TestSample_ThisNode(t *testing.T) {
	s := New(Config{Paths: []string{"/"}})
	s.Sample(time.Now(), nil)
	for end := time.Now().Add(shortest + 100*time.Millisecond); time.Now().Before(end); { // be busy
		runtime.Gosched()
	}
	n := s.Sample(time.Now(), nil).Node
	if !n.Settled || n.CPU <= 0 || n.CPU > float64(n.Cores)+0.1 || n.Cores < 1 || n.Memory <= 0 || n.Memory >= n.MemoryTotal || n.Pids < 2 {
		t.Errorf("%+v", n)
	}
}

// Sampling ten applications every 15 s must not take a thousandth of a core.
func TestSample_Cost(t *testing.T) {
	g, err := cgroup.At("/gnomon-test/not-there")
	if err != nil {
		t.Fatal(err)
	}
	if groups, err := filepath.Glob("/sys/fs/cgroup/memory/memory.stat"); err != nil || groups == nil {
		t.Log("no v1 memory controller: files that are not there are measured")
	}
	var targets []Target
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		targets = append(targets, Target{Name: name, Instance: "1", PID: os.Getpid(), Group: g})
	}
	s := New(Config{Paths: []string{"/"}})
	before := processorTime(t)
	const rounds = 20
	for i := range rounds {
		s.Sample(time.Now().Add(time.Duration(i)*time.Second), targets)
	}
	each := (processorTime(t) - before) / rounds
	t.Log("processor time of a sample:", each)
	if budget := 15 * time.Second / 1000; each > budget {
		t.Errorf("a sample takes %s of processor time, the budget is %s", each, budget)
	}
}

func processorTime(t *testing.T) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestMeasure(t *testing.T) {
	root := t.TempDir()
	block := make([]byte, 64<<10)
	for _, name := range []string{"a", "deep/er/b", "c"} {
		put(t, root, name, string(block))
	}
	if err := errors.Join(os.Link(filepath.Join(root, "a"), filepath.Join(root, "deep/again")),
		os.Symlink("/usr", filepath.Join(root, "usr")), os.Symlink(root, filepath.Join(root, "deep/loop"))); err != nil {
		t.Fatal(err)
	}
	w := new(Walker)
	bytes, partial, err := w.Measure(t.Context(), root)
	if err != nil || partial || bytes < 3*64<<10 || bytes > 3*64<<10+64<<10 {
		t.Errorf("%d bytes, partial %v, %v; want three files of 64 KiB and their directories", bytes, partial, err)
	}
	if one, _, _ := w.Measure(t.Context(), filepath.Join(root, "c")); one < 64<<10 || one > 80<<10 {
		t.Errorf("a file takes %d bytes", one)
	}
	if none, partial, err := w.Measure(t.Context(), filepath.Join(root, "none")); none != 0 || partial || err != nil {
		t.Errorf("what is not there: %d %v %v", none, partial, err)
	}
	if w.Busy() <= 0 {
		t.Error("it took no time")
	}
}

func TestMeasure_Bounded(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"x", "y", "z"} {
		for _, f := range []string{"1", "2", "3", "4"} {
			put(t, root, filepath.Join(d, f), "content")
		}
	}
	if _, partial, err := (&Walker{Entries: 5}).Measure(t.Context(), root); !partial || err != nil {
		t.Errorf("15 entries of which 5 may be looked at: partial %v, %v", partial, err)
	}
	if _, partial, err := (&Walker{Entries: 15}).Measure(t.Context(), root); partial || err != nil {
		t.Errorf("15 of 15: partial %v, %v", partial, err)
	}
}

func TestMeasure_RestsAndEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	for i := range 2000 {
		put(t, root, filepath.Join("d", string(rune('a'+i%26)), time.Duration(i).String()), "")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rests := 0
	w := &Walker{Rest: func(ctx context.Context, worked time.Duration) error {
		if worked < turn {
			t.Errorf("rests after %s", worked)
		}
		rests++
		cancel()
		return rest(ctx, worked)
	}}
	for rests == 0 {
		if _, _, err := w.Measure(ctx, root); rests > 0 && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// A directory that becomes a mount point of another file system is not gone into.
func TestMeasure_StaysOnItsFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("mounting needs root: run the tests as root")
	}
	root := t.TempDir()
	put(t, root, "own", "x")
	mounted := filepath.Join(root, "mounted")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal("mount a tmpfs:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
	put(t, mounted, "big", string(make([]byte, 2<<20)))
	if bytes, _, err := new(Walker).Measure(t.Context(), root); err != nil || bytes > 1<<20 {
		t.Errorf("%d bytes, %v: it went into what is mounted there", bytes, err)
	}
	var fs []FileSystem
	if fs = FileSystems([]string{root, root, mounted}); len(fs) != 2 {
		t.Fatalf("%+v", fs)
	}
	if f := fs[1]; f.Size != 4<<20 || f.Used < 2<<20 || f.ReadOnly || f.Inodes == 0 {
		t.Errorf("%+v", f)
	}
	if err := unix.Mount("", mounted, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if f, _ := FileSystemOf(mounted); !f.ReadOnly {
		t.Error("it is said to be writable")
	}
}

func TestReport_DeadBandAndInterval(t *testing.T) {
	var r Report
	set := Settings{Every: time.Minute, Band: 0.1}
	now := time.Now()
	a := Application{Running: true, Memory: 100 << 20, Pids: 10, CPU: 0.5}
	if r.Application(now, a, set) || r.Value() != nil {
		t.Fatal("reported before all is known")
	}
	a.Settled = true
	step := func(after time.Duration, want bool, what string) {
		t.Helper()
		now = now.Add(after)
		if got := r.Application(now, a, set); got != want {
			t.Errorf("%s: reported %v", what, got)
		}
	}
	step(0, true, "the first")
	a.Memory = 200 << 20
	step(59*time.Second, false, "before the interval is over")
	step(time.Second, true, "a change")
	a.Memory = 185 << 20
	step(time.Hour, false, "within the dead band")
	a.Memory = 150 << 20
	step(0, true, "out of it")
	a.CPU = 0.515
	step(time.Hour, false, "below the floor")
	a = Application{}
	step(time.Second, true, "it has ended")
	if r.Value() != nil {
		t.Errorf("%s", r.Value().AppendJSON(nil))
	}
	a.Disk = &Footprint{Data: 1 << 30, Partial: true}
	step(time.Second, true, "on disk it has something")
	if got := string(r.Value().AppendJSON(nil)); got != `{"data":1073741824,"disk":1073741824,"diskPartial":true,"layers":0,"logs":0}` {
		t.Error(got)
	}
}

func TestReport_Node(t *testing.T) {
	var r Report
	n := Node{CPU: 0.25, Cores: 2, Memory: 1 << 30, MemoryTotal: 2 << 30, Settled: true, FileSystems: []FileSystem{{Path: "/d", Size: 100 << 20, Used: 50 << 20}}}
	now := time.Now()
	if !r.Node(now, n, Settings{}) || r.Value().At("fileSystems", "/d", "used") == nil || string(r.Value().Get("cpu").AppendJSON(nil)) != "0.25" {
		t.Fatalf("%s", r.Value().AppendJSON(nil))
	}
	if r.Node(now.Add(time.Hour), n, Settings{}) {
		t.Error("nothing changed")
	}
	n.FileSystems[0].Used = 90 << 20
	if !r.Node(now.Add(2*time.Hour), n, Settings{Band: 0.1}) {
		t.Error("a file system filled up and nothing is reported")
	}
}
