package endtoend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// local runs the node's own command line, as somebody who stands before it does.
func (e *edge) local(args ...string) (stdout, stderr string, code int) {
	e.t.Helper()
	cmd := exec.Command(agentPath, args...)
	cmd.Env = append(os.Environ(), "GNOMON_DATA="+e.data, "SUDO_USER=ann")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		e.t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// must is local for what has to succeed.
func (e *edge) must(args ...string) string {
	e.t.Helper()
	out, problems, code := e.local(args...)
	if code != 0 {
		e.t.Fatalf("%v: exit status %d: %s", args, code, problems)
	}
	return out
}

// overridden is what the cloud knows of an override.
type overridden struct {
	Reported struct {
		Phase    string `json:"phase"`
		PID      int    `json:"pid"`
		Mode     string `json:"mode"`
		Run      struct{ Env map[string]string }
		Override *struct {
			Kind, Reason, By string
			Paths, Conflicts []string
		} `json:"override"`
	} `json:"reported"`
	Status struct {
		Converged bool `json:"converged"`
	} `json:"status"`
}

func (c *api) overridden(node, app string) (o overridden) {
	c.t.Helper()
	code, text := c.do(http.MethodGet, "/v1/nodes/"+node+"/apps/"+app, "")
	if code == http.StatusNotFound {
		return o
	}
	if err := json.Unmarshal(text, &o); err != nil {
		c.t.Fatal(err)
	}
	return o
}

// A change made on the node holds against the cloud, across restarts of the agent
// and days offline, is told with its conflicts, and yields when it is ended.
func TestOverride_HoldsUntilItIsEnded(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/sampler", onHost)
	c.converge(e.name, "apps/sampler")
	out := e.must("stop", "sampler", "--for", "1h", "--reason", "the meter is being changed")
	if !strings.Contains(out, "sampler is overridden on the node by ann (root) until") {
		t.Errorf("stop says %q", out)
	}
	until(t, "the cloud to hear of it", func() bool {
		o := c.overridden(e.name, "sampler")
		return o.Reported.Phase == "stopped" && o.Reported.Override != nil && !o.Status.Converged &&
			o.Reported.Override.Kind == "changed" && o.Reported.Override.Reason == "the meter is being changed" && len(o.Reported.Override.Conflicts) == 0
	})

	// The cloud asks for the same thing otherwise, and for something else beside it.
	c.put(e.name, "apps/sampler", `{"mode":"host","state":"running","run":{`+forever+`,"env":{"A":"1"}}}`)
	until(t, "the conflict, and the change beside it", func() bool {
		r := c.overridden(e.name, "sampler").Reported
		return r.Override != nil && strings.Join(r.Override.Conflicts, " ") == "state" && r.Run.Env["A"] == "1"
	})
	if _, text := c.do(http.MethodGet, "/v1/things/"+e.name+"/receipts?shadow=app:sampler", ""); !contains(text, `"code":"overridden"`) {
		t.Errorf("receipts: %s", text)
	}
	if _, text := c.do(http.MethodGet, "/v1/nodes/"+e.name+"/apps/sampler/explain", ""); !contains(text, "the cloud has asked for something else since: state") {
		t.Errorf("explain: %s", text)
	}

	e.kill()
	e.start()
	e.await("the agent", func(s *status) bool {
		return len(s.Applications) == 1 && s.Applications[0].Phase == "stopped" && s.Link.Connected
	})
	c.proc.Kill()
	e.await("the cloud to be missed", func(s *status) bool { return !s.Link.Connected })
	e.must("set", "env", "sampler", "B=2")
	if out := e.must("explain", "sampler"); !strings.Contains(out, "conflict  state") {
		t.Errorf("explain on the node says %q", out)
	}
	c.start()
	until(t, "the cloud to hear of the second change", func() bool {
		r := c.overridden(e.name, "sampler").Reported
		return r.Phase == "stopped" && r.Run.Env["B"] == "2"
	})

	e.must("override", "clear", "sampler")
	until(t, "what the cloud desires", func() bool {
		o := c.overridden(e.name, "sampler")
		return o.Status.Converged && o.Reported.Phase == "running" && o.Reported.Override == nil && o.Reported.Run.Env["B"] == ""
	})
}

// The lease ends by itself, with the agent killed meanwhile and no cloud.
func TestOverride_YieldsWhenItsLeaseEnds(t *testing.T) {
	const lease = 4 * time.Second
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/sampler", onHost)
	c.converge(e.name, "apps/sampler")
	c.proc.Kill()
	began := time.Now()
	e.must("stop", "sampler", "--for", lease.String())
	e.kill()
	e.start()
	e.await("the override after the restart", func(s *status) bool { return len(s.Applications) == 1 && s.Applications[0].Phase == "stopped" })
	e.await("the application to run again", func(s *status) bool { return len(s.pids()) == 1 })
	if after := time.Since(began); after < lease-time.Second {
		t.Errorf("it ran again after %s of %s", after, lease)
	}
	c.start()
	until(t, "the cloud to hear of it", func() bool {
		o := c.overridden(e.name, "sampler")
		return o.Status.Converged && o.Reported.Override == nil
	})
}

// What is installed on the node without a cloud is told to the cloud as what it is,
// survives its syncs, and is adopted by it without being disturbed; what is
// uninstalled goes from the cloud too.
func TestOverride_InstalledOnTheNode(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	c.proc.Kill()
	e.start()
	e.await("the agent", func(*status) bool { return true })
	for _, name := range []string{"kept", "tried"} {
		file := filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, `{"kind":"application","name":%q,"desired":%s}`, name, onHost), 0o600); err != nil {
			t.Fatal(err)
		}
		e.must("install", "-f", file, "--reason", "commissioning")
	}
	alone := e.await("both to run", func(s *status) bool { return len(s.pids()) == 2 }).pids()
	c.start()
	for name, pid := range alone {
		until(t, name+" to be told", func() bool {
			r := c.overridden(e.name, name).Reported
			return r.Override != nil && r.Override.Kind == "installed" && r.Phase == "running" && r.PID == pid && r.Mode == "host"
		})
	}
	c.put(e.name, "apps/kept", onHost)
	until(t, "the adoption", func() bool {
		o := c.overridden(e.name, "kept")
		return o.Status.Converged && o.Reported.Override == nil && o.Reported.PID == alone["kept"]
	})
	e.must("uninstall", "tried")
	until(t, "the cloud to forget what was uninstalled", func() bool {
		code, _ := c.do(http.MethodGet, "/v1/nodes/"+e.name+"/apps/tried", "")
		return code == http.StatusNotFound
	})
	e.kill()
	e.start()
	now := e.await("the agent", func(s *status) bool { return s.Link.Connected && len(s.pids()) == 1 }).pids()
	if now["kept"] != alone["kept"] {
		t.Errorf("pid %d, was %d", now["kept"], alone["kept"])
	}
	c.delete(e.name, "apps/kept")
	nothingLeft(t, e)
}

// An application of the cloud's that is taken off the node comes back when the
// override ends.
func TestOverride_Uninstalled(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/sampler", onHost)
	c.converge(e.name, "apps/sampler")
	e.must("uninstall", "sampler")
	if left := e.processes("sampler"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	until(t, "the cloud to hear of it", func() bool {
		o := c.overridden(e.name, "sampler")
		return o.Reported.Override != nil && o.Reported.Override.Kind == "removed" && o.Reported.Phase == "pending"
	})
	if out := e.must("list"); !strings.Contains(out, "uninstalled") {
		t.Errorf("list says %q", out)
	}
	e.must("override", "clear", "sampler")
	c.converge(e.name, "apps/sampler")
}

// exec gets into each mode, passes on input, output and exit status, and gives a
// terminal where there is one. A restart takes another process, and says so.
func TestLocal_ExecLogsRestart(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", container(`,"env":{"OF":"web"}`))
	c.put(e.name, "apps/probe", attached)
	c.put(e.name, "apps/sampler", `{"mode":"host","run":{"command":["/bin/sh","-c","echo began; exec sleep 1000"]}}`)
	c.converge(e.name, "apps/web", "apps/probe", "apps/sampler")
	for app, want := range map[string]string{"web": "web web 1", "probe": "probe  1", "sampler": "sampler  "} {
		out, problems, code := e.local("exec", app, "--", "/bin/sh", "-c", `echo $GNOMON_APP $OF"" $(cat /proc/1/comm | grep -c '^sh$'); exit 5`)
		if app == "sampler" {
			out = strings.TrimRight(out, "0123456789\n") + "\n"
		}
		if code != 5 || strings.Join(strings.Fields(out), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s: status %d, %q, %s; want %q", app, code, out, problems, want)
		}
	}
	if _, problems, code := e.local("exec", "web", "--", "/no/such"); code != 126 || !strings.Contains(problems, "/no/such") {
		t.Errorf("what isn't there: status %d, %s", code, problems)
	}
	for _, app := range []string{"web", "sampler"} {
		script := `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], ["gnomon-edge", "exec", "--data", sys.argv[2], sys.argv[3], "--", "/bin/sh", "-c", "test -t 0 && test -t 1 && read x && echo got:$x && exit 6"])
os.write(fd, b"typed\n")
out = b""
while True:
    try: d = os.read(fd, 4096)
    except OSError: break
    if not d: break
    out += d
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"got:typed" in out)
`
		cmd := exec.Command("/usr/bin/python3", "-c", script, agentPath, e.data, app)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "6 True" {
			t.Errorf("%s with a terminal: %v %s", app, err, out)
		}
	}
	if out := e.must("logs", "sampler", "--tail", "1"); out != "began\n" {
		t.Errorf("logs: %q", out)
	}
	before := e.ask().pids()
	if out := e.must("restart", "web"); !strings.Contains(out, "web restarted: pid") {
		t.Errorf("restart says %q", out)
	}
	after := e.await("all to run again", func(s *status) bool { return len(s.pids()) == 3 }).pids()
	if after["web"] == before["web"] || after["probe"] == before["probe"] || after["sampler"] != before["sampler"] {
		t.Errorf("pids before %v, after %v", before, after)
	}
	if out := e.must("logs", "sampler"); out != "began\n" {
		t.Errorf("logs: %q", out)
	}
}
