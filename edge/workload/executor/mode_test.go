package executor_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/edge/artifact"
	"gnomon/edge/workload"
	"gnomon/edge/workload/executor"
	"gnomon/schema"
)

func TestContainer_IsIsolated(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", `echo "pid=$$ host=$(hostname) uid=$(id -u) groups=$(id -G)"
		echo "procs=$(ls -d /proc/[0-9]* | wc -l)"
		mknod /tmp/mem c 1 1 2>/dev/null && cat /tmp/mem 2>&1; cat /proc/self/status | while read a b; do case $a in NoNewPrivs:|CapEff:) echo $a $b;; esac; done
		touch /proc/sys/kernel/panic 2>&1; echo new > /bin/new; ls /dev; echo over`)
	s.Hostname = "meterbox"
	st := n.start(s)
	log := n.logs("app", "over")
	for _, want := range []string{"pid=1 host=meterbox uid=0", "NoNewPrivs: 1", "CapEff: 00000000a80425fb", "Read-only file system", "urandom"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	if _, err := os.Lstat(filepath.Join(n.rootfs, "bin/new")); err == nil {
		t.Error("the shared root was written to")
	}
	_ = st
}

func TestContainer_UserAndLayer(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", `echo "who=$(id -u):$(id -g):$(id -G) home=$HOME"; cat /secret; echo own > $GNOMON_DATA/mine && echo wrote; echo direct > /dev/stdout; ls /tmp/kept; touch /tmp/kept; echo over`)
	s.User = "meter"
	s.Files = []schema.File{{Path: "/secret", Content: "for meter\n", Mode: "0400"}}
	if err := os.Chmod(filepath.Join(n.rootfs, "tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	n.start(s)
	n.await("app")
	log := n.log("app")
	for _, want := range []string{"who=1234:1235:1235 20 home=/home/meter", "for meter", "wrote", "direct", "/tmp/kept: No such file"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	if b, err := os.ReadFile(filepath.Join(n.DataPath("app"), "mine")); err != nil || string(b) != "own\n" {
		t.Errorf("data: %q %v", b, err)
	}
	// The writable layer is kept from start to start.
	n.start(s)
	n.await("app")
	if log := n.log("app"); strings.Count(log, "No such file") != 1 {
		t.Errorf("layer was lost:\n%s", log)
	}
}

func TestContainer_SerialPortAndDevices(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", `ls -l /dev/meter; echo x > /dev/meter && echo wrote; head -c1 /dev/kmsg; echo over`)
	link := filepath.Join("/dev", "gnomon-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(link) }()
	s.Serial = []string{link}
	s.Command[2] = strings.ReplaceAll(s.Command[2], "/dev/meter", link)
	n.start(s)
	log := n.logs("app", "over")
	if !strings.Contains(log, "wrote") || !strings.Contains(log, "kmsg: No such file") {
		t.Errorf("log:\n%s", log)
	}
	s.Name, s.Serial, s.Privileged = "priv", nil, true
	s.Command[2] = `cat /proc/self/status | while read a b; do case $a in NoNewPrivs:) echo $a $b;; esac; done; ls /dev/kmsg && echo over`
	n.start(s)
	if log := n.logs("priv", "over"); !strings.Contains(log, "NoNewPrivs: 0") {
		t.Errorf("log:\n%s", log)
	}
}

// A shell that is the first process of a container hears no SIGTERM; its
// children are asked instead, so a stop need not wait for the grace to end.
func TestContainer_StopReachesChildrenOfDeafShell(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(n.spec(schema.ModeContainer, "app", "echo up; sleep 1000; echo after"))
	n.logs("app", "up")
	began := time.Now()
	got, err := n.Stop(context.Background(), "app", 20*time.Second)
	if err != nil || got.State != workload.Exited || got.Signal != "" || time.Since(began) > 10*time.Second {
		t.Errorf("%+v %v after %v", got, err, time.Since(began))
	}
	n.logs("app", "after")
}

func TestAttach_SharesAndDiesWithTarget(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	target := n.start(n.spec(schema.ModeContainer, "target", "exec sleep 4321"))
	s := n.spec(schema.ModeAttach, "app", `echo "host=$(hostname) first=$(cat /proc/1/cmdline)"; tool; cat /etc/extra; echo over; sleep 1000`)
	pkg := t.TempDir()
	put(t, filepath.Join(pkg, "tool"), "#!/bin/sh\necho tool runs in $(pwd)\n", 0o755)
	s.Root = pkg
	s.Files = []schema.File{{Path: "/etc/extra", Content: "extra file\n"}}
	st := n.start(s)
	log := n.logs("app", "over")
	for _, want := range []string{"host=target first=sleep", "tool runs in /opt/app", "extra file"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	if st.Target != "target" || st.TargetInstance != target.Instance {
		t.Errorf("status %+v", st)
	}
	// It can come and go without the target noticing.
	if _, err := n.Stop(context.Background(), "app", time.Second); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile("/proc/" + strconv.Itoa(target.PID) + "/mountinfo"); strings.Contains(string(b), "/opt/app") || strings.Contains(string(b), "/etc/extra") {
		t.Errorf("mounts are left in the target:\n%s", b)
	}
	st = n.start(s)
	if _, err := n.Stop(context.Background(), "target", 0); err != nil {
		t.Fatal(err)
	}
	got := n.await("app")
	if got.State != workload.Exited || got.Signal != "SIGKILL" || alive(st.PID) {
		t.Errorf("after the target's end: %+v", got)
	}
	s.TargetInstance = target.Instance
	n.start(n.spec(schema.ModeContainer, "target", "exec sleep 4321"))
	if _, err := n.Start(context.Background(), s); err == nil {
		t.Error("joined another instance than the one asked for")
	}
}

func TestHost_UserAndFiles(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeHost, "app", `echo "who=$(id -u):$(id -g) files=$GNOMON_FILES dir=$(pwd)"; cat $GNOMON_FILES/etc/app/c.yml; echo over; sleep 1000`)
	s.User = "1234:1235"
	s.Files = []schema.File{{Path: "/etc/app/c.yml", Content: "secret: 1\n", Mode: "0400"}}
	st := n.start(s)
	log := n.logs("app", "over")
	for _, want := range []string{"who=1234:1235 files=" + filepath.Join(n.data, "apps/app/files"), "dir=" + s.Root, "secret: 1"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	if _, err := os.Lstat("/etc/app/c.yml"); err == nil {
		t.Error("a file of the node was written")
	}
	own, _ := os.Readlink("/proc/self/ns/mnt")
	if its, _ := os.Readlink("/proc/" + strconv.Itoa(st.PID) + "/ns/mnt"); its != own {
		t.Error("a host process must be in the node's namespaces")
	}
}

func TestLog_IsBounded(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(n.spec(schema.ModeHost, "app", "seq 1 50000; echo last"))
	if got := n.await("app"); got.ExitCode != 0 {
		t.Fatalf("%+v", got)
	}
	files, _ := filepath.Glob(n.LogPath("app") + "*")
	var size int64
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			size += st.Size()
		}
	}
	if len(files) != 3 || size > 3*16<<10 || !strings.HasSuffix(n.log("app"), "50000\nlast\n") {
		t.Errorf("%d files with %d bytes: %v", len(files), size, files)
	}
}

// After a restart of the node no lock is held and process numbers mean others.
func TestNode_RestartIsNoticed(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(n.spec(schema.ModeHost, "app", "sleep 1000"))
	records, _ := filepath.Glob(filepath.Join(n.data, "run/app/*/status.json"))
	killShim(t, n, "app")
	eventually(t, "the shim is gone", func() bool { return n.get("app").State == workload.Failed })
	b, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	old := strings.NewReplacer(`"state":"failed"`, `"state":"running"`, `"boot":"`, `"boot":"0`).Replace(string(b))
	put(t, records[0], old, 0o600)
	if got := n.get("app"); got.State != workload.Failed || got.Error != "the node restarted while the workload ran" {
		t.Errorf("status %+v", got)
	}
	n.start(n.spec(schema.ModeHost, "app", "sleep 1000"))
}

func TestStart_GivenUpLeavesNothing(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.stop() // of two agents on one directory either clears away what the other begins
	defer n.agent()
	// A shim that never gets ready.
	slow := filepath.Join(t.TempDir(), "slow")
	put(t, slow, "#!/bin/sh\necho $$ > $2/lock\nexec sleep 1000\n", 0o755)
	e, err := executor.New(executor.Config{Data: n.data, Shim: slow, Cgroup: n.cgroup})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	st, err := e.Start(ctx, n.spec(schema.ModeHost, "app", "sleep 1000"))
	if err == nil || st.State != workload.Failed {
		t.Errorf("%+v %v", st, err)
	}
	if got := n.get("app"); got.State != workload.Failed || !strings.Contains(got.Error, "shim lost") {
		t.Errorf("%+v", got)
	}
}

// The shim must be spared what is done to its workload, and be small.
func TestShim_StandsApart(t *testing.T) {
	n := newNode(t)
	for _, mode := range modes {
		name := string(mode)
		if mode == schema.ModeContainer {
			name = "target"
		}
		began := time.Now()
		st := n.start(n.spec(mode, name, "sleep 1000"))
		took := time.Since(began)
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(st.PID) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		shim := strings.Fields(string(stat))[3]
		m := settledMemory(t, shim)
		t.Logf("%s: started in %v, shim %d KiB resident, %d KiB its share, %d KiB its own",
			mode, took.Round(time.Millisecond/10), m["Rss"], m["Pss"], m["Private_Dirty"])
		if m["Rss"] == 0 || m["Rss"] > 4<<10 {
			t.Errorf("shim of mode %s uses %d KiB", mode, m["Rss"])
		}
		cg, _ := os.ReadFile("/proc/" + shim + "/cgroup")
		if !strings.Contains(string(cg), n.cgroup+"/_shims") || strings.Contains(string(cg), n.cgroup+"/"+name) {
			t.Errorf("shim is in cgroups %s", cg)
		}
		pid, _ := strconv.Atoi(shim)
		if sid, err := sessionOf(pid); err != nil || sid != pid {
			t.Errorf("shim is in session %d: %v", sid, err)
		}
	}
}

// settledMemory reads a shim's memory in KiB once it holds and uses no more.
func settledMemory(t *testing.T, pid string) map[string]int {
	t.Helper()
	var last map[string]int
	steady := 0
	eventually(t, "the shim's memory is steady", func() bool {
		now := map[string]int{}
		b, _ := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		for line := range strings.SplitSeq(string(b), "\n") {
			if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
				now[strings.TrimSuffix(f[0], ":")], _ = strconv.Atoi(f[1])
			}
		}
		cmd, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if steady++; last["Rss"] != now["Rss"] || !strings.Contains(string(cmd), "hold") {
			steady = 0
		}
		last = now
		return steady > 50
	})
	return last
}

func sessionOf(pid int) (int, error) {
	sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sid), nil
}

// From a component on disk to a running container, as the agent does it.
func TestContainer_FromComponent(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	components := t.TempDir()
	tarball := filepath.Join(components, "box@1.0.tar.gz")
	if out, err := exec.Command("tar", "-C", n.rootfs, "--exclude=./bin/peer", "-czf", tarball, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	store, err := artifact.New(artifact.Config{Components: components, Data: n.data})
	if err != nil {
		t.Fatal(err)
	}
	c, err := store.Resolve(context.Background(), "box@1.0")
	if err != nil {
		t.Fatal(err)
	}
	s := n.spec(schema.ModeContainer, "app", "id -un; echo over")
	s.Root = c.Root
	s.User = "meter"
	n.start(s)
	if got := n.await("app"); got.ExitCode != 0 || !strings.Contains(n.log("app"), "meter\nover") {
		t.Errorf("%+v\n%s", got, n.log("app"))
	}
}
