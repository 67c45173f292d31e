package executor_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/schema"
)

// ports shows that what listens on a container's port is reached on the node's.
func ports(t *testing.T) trial {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	return trial{
		run:    map[string]any{"ports": []map[string]any{{"host": port, "container": port}}},
		spec:   func(s *workload.Spec) { s.Ports = []schema.Port{{Host: port, Container: port}} },
		script: fmt.Sprintf(`while true; do echo "it is $GNOMON_APP" | nc -l -p %d; done`, port),
		shows: func(t *testing.T, s *scene) {
			s.runs("app", s.version)
			eventually(t, "the port answers", func() bool {
				c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
				if err != nil {
					return false
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(2 * time.Second))
				line, _ := bufio.NewReader(c).ReadString('\n')
				return line == "it is app\n"
			})
		},
	}
}

// restarted shows that an exit code is told and followed by a restart, of this
// application alone.
func restarted(*testing.T) trial {
	return trial{
		run:    map[string]any{"restart": map[string]any{"policy": "on-failure", "backoff": "100ms"}},
		script: `echo "started as $GNOMON_INSTANCE"; exit 3`,
		shows: func(t *testing.T, s *scene) {
			r := s.says("app", "that it was restarted", func(r report) bool { return r.text("restarts") != "0" && r.text("exit", "code") == "3" })
			if r.text("exit", "signal") != "" || r.text("exit", "at") == "" {
				t.Errorf("exit %s", r.text("exit"))
			}
			eventually(t, "two instances have run", func() bool { return strings.Count(s.log("app"), "started as") >= 2 })
		},
	}
}

// exhausted shows that the number of retries and the way it ended are kept to.
func exhausted(*testing.T) trial {
	return trial{
		run:    map[string]any{"restart": map[string]any{"policy": "always", "backoff": "100ms", "maxRetries": 1}},
		script: "exit 4",
		shows: func(t *testing.T, s *scene) {
			r := s.says("app", "that it is given up", func(r report) bool { return r.phase() == "failed" })
			if r.text("error", "code") != "retries-exhausted" || r.text("restarts") != "1" {
				t.Errorf("report %s", r.AppendJSON(nil))
			}
			if r.text("exit", "code") != "4" {
				t.Errorf("exit %s", r.text("exit"))
			}
		},
	}
}

// throttled shows that the kernel holds back what wants more of a CPU than it may
// have.
func throttled(*testing.T) trial {
	return trial{
		run:    map[string]any{"resources": map[string]any{"cpu": "50m"}},
		script: "while true; do :; done",
		shows: func(t *testing.T, s *scene) {
			s.runs("app", s.version)
			eventually(t, "it is throttled", func() bool { return cpuStat(t, s.group("app"), "nr_throttled") > 0 })
		},
	}
}

// cpuStat reads a count the kernel keeps of a group.
func cpuStat(t *testing.T, g cgroup.Group, key string) int64 {
	t.Helper()
	all, err := cgroup.Hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		b, err := os.ReadFile(filepath.Join(h.Mount, g.Path(), "cpu.stat"))
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if k, v, _ := strings.Cut(line, " "); k == key {
				n, _ := strconv.ParseInt(v, 10, 64)
				return n
			}
		}
	}
	return 0
}

// outOfMemory shows that going over the limit ends, and restarts, the application
// alone, and is called what it is.
func outOfMemory(*testing.T) trial {
	return trial{
		run:    map[string]any{"resources": map[string]any{"memory": "16Mi"}, "restart": map[string]any{"backoff": "100ms"}},
		script: "exec tail /dev/zero",
		shows: func(t *testing.T, s *scene) {
			r := s.says("app", "that it ran out of memory and again", func(r report) bool {
				return r.text("restarts") != "0" && r.text("exit", "oom") == "true"
			})
			if r.text("exit", "code") != "137" {
				t.Errorf("exit %s", r.text("exit"))
			}
			s.says("app", "why", func(r report) bool { return r.text("error", "code") == "out-of-memory" })
		},
	}
}

// outOfProcesses shows that a fork beyond the limit is refused.
func outOfProcesses(*testing.T) trial {
	return trial{
		run:    map[string]any{"resources": map[string]any{"pids": 16}},
		script: "for i in $(seq 1 40); do sleep 1000 & done; echo not reached; wait",
		shows: func(t *testing.T, s *scene) {
			s.logs("app", "can't fork")
			if strings.Contains(s.log("app"), "not reached") {
				t.Error("it could fork")
			}
		},
	}
}
