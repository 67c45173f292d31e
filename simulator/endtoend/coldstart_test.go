package endtoend

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gnomon/simulator/cloudproc"
)

func contains(text []byte, part string) bool { return bytes.Contains(text, []byte(part)) }

// startMeter serves an SDM630 by pymodbus and returns its address.
func startMeter(t *testing.T) string {
	t.Helper()
	script, err := filepath.Abs("../../deploy/demo/sdm630_slave.py")
	if err != nil {
		t.Fatal(err)
	}
	address, err := cloudproc.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", script, "--tcp", address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && said.Len() > 0 {
			t.Logf("the meter said: %s", &said)
		}
	})
	until(t, "the meter (python3-pymodbus) to listen", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}

// With the cloud down, a node that lost its power brings everything back from
// its own disk. With the cloud back, both are of one mind again without anybody
// writing anything.
func TestColdStart(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	meter := startMeter(t)
	c.put(e.name, "apps/web", container(""))
	c.put(e.name, "apps/probe", attached)
	c.put(e.name, "apps/sampler", onHost)
	c.put(e.name, "policies/meter", `{"source":{"kind":"modbus-tcp","address":"`+meter+`","timeout":"500ms"},"meters":[{"id":"m1","model":"sdm630"}],"period":"200ms","report":{"every":"1s"}}`)
	items := []string{"apps/web", "apps/probe", "apps/sampler", "policies/meter"}
	c.converge(e.name, items...)
	until(t, "a reading", func() bool { return c.get(e.name, "policies/meter").Reported.Readings["m1"]["V1"].Value > 200 })
	before := e.await("all to run", func(s *status) bool { return len(s.pids()) == 3 }).pids()

	c.proc.Kill()
	e.powerCut()
	e.start()
	alone := e.await("everything to come back from disk", func(s *status) bool {
		return len(s.pids()) == 3 && len(s.Policies) == 1 && s.Policies[0].Cycles > 0 && s.Policies[0].Success == 1
	})
	if alone.Link.Connected {
		t.Fatal("there is a cloud")
	}
	for name, pid := range alone.pids() {
		if pid == before[name] {
			t.Errorf("%s still has pid %d", name, pid)
		}
	}

	c.start()
	for _, item := range items {
		until(t, item+" to be reported as it is now", func() bool {
			r := c.get(e.name, item)
			pid, isApp := alone.pids()[filepath.Base(item)]
			return r.Status.Converged && (!isApp || r.Reported.PID == pid)
		})
	}
	s := e.await("the outbox to empty", func(s *status) bool { return s.Link.Connected && len(s.Link.Pending) == 0 })
	if n := s.Link.Counters["pushes"]; n != 0 {
		t.Errorf("%d pushes of desired state: none was needed", n)
	}
	for name, pid := range s.pids() {
		if pid != alone.pids()[name] {
			t.Errorf("%s: pid %d before the cloud came back, %d after", name, alone.pids()[name], pid)
		}
	}
}

// A change made while the node was away arrives by the sync alone; nothing else
// is touched.
func TestChangedMeanwhile(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", container(""))
	c.put(e.name, "apps/sampler", onHost)
	c.converge(e.name, "apps/web", "apps/sampler")
	before := e.await("all to run", func(s *status) bool { return len(s.pids()) == 2 }).pids()
	e.kill()
	c.put(e.name, "apps/web", container(`,"env":{"A":"1"}`))
	e.start()
	c.converge(e.name, "apps/web", "apps/sampler")
	after := e.await("all to run", func(s *status) bool { return len(s.pids()) == 2 }).pids()
	if after["sampler"] != before["sampler"] || after["web"] == before["web"] {
		t.Errorf("pids before %v, after %v", before, after)
	}
}
