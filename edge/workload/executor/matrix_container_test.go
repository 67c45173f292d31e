package executor_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// ownNetwork shows that a container has an interface of its own and is told so.
func ownNetwork(*testing.T) trial {
	return trial{
		run:    map[string]any{"network": "bridge"},
		spec:   func(s *workload.Spec) { s.Network = schema.NetworkBridge },
		script: `echo "links $(ls /sys/class/net | tr '\n' ' ')"; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			s.logs("app", "links eth0 lo \n")
			r := s.says("app", "its addresses", func(r report) bool { return r.Get("addresses") != nil })
			var all []netip.Addr
			if err := json.Unmarshal([]byte(r.text("addresses")), &all); err != nil || !s.bridge.Pool.Contains(all[0]) {
				t.Errorf("addresses %v of %s: %v", all, s.bridge.Pool, err)
			}
		},
	}
}

func dns(*testing.T) trial {
	return trial{
		run:    map[string]any{"dns": map[string]any{"servers": []string{"192.0.2.53"}, "search": []string{"site.example"}}},
		spec:   func(s *workload.Spec) { s.DNS = &schema.DNS{Servers: []string{"192.0.2.53"}} },
		script: `cat /etc/resolv.conf; echo over; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "over"); !strings.Contains(log, "nameserver 192.0.2.53\nsearch site.example\n") {
				t.Errorf("log:\n%s", log)
			}
		},
	}
}

// devices shows that a device of the allow-list is there, and no further than asked.
func devices(*testing.T) trial {
	return trial{
		run: map[string]any{"devices": []map[string]any{{"path": "/dev/kmsg", "access": "w"}},
			"capabilities": map[string]any{"add": []string{"SYSLOG"}}}, // to read it takes that besides the device
		spec:   func(s *workload.Spec) { s.Devices = []schema.Device{{Path: "/dev/kmsg", Access: "w"}} },
		script: `(: > /dev/kmsg) && echo "can be written"; (: < /dev/kmsg) || echo "cannot be read"; ls /dev/mem || echo over; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "over"); !strings.Contains(log, "can be written") || !strings.Contains(log, "cannot be read") {
				t.Errorf("log:\n%s", log)
			}
		},
	}
}

func capabilities(*testing.T) trial {
	change := &schema.Capabilities{Add: []string{"SYS_TIME"}, Drop: []string{"CHOWN", "MKNOD"}}
	return trial{
		run:    map[string]any{"capabilities": change},
		spec:   func(s *workload.Spec) { s.Capabilities = change },
		script: `grep CapBnd /proc/self/status; touch /tmp/f; chown 1 /tmp/f || echo "not given away"; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			// a80425fb without CHOWN (0) and MKNOD (27), with SYS_TIME (25)
			if log := s.logs("app", "not given away"); !strings.Contains(log, "00000000a20425fa") {
				t.Errorf("log:\n%s", log)
			}
		},
	}
}

func readOnly(*testing.T) trial {
	return trial{
		run:    map[string]any{"readOnly": true},
		spec:   func(s *workload.Spec) { s.ReadOnly = true },
		script: `touch /new || echo "root is not"; touch /tmp/a /run/b /var/tmp/c $GNOMON_DATA/d && echo "the rest can be written"; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "the rest can be written"); !strings.Contains(log, "root is not") {
				t.Errorf("log:\n%s", log)
			}
		},
	}
}

// ownUsers shows that the root of the container is nobody on the node.
func ownUsers(*testing.T) trial {
	return trial{
		run:    map[string]any{"userNamespace": "auto"},
		spec:   func(s *workload.Spec) { s.UserNamespace = schema.UserNamespaceAuto },
		script: `echo "I am $(id -u)"; touch $GNOMON_DATA/mine; echo over; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "over"); !strings.Contains(log, "I am 0\n") {
				t.Errorf("log:\n%s", log)
			}
			r := usersOf(t, s.runs("app", s.version).PID)
			if uid, gid := idsOf(t, filepath.Join(s.DataPath("app"), "mine")); uid != r.Start || gid != r.Start || uid < 100_000 {
				t.Errorf("what root made belongs to %d:%d, its users are %v", uid, gid, r)
			}
		},
	}
}

// withInit shows that the program isn't the first process, and that nothing is left
// of those it has abandoned.
func withInit(*testing.T) trial {
	return trial{
		run:  map[string]any{"init": true},
		spec: func(s *workload.Spec) { s.Init = true },
		script: `echo "first is $(cat /proc/1/comm)"; for i in 1 2 3 4 5; do sh -c 'sleep 0.05 & exit 0'; done
			sleep 0.5; echo "dead $(grep -l 'State:.Z' /proc/[0-9]*/status | wc -l)"; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "dead 0"); !strings.Contains(log, "first is gnomon-init") {
				t.Errorf("log:\n%s", log)
			}
		},
	}
}

func volumes(*testing.T) trial {
	all := []map[string]any{{"path": "/srv/db", "name": "db"}, {"path": "/srv/kept", "name": "k", "keep": true}, {"path": "/srv/mem", "kind": "temporary", "size": "1Mi"}}
	return trial{
		run: map[string]any{"volumes": all},
		spec: func(s *workload.Spec) {
			s.Volumes = []schema.Volume{{Path: "/srv/db", Kind: schema.VolumeLasting, Name: "db"}}
		},
		script: `cat /srv/db/x /srv/kept/x /srv/mem/x; for d in db kept mem; do echo "was in $d" > /srv/$d/x; done
			dd if=/dev/zero of=/srv/mem/big bs=1k count=2000; echo written; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "written"); !strings.Contains(log, "No space left") {
				t.Errorf("log:\n%s", log)
			}
			if _, err := s.Stop(t.Context(), "app", 0); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has run twice", func() bool { return strings.Count(s.log("app"), "written") == 2 })
			log := s.log("app")
			for _, want := range []string{"was in db", "was in kept", "can't open '/srv/mem/x'"} {
				if !strings.Contains(log, want) {
					t.Errorf("log lacks %q:\n%s", want, log)
				}
			}
			stopped := s.document(s.mode, "", nil)
			stopped["state"] = "stopped"
			s.want("app", stopped)
			s.says("app", "that it stopped", func(r report) bool { return r.phase() == "stopped" })
			if err := s.Remove(t.Context(), "app"); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(s.data, "volumes/app/k/x")); err != nil || string(b) != "was in kept\n" {
				t.Errorf("what is to be kept: %q %v", b, err)
			}
			if _, err := os.Lstat(filepath.Join(s.data, "apps/app")); err == nil {
				t.Error("what is not to be kept is left")
			}
		},
	}
}

func zoned(*testing.T) trial {
	return trial{
		run:    map[string]any{"timezone": "Asia/Shanghai"},
		spec:   func(s *workload.Spec) { s.Timezone = "Asia/Shanghai" },
		script: `echo "it is $(date +%z)"; sleep 1000`,
		shows:  func(_ *testing.T, s *scene) { s.logs("app", "it is +0800") },
	}
}

// logged shows that the log is bounded as it says, not as the node does.
func logged(*testing.T) trial {
	return trial{
		run:    map[string]any{"log": map[string]any{"size": "4Ki", "files": 2}, "restart": map[string]any{"policy": "never"}},
		script: `seq 1 20000; echo last`,
		shows: func(t *testing.T, s *scene) {
			s.logs("app", "last")
			files, err := filepath.Glob(s.LogPath("app") + "*")
			if err != nil {
				t.Fatal(err)
			}
			var size int64
			for _, f := range files {
				st, err := os.Stat(f)
				if err != nil {
					t.Fatal(err)
				}
				size += st.Size()
			}
			if len(files) != 2 || size > 8<<10 {
				t.Errorf("%d files with %d bytes", len(files), size)
			}
		},
	}
}
