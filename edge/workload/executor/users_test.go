package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gnomon/edge/workload"
	"gnomon/edge/workload/executor"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// withUsers gives a container users of its own.
func withUsers(s workload.Spec) workload.Spec {
	s.UserNamespace = schema.UserNamespaceAuto
	return s
}

// usersOf reads which users of the node those of a process are.
func usersOf(t *testing.T, pid int) workload.Range {
	t.Helper()
	var maps [2]string
	for i, name := range []string{"uid_map", "gid_map"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		maps[i] = strings.Join(strings.Fields(string(b)), " ")
	}
	var inside uint32
	var r workload.Range
	if _, err := fmt.Sscan(maps[0], &inside, &r.Start, &r.Count); err != nil || maps[0] != maps[1] || inside != 0 {
		t.Fatalf("maps %q: %v", maps, err)
	}
	return r
}

// idsOf is who a file belongs to on the node.
func idsOf(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no owner")
	}
	return st.Uid, st.Gid
}

// The root of a container with users of its own is nobody on the node, and root in
// the container, of all that it finds there.
func TestUsers_RootIsNobodyOutside(t *testing.T) {
	t.Parallel()
	for _, network := range []schema.Network{schema.NetworkHost, schema.NetworkBridge} {
		t.Run(string(network), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			s := withUsers(n.spec(schema.ModeContainer, "app", `echo "uid=$(id -u)"; cat /proc/self/uid_map
				stat -c "%n %u:%g" / /bin /bin/sh /etc/passwd $GNOMON_DATA /srv/db /etc/conf /dev/null /dev/shm
				touch /bin/new /srv/db/root /tmp/own && chown 1234:1235 /srv/db && touch /srv/db/x && chown 1234 /srv/db/x
				grep -E 'NoNewPrivs|CapEff|Seccomp:' /proc/self/status
				echo direct > /dev/stdout; ls /sys/class/net; echo x > /dev/null && echo null; mount -t tmpfs x /tmp || echo "no mount"
				cat /proc/1/cgroup > /dev/null && ls /sys/fs/cgroup > /dev/null && echo cgroups; echo over; sleep 1000`))
			s.Network = network
			s.Volumes = []schema.Volume{{Path: "/srv/db", Kind: schema.VolumeLasting, Name: "db"}, {Path: "/srv/mem", Kind: schema.VolumeTemporary, Size: 1 << 20}}
			s.Files = []schema.File{{Path: "/etc/conf", Content: "conf\n", Mode: "0600"}}
			st := n.start(s)
			log := n.logs("app", "over")
			r := usersOf(t, st.PID)
			if r.Count != workload.RangeSize || !workload.DefaultSubIDs().Holds(r) {
				t.Errorf("range %v", r)
			}
			for _, want := range []string{
				"uid=0\n", "/ 0:0\n", "/bin 0:0\n", "/bin/sh 0:0\n", "/etc/passwd 0:0\n", "/var/lib/gnomon 0:0\n", "/srv/db 0:0\n", "/etc/conf 0:0\n",
				"/dev/null 0:0\n", "/dev/shm 0:0\n", "CapEff:\t00000000a80425fb", "NoNewPrivs:\t1", "Seccomp:\t2", "direct\n", "lo\n", "null\n", "no mount\n", "cgroups\n",
			} {
				if !strings.Contains(log, want) {
					t.Errorf("log lacks %q:\n%s", want, log)
				}
			}
			db := filepath.Join(n.data, "apps/app/volumes/db")
			for path, want := range map[string]uint32{db: r.Start + 1234, filepath.Join(db, "root"): r.Start, filepath.Join(db, "x"): r.Start + 1234} {
				if uid, _ := idsOf(t, path); uid != want {
					t.Errorf("%s belongs to %d, want %d", path, uid, want)
				}
			}
			if uid, _ := idsOf(t, fmt.Sprintf("/proc/%d", st.PID)); uid != r.Start {
				t.Errorf("the process is %d's", uid)
			}
			if _, err := os.Lstat(filepath.Join(n.rootfs, "bin/new")); err == nil {
				t.Error("the shared root was written to")
			}
			if _, err := n.Stop(context.Background(), "app", 0); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// as runs a shell script on the node as a user without capabilities, as somebody
// would be who got out of a container.
func as(uid uint32, script string) (string, error) {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// No two applications have a user in common, and who gets out of one container has
// no rights on what another has.
func TestUsers_AreApart(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	seen := map[string]workload.Range{}
	for _, name := range []string{"a", "b", "c"} {
		s := withUsers(n.spec(schema.ModeContainer, name, "echo mine > $GNOMON_DATA/f; umask 077; echo mine > /srv/d/f; echo over; exec sleep 1000"))
		s.Volumes = []schema.Volume{{Path: "/srv/d", Kind: schema.VolumeLasting, Name: "d"}}
		st := n.start(s)
		n.logs(name, "over")
		r := usersOf(t, st.PID)
		for other, its := range seen {
			if r.Overlaps(its) {
				t.Errorf("%s has %v, %s %v", name, r, other, its)
			}
		}
		seen[name] = r
	}
	n.start(withUsers(n.spec(schema.ModeContainer, "target", "exec sleep 1000")))
	file, secret := filepath.Join(n.DataPath("b"), "f"), filepath.Join(n.data, "apps/b/volumes/d/f")
	victim := n.get("b").PID
	for _, script := range []string{"echo theirs >> " + file, "cat " + secret, "rm " + file, fmt.Sprintf("kill -9 %d", victim), fmt.Sprintf("cat /proc/%d/environ", victim)} {
		if out, err := as(seen["a"].Start, script); err == nil {
			t.Errorf("the root of a may %s: %s", script, out)
		}
	}
	if out, err := as(seen["b"].Start, "cat "+secret); err != nil { // that it takes the right user, and no more
		t.Errorf("%v: %s", err, out)
	}
	if got := n.get("b"); got.State != workload.Running {
		t.Errorf("%+v", got)
	}
}

// What is kept of a container belongs to the same users of it whatever users of the
// node those are: none of its own, its range, another range, none again.
func TestUsers_DataStaysItsOwn(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", `umask 077
		for d in $GNOMON_DATA /srv/db /srv/kept /tmp; do cat $d/mine || echo "nothing in $d"; stat -c "$d %u" $d/mine; echo "round $ROUND" >> $d/mine || echo "cannot write $d"; done; echo over`)
	s.User = "meter"
	s.Volumes = []schema.Volume{{Path: "/srv/db", Kind: schema.VolumeLasting, Name: "db"}, {Path: "/srv/kept", Kind: schema.VolumeLasting, Name: "kept", Keep: true}}
	if err := os.Chmod(filepath.Join(n.rootfs, "tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	other := workload.Range{Start: 1_800_000_000, Count: 2 * workload.RangeSize}
	round := 0
	step := func(what string, users schema.UserNamespace, dirs int) workload.Range {
		t.Helper()
		s.UserNamespace, s.Env = users, []string{fmt.Sprint("ROUND=", round)}
		n.start(s)
		if got := n.await("app"); got.ExitCode != 0 {
			t.Fatalf("%s: %+v\n%s", what, got, n.log("app"))
		}
		log := n.log("app")
		if got := strings.Count(log, "round 0\n"); round > 0 && got != dirs {
			t.Errorf("%s: read %d times of what the first wrote, want %d:\n%s", what, got, dirs, log)
		}
		if strings.Contains(log, "cannot write") || strings.Count(log, "nothing in") != 4 || strings.Count(log, " 1234\n") != 4*round {
			t.Errorf("%s:\n%s", what, log)
		}
		round++
		return rangeOf(t, n, "app")
	}
	step("with the node's users", "", 0)
	first := step("with its own", schema.UserNamespaceAuto, 4)
	n.restart()
	if again := step("after a restart of the agent", schema.UserNamespaceAuto, 8); again != first {
		t.Errorf("it had %v, has %v", first, again)
	}
	n.stop()
	n.subids = other
	n.agent()
	if moved := step("from another pool", schema.UserNamespaceAuto, 12); !other.Holds(moved) {
		t.Errorf("it has %v of %v", moved, other)
	}
	step("with the node's users again", schema.UserNamespaceHost, 16)
	n.stop()
	n.subids = workload.Range{}
	n.agent()
	if back := step("from the first pool", schema.UserNamespaceAuto, 20); back != first {
		t.Errorf("it has %v, had %v", back, first)
	}
	// What was made without users of its own is on disk as it was.
	if uid, _ := idsOf(t, filepath.Join(n.DataPath("app"), "mine")); uid != 1234 {
		t.Errorf("on the node it belongs to %d", uid)
	}
}

// The writable layer can be written to whatever users the container has later, and
// what was removed can be made again; also a layer that an earlier version has made,
// where overlayfs' own files belonged to the node's root.
func TestUsers_LayerStaysWritable(t *testing.T) {
	t.Parallel()
	for _, earlier := range []bool{false, true} {
		t.Run(fmt.Sprint("earlier=", earlier), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			put(t, filepath.Join(n.rootfs, "etc/removed"), "of the component\n", 0o644)
			round := 0
			step := func(what string, users schema.UserNamespace, pool workload.Range) {
				t.Helper()
				n.stop()
				n.subids = pool
				n.agent()
				s := n.spec(schema.ModeContainer, "app", `echo "first $(stat -c %u /first)"; [ -e /etc/removed ] && cat /etc/removed
					echo again > /etc/removed && rm /etc/removed && [ ! -e /etc/removed ] || echo "not made again"
					rm -r /dir; mkdir /dir && echo x > /dir/x && [ "$(ls /dir)" = x ] || echo "no directory"
					[ -e /first ] || echo > /first; echo "$ROUND" >> /etc/passwd && echo x > /round-$ROUND && ls / | grep -c round; echo over`)
				s.UserNamespace, s.Env = users, []string{fmt.Sprint("ROUND=", round)}
				if err := os.Remove(n.LogPath("app")); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				n.start(s)
				n.await("app")
				log := n.log("app")
				if strings.Contains(log, "not made again") || strings.Contains(log, "no directory") || strings.Contains(log, "Read-only") || !strings.Contains(log, fmt.Sprintf("\n%d\nover", round+1)) {
					t.Errorf("%s:\n%s", what, log)
				}
				if first := round == 0; strings.Contains(log, "of the component") != first || strings.Contains(log, "first 0\n") == first {
					t.Errorf("%s:\n%s", what, log)
				}
				round++
			}
			other := workload.Range{Start: 1_800_000_000, Count: workload.RangeSize}
			step("with users of its own", schema.UserNamespaceAuto, workload.Range{})
			n.ownsLayer(rangeOf(t, n, "app").Start, earlier)
			step("from another pool", schema.UserNamespaceAuto, other)
			step("with the node's users", schema.UserNamespaceHost, other)
			step("from the first pool again", schema.UserNamespaceAuto, workload.Range{})
			if err := n.Remove(t.Context(), "app"); err != nil {
				t.Fatal(err)
			}
			round = 0
			step("a new one, with the node's users", schema.UserNamespaceHost, workload.Range{})
			step("then with users of its own", schema.UserNamespaceAuto, other)
			step("and with the node's", schema.UserNamespaceHost, other)
		})
	}
}

// ownsLayer checks that all of the writable layer belongs to users from start, or
// makes overlayfs' own files those of the node's root.
func (n *node) ownsLayer(start uint32, giveToRoot bool) {
	n.t.Helper()
	layers, err := filepath.Glob(filepath.Join(n.data, "apps/app/layers/*"))
	if err != nil || len(layers) != 1 {
		n.t.Fatal(layers, err)
	}
	work, whiteouts := filepath.Join(layers[0], "work"), 0
	var overlays []string // several may be one file
	err = filepath.WalkDir(layers[0], func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == layers[0] {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if uid, gid := idsOf(n.t, path); uid < start || uid >= start+workload.RangeSize || gid < start || gid >= start+workload.RangeSize {
			n.t.Errorf("%s belongs to %d:%d, not from %d", path, uid, gid, start)
		}
		whiteout := info.Mode()&os.ModeCharDevice != 0
		if whiteout {
			whiteouts++
		}
		if whiteout || strings.HasPrefix(path, work) {
			overlays = append(overlays, path)
		}
		return nil
	})
	for _, path := range overlays {
		if giveToRoot {
			err = errors.Join(err, os.Lchown(path, 0, 0))
		}
	}
	if err != nil || whiteouts == 0 {
		n.t.Errorf("%d whiteouts: %v", whiteouts, err)
	}
}

// rangeOf reads what an application has been given.
func rangeOf(t *testing.T, n *node, name string) workload.Range {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.data, "subids", name))
	if errors.Is(err, fs.ErrNotExist) {
		return workload.Range{}
	}
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	r, err := workload.ParseRange(first)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The same for what was made with a range: another version of the component, another
// range, no range, and a process of the host find it.
func TestUsers_WhatIsMadeWithARangeStays(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	script := func(write string) string {
		return `cat /srv/db/mine $GNOMON_DATA/mine; id -u; ` + write + `; echo over`
	}
	s := withUsers(n.spec(schema.ModeContainer, "app", script("umask 077; echo made > /srv/db/mine; echo made > $GNOMON_DATA/mine; cp /bin/busybox $GNOMON_DATA/su; chmod 4755 $GNOMON_DATA/su")))
	s.User = "meter"
	s.Volumes = []schema.Volume{{Path: "/srv/db", Kind: schema.VolumeLasting, Name: "db"}}
	run := func(what string, s workload.Spec, want int) {
		t.Helper()
		n.start(s)
		n.await("app")
		if log := n.log("app"); strings.Count(log, "made\n") != want {
			t.Errorf("%s:\n%s", what, log)
		}
	}
	run("first", s, 0)
	r := rangeOf(t, n, "app")
	for _, path := range []string{filepath.Join(n.data, "apps/app/volumes/db"), filepath.Join(n.data, "apps/app/volumes/db/mine"), n.DataPath("app"), filepath.Join(n.DataPath("app"), "mine")} {
		if uid, _ := idsOf(t, path); uid != r.Start+1234 {
			t.Errorf("%s belongs to %d, want %d", path, uid, r.Start+1234)
		}
	}
	s.Command[2] = script("true")
	s.Root = makeRootfs(t)
	run("another version", s, 2)
	n.stop()
	n.subids = workload.Range{Start: 1_800_000_000, Count: workload.RangeSize}
	n.agent()
	run("another range", s, 4)
	s.UserNamespace = ""
	run("no range", s, 6)
	h := n.spec(schema.ModeHost, "app", "cat $GNOMON_DATA/mine; echo more >> $GNOMON_DATA/mine; echo over")
	h.User = "1234:1235"
	run("a process of the host", h, 7)
	if info, err := os.Stat(filepath.Join(n.DataPath("app"), "su")); err != nil || info.Mode()&os.ModeSetuid != 0 {
		t.Errorf("a program of the container's runs as a user of the node: %v %v", info.Mode(), err)
	}
	s.UserNamespace, s.Command[2] = schema.UserNamespaceAuto, script("cat $GNOMON_DATA/mine")
	run("a container again", s, 10)
}

// Ranges are kept as long as anything belongs to them, and run out with numbers.
func TestUsers_PoolIsUsedUp(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.stop()
	n.subids = workload.Range{Start: 1_700_000_000, Count: 2 * workload.RangeSize}
	n.agent()
	spec := func(name string) workload.Spec {
		return withUsers(n.spec(schema.ModeContainer, name, "echo up; exec sleep 1000"))
	}
	a := spec("a")
	a.Volumes = []schema.Volume{{Path: "/srv/kept", Kind: schema.VolumeLasting, Name: "kept", Keep: true}}
	n.start(a)
	n.start(spec("b"))
	_, err := n.Start(t.Context(), spec("c"))
	if !errors.Is(err, workload.ErrNoRange) || !strings.Contains(err.Error(), "all 2 ranges of 65536 in 1700000000:131072") || !strings.Contains(err.Error(), "--subids") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(n.data, "subids/c")); err == nil {
		t.Error("it was given something")
	}
	was := rangeOf(t, n, "a")
	if err := n.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(t.Context(), spec("c")); !errors.Is(err, workload.ErrNoRange) {
		t.Errorf("the owner of what is kept was given away: %v", err)
	}
	n.start(a)
	if is := rangeOf(t, n, "a"); is != was {
		t.Errorf("it had %v, has %v", was, is)
	}
	if err := n.Remove(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	n.start(spec("c"))
	// What nobody takes away is found by whoever sweeps.
	if err := n.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(n.data, "volumes/a")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(n.data, "subids/.torn"), "17", 0o600)
	n.restart()
	eventually(t, "it is given back", func() bool {
		left, _ := os.ReadDir(filepath.Join(n.data, "subids"))
		return len(left) == 1 && left[0].Name() == "c"
	})
	n.start(spec("d"))
}

// What is noted of a range may be lost: who has it is known from what it keeps.
func TestUsers_NoteIsLost(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.stop()
	n.subids = workload.Range{Start: 1_600_000_000, Count: 4 * workload.RangeSize}
	n.agent()
	was := map[string]workload.Range{}
	for _, name := range []string{"a", "b"} {
		n.start(withUsers(n.spec(schema.ModeContainer, name, "echo up; exec sleep 1000")))
		was[name] = rangeOf(t, n, name)
	}
	put(t, filepath.Join(n.data, "subids/a"), "16000", 0o600)
	if err := os.Remove(filepath.Join(n.data, "subids/b")); err != nil {
		t.Fatal(err)
	}
	n.restart()
	st := n.start(withUsers(n.spec(schema.ModeContainer, "c", "exec sleep 1000")))
	for name, its := range was {
		if r := usersOf(t, st.PID); r.Overlaps(its) {
			t.Errorf("%v of %s was given away: %v", its, name, r)
		}
		if _, err := n.Stop(t.Context(), name, 0); err != nil {
			t.Fatal(err)
		}
		n.start(withUsers(n.spec(schema.ModeContainer, name, "exec sleep 1000")))
		if is := rangeOf(t, n, name); is != its {
			t.Errorf("%s had %v, has %v", name, its, is)
		}
	}
}

// Ranges of the node's own people are left out, and a pool that can't be is refused.
func TestUsers_PoolIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"0:65536": "at least 100000", "100000:65535": "multiple of 65536", "100000:0": "multiple of 65536", "2147450880:65536": "at most 2147483648",
		"100000": "START:COUNT", "x:1": "START:COUNT", "-1:65536": "START:COUNT", "4294967295:65536": "at most 2147483648",
	} {
		r, err := workload.ParseRange(text)
		if err == nil {
			err = r.Check()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := workload.DefaultSubIDs().Check(); err != nil {
		t.Error(err)
	}
	if _, err := executor.New(executor.Config{Data: t.TempDir(), Shim: shimPath, Cgroup: "/gnomon-test/x", SubIDs: workload.Range{Start: 1, Count: workload.RangeSize}}); err == nil {
		t.Error("root was in the pool")
	}
}

// What can't be is refused by name, and nothing runs.
func TestUsers_Refused(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	plain := t.TempDir() // whose file system has no mapped mounts
	if err := syscall.Mount("ramfs", plain, "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(plain, 0) })
	// Where the node lets everybody have every port there is none to refuse.
	free, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*workload.Spec)
		err    error
		text   string
	}{
		"privileged":    {func(s *workload.Spec) { s.Privileged = true }, workload.ErrUnsupported, "run.userNamespace auto and run.privileged"},
		"a port":        {func(s *workload.Spec) { s.Ports = []schema.Port{{Host: 1, Container: 1, Protocol: "tcp"}} }, workload.ErrUnsupported, "run.ports 1:"},
		"a user":        {func(s *workload.Spec) { s.User = "70000" }, workload.ErrInvalid, `run.user "70000" is or has 70000`},
		"a group":       {func(s *workload.Spec) { s.User = "1:65536" }, workload.ErrInvalid, "0 to 65535"},
		"a file system": {func(s *workload.Spec) { s.Root = plain }, workload.ErrUnsupported, plain},
	} {
		s := withUsers(n.spec(schema.ModeContainer, "app", "echo up; sleep 1000"))
		c.change(&s)
		if strings.TrimSpace(string(free)) == "0" && len(s.Ports) > 0 {
			continue
		}
		if _, err := n.Start(t.Context(), s); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", what, err)
		}
		if n.get("app").State.Live() || strings.Contains(n.log("app"), "up") {
			t.Errorf("%s: it runs", what)
		}
	}
}

// An attached application is among the users of its container, and what it brings
// belongs to them; also in one whose root is read-only.
func TestUsers_OfAttached(t *testing.T) {
	t.Parallel()
	for _, readOnly := range []bool{false, true} {
		t.Run(fmt.Sprint("readOnly=", readOnly), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			s := withUsers(n.spec(schema.ModeContainer, "target", "exec sleep 1000"))
			s.ReadOnly = readOnly
			target := n.start(s)
			a := n.spec(schema.ModeAttach, "app", `stat -c "%n %u:%g" /opt /opt/app /opt/app/tool /etc/deep /etc/deep/conf /tmp/dir/conf; id -u; cat /etc/deep/conf
				touch /opt/new && echo "its root is writable"; echo over; sleep 1000`)
			a.Root, a.User = t.TempDir(), "meter"
			put(t, filepath.Join(a.Root, "tool"), "x", 0o755)
			a.Files = []schema.File{{Path: "/etc/deep/conf", Content: "deep\n", Mode: "0600"}, {Path: "/tmp/dir/conf", Content: "x"}}
			st := n.start(a)
			log := n.logs("app", "over")
			for _, want := range []string{"/opt 0:0\n", "/opt/app 0:0\n", "/opt/app/tool 0:0\n", "/etc/deep 0:0\n", "/etc/deep/conf 1234:1235\n", "1234\ndeep\n"} {
				if !strings.Contains(log, want) {
					t.Errorf("log lacks %q:\n%s", want, log)
				}
			}
			if r := usersOf(t, st.PID); r != usersOf(t, target.PID) || r.Start == 0 {
				t.Errorf("range %v, of the container %v", r, usersOf(t, target.PID))
			}
			if said, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"sh", "-c", "id -u; cat /proc/self/uid_map"}); err != nil || status != 0 || !strings.HasPrefix(said, "1234\n") {
				t.Errorf("exec: %q %d %v", said, status, err)
			}
		})
	}
}

// An instance is written in the version that an earlier agent can read, unless it
// has users of its own, with which that could do nothing.
func TestUsers_AreOfALaterProtocol(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for name, want := range map[string]int{"plain": 2, "own": 3} {
		s := n.spec(schema.ModeContainer, name, "exec sleep 1000")
		if want == 3 {
			s = withUsers(s)
		}
		dir := instance.Dir(filepath.Join(n.data, "run", name, n.start(s).Instance))
		req, err := dir.ReadRequest()
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := dir.ReadRecord(); err != nil || req.Protocol != want || rec.Protocol != want {
			t.Errorf("%s: request %d, record %d, want %d: %v", name, req.Protocol, rec.Protocol, want, err)
		}
	}
}
