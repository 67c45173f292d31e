package endtoend

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of a test; none is expected to come near it.
const patience = 60 * time.Second

// edge is one node: a directory, a cgroup, and at most one agent.
type edge struct {
	t     *testing.T
	name  string
	data  string
	cloud string   // of MQTT, host:port
	args  []string // further ones of the agent
	agent *exec.Cmd
	log   *os.File
}

// status is what `gnomon-edge status -o json` prints, as far as tests look.
type status struct {
	PID int `json:"pid"`
	Bus struct {
		Devices struct {
			Waiting int `json:"waiting"`
		} `json:"devices"`
	} `json:"bus"`
	Link struct {
		Connected bool             `json:"connected"`
		Pending   []string         `json:"pending"`
		Counters  map[string]int64 `json:"counters"`
	} `json:"link"`
	Readings struct {
		Points int `json:"points"`
		Unsent int `json:"unsent"`
	} `json:"readings"`
	Applications []struct {
		Name            string                 `json:"name"`
		Phase           string                 `json:"phase"`
		PID             int                    `json:"pid"`
		ObservedVersion uint64                 `json:"observedVersion"`
		Plan            struct{ Trace string } `json:"plan"`
	} `json:"applications"`
	Policies []struct {
		Name    string `json:"name"`
		Phase   string `json:"phase"`
		Cycles  int    `json:"cycles"`
		Success int    `json:"success"`
	} `json:"policies"`
}

// pids are those of the running applications.
func (s *status) pids() map[string]int {
	out := map[string]int{}
	for _, a := range s.Applications {
		if a.Phase == "running" {
			out[a.Name] = a.PID
		}
	}
	return out
}

// newEdge returns a node of its own; everything of it ends with the test.
func newEdge(t *testing.T, mqtt string) *edge {
	t.Helper()
	e := &edge{t: t, name: "t-" + strings.ToLower(rand.Text()[:8]), data: t.TempDir(), cloud: mqtt}
	var err error
	if e.log, err = os.Create(filepath.Join(e.data, "agent.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.kill()
		e.powerCut()
		if t.Failed() {
			b, _ := os.ReadFile(e.log.Name())
			t.Logf("the agent's last words:\n%s", b[max(0, len(b)-4000):])
		}
		e.log.Close()
	})
	return e
}

// start starts the agent.
func (e *edge) start() {
	e.t.Helper()
	e.agent = exec.Command(agentPath, append([]string{"run", "--dev", "--cloud", "mqtt://" + e.cloud, "--node", e.name,
		"--data", e.data, "--shim", shimPath, "--cgroup", e.cgroup()}, e.args...)...)
	e.agent.Stdout, e.agent.Stderr = e.log, e.log
	if err := e.agent.Start(); err != nil {
		e.t.Fatal(err)
	}
}

// kill ends the agent with SIGKILL, and nothing else.
func (e *edge) kill() {
	if e.agent == nil {
		return
	}
	_ = e.agent.Process.Kill()
	_ = e.agent.Wait() // "signal: killed" is what was asked for
	e.agent = nil
}

func (e *edge) cgroup() string { return "/gnomon-test/" + e.name }

// groups are the directories of the node's cgroups in all hierarchies, the
// deepest first.
func (e *edge) groups() (dirs []string) {
	mounts, err := filepath.Glob("/sys/fs/cgroup/*" + e.cgroup())
	if err != nil {
		e.t.Fatal(err)
	}
	for _, top := range append(mounts, "/sys/fs/cgroup"+e.cgroup()) {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append([]string{path}, dirs...)
			}
			return nil // what is gone meanwhile is none of ours any more
		})
	}
	return dirs
}

// processes are all in the cgroups of the node below sub; "" = all.
func (e *edge) processes(sub string) map[int]bool {
	all := map[int]bool{}
	for _, dir := range e.groups() {
		if sub != "" && !strings.Contains(dir+"/", "/"+e.name+"/"+sub+"/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, line := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(line); err == nil {
				all[pid] = true
			}
		}
	}
	return all
}

// powerCut kills everything the node runs at once, and removes what a restart
// of the kernel would remove.
func (e *edge) powerCut() {
	e.kill()
	deadline := time.Now().Add(patience)
	for left := e.processes(""); len(left) > 0; left = e.processes("") {
		for pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			e.t.Errorf("processes cannot be killed: %v", left)
			return
		}
	}
	for _, dir := range e.groups() {
		_ = os.Remove(dir)
	}
}

// ask returns the agent's status, nil while there is none.
func (e *edge) ask() *status {
	out, err := exec.Command(agentPath, "status", "--data", e.data, "-o", "json").Output()
	if err != nil {
		return nil
	}
	s := new(status)
	if err := json.Unmarshal(out, s); err != nil {
		e.t.Fatal(err)
	}
	return s
}

// await asks the agent until ok says so.
func (e *edge) await(what string, ok func(*status) bool) *status {
	e.t.Helper()
	var last *status
	until(e.t, what, func() bool {
		last = e.ask()
		return last != nil && ok(last)
	})
	return last
}

// until polls: what is waited for happens in other processes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// began tells when a process started, in ticks since boot, so that a PID used
// again isn't taken for the same process.
func began(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return fields[19]
}
