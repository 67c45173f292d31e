package endtoend

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload/cgroup"
)

// Where there is no more of something the agent stays up, what runs goes on, the
// cloud is told why the rest doesn't, and all of it comes right by itself.

// small puts the node's data on a file system of its own.
func (e *edge) small(options string) {
	e.t.Helper()
	e.data = filepath.Join(e.data, "disk")
	if err := os.Mkdir(e.data, 0o755); err != nil {
		e.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", e.data, "tmpfs", 0, options); err != nil {
		e.t.Fatal("mount a tmpfs:", err)
	}
	e.t.Cleanup(func() {
		e.powerCut()
		if err := unix.Unmount(e.data, unix.MNT_DETACH); err != nil {
			e.t.Error(err)
		}
	})
}

// fill takes what is left of the disk, to the last byte.
func (e *edge) fill() {
	e.t.Helper()
	f, err := os.OpenFile(filepath.Join(e.data, "fill"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			e.t.Fatal(err)
		}
	}
}

// told is what the cloud knows of the node itself.
type told struct {
	ActiveAlarms map[string]struct{ Metric, Severity, Above string }
	AlarmHistory map[string]struct{ Name string }
	Readiness    struct {
		Level  string
		Checks map[string]struct{ Level, Message string }
	}
	Usage struct{ Memory float64 }
}

func (c *api) node(name string) (n told) {
	c.t.Helper()
	code, text := c.do(http.MethodGet, "/v1/nodes/"+name, "")
	var r struct{ Reported struct{ Node told } }
	if err := json.Unmarshal(text, &r); err != nil || code != http.StatusOK && code != http.StatusNotFound {
		c.t.Fatalf("get node: %d %s: %v", code, text, err)
	}
	return r.Reported.Node
}

const scarce = `{"node":{"sync":{"interval":"5s"},"sampling":{"interval":"1s","report":"1s"},"alarms":[{"name":"full","metric":"disk","above":"80%","severity":"critical","action":"defer-updates"}]}}`

func hostApp(env string) string {
	return `{"mode":"host","run":{` + forever + `,"env":{"X":"` + env + `"},"stopGrace":"1s"}}`
}

func (c *api) want(node, desired string) {
	c.t.Helper()
	if code, text := c.do(http.MethodPut, "/v1/nodes/"+node, desired); code/100 != 2 {
		c.t.Fatalf("put node: %d %s", code, text)
	}
}

func (c *api) fails(node, item, code string) {
	c.t.Helper()
	until(c.t, item+" to report "+code, func() bool {
		e := c.get(node, item).Reported.Error
		return e != nil && e.Code == code
	})
}

func TestScarce_FullDisk(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.small("size=8m")
	e.start()
	c.want(e.name, scarce)
	c.put(e.name, "apps/first", hostApp("1"))
	c.converge(e.name, "apps/first")
	pid := c.get(e.name, "apps/first").Reported.PID
	until(t, "use to be reported", func() bool { return c.node(e.name).Usage.Memory > 0 })

	e.fill()
	until(t, "the alarm", func() bool {
		n := c.node(e.name)
		return n.ActiveAlarms["full"].Severity == "critical" && n.Readiness.Checks["disk"].Level == "bad"
	})
	// The reserve is used up by what is remembered of these, and filled, too.
	until(t, "nothing to be written any more", func() bool {
		e.fill()
		c.want(e.name, strings.Replace(scarce, `"5s"`, `"6s"`, 1))
		e.fill()
		c.want(e.name, scarce)
		n := c.node(e.name)
		return n.Readiness.Checks["store"].Level == "bad" && strings.Contains(n.Readiness.Checks["store"].Message, "store-full")
	})
	c.put(e.name, "apps/second", hostApp("1"))

	e.kill()
	e.start() // on a full disk
	e.await("the agent", func(s *status) bool { return s.pids()["first"] == pid })
	if c.get(e.name, "apps/second").Status.Converged {
		t.Error("an application was started on a full disk")
	}
	if err := os.Remove(filepath.Join(e.data, "fill")); err != nil {
		t.Fatal(err)
	}
	c.converge(e.name, "apps/first", "apps/second")
	until(t, "the alarm to be over", func() bool {
		n := c.node(e.name)
		over := false
		for _, a := range n.AlarmHistory {
			over = over || a.Name == "full"
		}
		return len(n.ActiveAlarms) == 0 && over && n.Readiness.Checks["store"].Level == "ok"
	})
	if got := c.get(e.name, "apps/first").Reported.PID; got != pid {
		t.Errorf("what ran was restarted: pid %d, now %d", pid, got)
	}
}

func TestScarce_ReadOnlyDisk(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.small("size=8m")
	e.start()
	c.want(e.name, scarce)
	c.put(e.name, "apps/first", hostApp("1"))
	c.converge(e.name, "apps/first")
	e.powerCut()
	remount := func(flags uintptr) {
		t.Helper()
		until(t, "the disk to be free", func() bool {
			err := unix.Mount("", e.data, "", unix.MS_REMOUNT|flags, "")
			if err != nil && !errors.Is(err, unix.EBUSY) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	remount(unix.MS_RDONLY)
	e.start()
	c.fails(e.name, "apps/first", "disk-read-only")
	until(t, "word of it", func() bool {
		n := c.node(e.name)
		return n.Readiness.Level == "bad" && strings.Contains(n.Readiness.Checks["disk"].Message, "read-only") &&
			strings.Contains(n.Readiness.Checks["store"].Message, "store-read-only")
	})
	agent := e.agent.Process.Pid
	remount(0)
	c.converge(e.name, "apps/first")
	e.await("the same agent to answer", func(s *status) bool { return s.PID == agent })
}

func TestScarce_Processes(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/first", hostApp("1"))
	c.converge(e.name, "apps/first")
	agent := e.agent.Process.Pid
	g, err := cgroup.At("/gnomon-test/" + e.name + "-agent")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Create(cgroup.Limits{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.kill()
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := g.Join(agent); err != nil {
		t.Fatal(err)
	}
	if err := g.Set(cgroup.Limits{Pids: 1}); err != nil { // it has more than that, and gets no other
		t.Fatal(err)
	}
	for range 20 { // it has much to do
		if e.ask() == nil {
			t.Fatal("the agent doesn't answer")
		}
	}
	c.put(e.name, "apps/second", hostApp("1"))
	c.fails(e.name, "apps/second", "processes-exhausted")
	if s := e.ask(); s == nil || s.PID != agent {
		t.Fatal("the agent is gone")
	}
	if err := g.Set(cgroup.Limits{Pids: 10000}); err != nil {
		t.Fatal(err)
	}
	c.converge(e.name, "apps/first", "apps/second")
	if s := e.ask(); s == nil || s.PID != agent {
		t.Error("the agent did not last")
	}
}
