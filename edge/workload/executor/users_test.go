package executor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gnomon/edge/workload"
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
