package executor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// faithful is a script that says each start with what it finds of the ones before.
const faithful = `cat $GNOMON_DATA/$GNOMON_APP /tmp/$GNOMON_APP 2>/dev/null; echo "data of $GNOMON_APP" > $GNOMON_DATA/$GNOMON_APP
	echo "layer of $GNOMON_APP" > /tmp/$GNOMON_APP; echo "$GNOMON_APP is up on $(hostname)"
	trap 'echo asked; exit 0' TERM; while true; do sleep 0.05; done`

// crowded is a container with two attached applications.
func crowded(t *testing.T) (s *station, was map[string]workload.Status) {
	t.Helper()
	s, was = newStation(t), map[string]workload.Status{}
	for _, name := range []string{"target", "a", "b"} {
		mode := schema.ModeAttach
		if name == "target" {
			mode = schema.ModeContainer
		}
		was[name] = s.runs(name, s.want(name, s.document(mode, faithful, nil)))
		s.logs(name, name+" is up")
	}
	return s, was
}

// Applications in one container have lives of their own.
func TestAttach_SeveralInOneContainer(t *testing.T) {
	t.Parallel()
	s, was := crowded(t)
	for _, name := range []string{"a", "b"} {
		g := s.group(name)
		if pids, _ := g.Pids(); len(pids) == 0 || !strings.HasSuffix(g.Path(), "/target/"+name) {
			t.Errorf("%s has cgroup %s with %v", name, g.Path(), pids)
		}
		if st := was[name]; st.TargetInstance != was["target"].Instance {
			t.Errorf("%s is bound to %q", name, st.TargetInstance)
		}
	}
	// One goes over its limit, and is restarted alone.
	greedy := s.document(schema.ModeAttach, "exec tail /dev/zero", map[string]any{
		"resources": map[string]any{"memory": "16Mi"}, "restart": map[string]any{"policy": "on-failure", "maxRetries": 1, "backoff": "100ms"}})
	s.want("b", greedy)
	r := s.says("b", "that it is given up", func(r report) bool { return r.phase() == "failed" })
	if r.text("exit", "oom") != "true" || r.text("restarts") != "1" {
		t.Errorf("report %s", r.AppendJSON(nil))
	}
	// One ends, and another goes: nobody else notices.
	s.shadows.set(schema.AppPrefix+"b", nil)
	eventually(t, "b is gone", func() bool { return s.get("b").Name == "" && !s.group("target").Child("b").Exists() })
	for _, name := range []string{"target", "a"} {
		if now := s.get(name); now.PID != was[name].PID || now.State != workload.Running {
			t.Errorf("%s suffered: %+v, before %+v", name, now, was[name])
		}
		if log := s.log(name); strings.Contains(log, "asked") || strings.Count(log, "is up") != 1 {
			t.Errorf("log of %s:\n%s", name, log)
		}
	}
}

// An application that needs the container rebuilt restarts the others, in order
// and with their data.
func TestAttach_RebuildKeepsTheOthers(t *testing.T) {
	t.Parallel()
	s, was := crowded(t)
	v := s.want("c", s.document(schema.ModeAttach, faithful, map[string]any{"hostname": "meterbox"}))
	s.runs("c", v)
	s.logs("c", "c is up on meterbox")
	s.kept(t, was, "meterbox")
	for _, name := range []string{"a", "b", "c"} {
		if now, target := s.get(name), s.get("target"); now.TargetInstance != target.Instance || now.StartedAt.Before(target.StartedAt) {
			t.Errorf("%s is not within the new container: %+v, %+v", name, now, target)
		}
	}
}

// kept waits until applications run anew, and checks what they found.
func (s *station) kept(t *testing.T, was map[string]workload.Status, host string) {
	t.Helper()
	for name, before := range was {
		log := s.logs(name, name+" is up on "+host)
		if host == "target" {
			eventually(t, name+" is up again", func() bool { return strings.Count(s.log(name), "is up on target") == 2 })
			log = s.log(name)
		}
		if s.get(name).Instance == before.Instance {
			t.Errorf("%s was not restarted", name)
		}
		for _, want := range []string{"asked", "data of " + name, "layer of " + name} {
			if strings.Count(log, want) != 1 {
				t.Errorf("log of %s lacks %q:\n%s", name, want, log)
			}
		}
		s.says(name, "that all is well", func(r report) bool { return r.phase() == "running" && r.At("error") == nil })
	}
}

// What is in a container that dies is within the next one.
func TestAttach_FollowsItsContainer(t *testing.T) {
	t.Parallel()
	s, was := crowded(t)
	if err := syscall.Kill(was["target"].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		s.logs(name, "data of "+name)
		eventually(t, name+" is within another container", func() bool {
			now, target := s.get(name), s.get("target")
			return now.State == workload.Running && target.Instance != was["target"].Instance && now.TargetInstance == target.Instance
		})
		r := s.says(name, "that it runs", func(r report) bool { return r.phase() == "running" })
		if r.At("error") != nil || r.text("restarts") != "0" {
			t.Errorf("the end of its container is held against %s: %s", name, r.AppendJSON(nil))
		}
	}
}

// Where the container can't be rebuilt, it is again as it was, and who asked for
// it hears why. Another try needs another wish.
func TestAttach_FailedRebuildIsTakenBack(t *testing.T) {
	t.Parallel()
	s, was := crowded(t)
	link := filepath.Join("/dev", fmt.Sprintf("gnomon-rebuild-%d", os.Getpid()))
	serial := map[string]any{"serial": []string{link}}
	s.want("c", s.document(schema.ModeAttach, faithful, serial))
	r := s.says("c", "that it failed", func(r report) bool { return r.phase() == "failed" })
	if r.text("error", "code") != "rebuild-failed" || !strings.Contains(r.text("error", "message"), link) {
		t.Errorf("report %s", r.AppendJSON(nil))
	}
	s.kept(t, was, "target")
	if now := s.get("target"); now.Hash != was["target"].Hash {
		t.Errorf("the container is another one: %+v, before %+v", now, was["target"])
	}
	// The agent forgets neither what failed nor why.
	before := s.get("target")
	s.end()
	s.restart()
	s.reconcile()
	s.says("c", "why, after a restart of the agent", func(r report) bool { return r.text("error", "code") == "rebuild-failed" })
	if now := s.get("target"); now.Instance != before.Instance {
		t.Error("it was tried again")
	}
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(link) }()
	serial["hostname"] = "meterbox"
	s.runs("c", s.want("c", s.document(schema.ModeAttach, faithful, serial)))
	s.logs("c", "c is up on meterbox")
}
