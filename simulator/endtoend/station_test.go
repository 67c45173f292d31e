package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gnomon/simulator/cloudproc"
)

var buildSimulator = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(agentPath), "gnomon-sim")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "gnomon/simulator/cmd/gnomon-sim").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build gnomon/simulator/cmd/gnomon-sim: %w: %s", err, out)
	}
	return path, nil
})

// simulatorPath returns the path of gnomon-sim, which is built once.
func simulatorPath(t *testing.T) string {
	t.Helper()
	path, err := buildSimulator()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// simulate runs a station area in a process of its own, which end kills.
func simulate(t *testing.T, program string, args ...string) (end func()) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "station.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"station"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // "signal: killed" is what was asked for
			log.Close()
		}
	}
	t.Cleanup(func() {
		end()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the station area said: %s", text[max(0, len(text)-2000):])
		}
	})
	return end
}

// areaPolicy reads an energy and a voltage of every meter, whatever it speaks.
func areaPolicy(node, address string, meters int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: policy\nnode: %s\nname: area\ndesired:\n  source: {kind: q376-tcp, address: %q, parallel: 10, timeout: 2s}\n  period: 3s\n  report: {every: 1s}\n", node, address)
	b.WriteString(`  items:
    - {name: EImport, di: "00010000", format: XXXXXX.XX, unit: kWh}
    - {name: V, di: "02010100", format: XXX.X, unit: V}
    - {name: EImport, oad: "00100201", scale: 0.01, unit: kWh}
    - {name: V, oad: "20000201", scale: 0.1, unit: V}
  meters:
`)
	for n := 1; n <= meters; n++ {
		protocol := "dlt645"
		if n%2 == 0 {
			protocol = "dlt698"
		}
		fmt.Fprintf(&b, "    - {id: m%d, address: \"%012d\", protocol: %s}\n", n, 202600000000+n, protocol)
	}
	return b.String()
}

// An operator applies a policy for a station area of 50 meters, one of them dead.
// The agent reads the others through the CCO, and their values are in the cloud;
// an area that goes and comes back is read again.
func TestStationArea(t *testing.T) {
	const meters = 50
	program := simulatorPath(t)
	address, err := cloudproc.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	area := []string{"--meters", fmt.Sprint(meters), "--share698", "0.5", "--listen", address, "--dead", "17", "--loss", "0.01", "--seed", "1",
		"--hop-delay", "2ms", "--meter-delay", "10ms", "--give-up", "1s", "--every", "0"}
	end := simulate(t, program, area...)
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	manifest := filepath.Join(t.TempDir(), "area.yaml")
	if err := os.WriteFile(manifest, []byte(areaPolicy(e.name, address, meters)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(c.cfg.Binary, "apply", "-f", manifest, "--server", "http://"+c.cfg.HTTP).CombinedOutput(); err != nil {
		t.Fatalf("gnomon apply: %v: %s", err, out)
	}
	c.converge(e.name, "policies/area")
	whole := func(s *status) bool { return len(s.Policies) == 1 && s.Policies[0].Success == meters-1 }
	e.await("a cycle of all meters but the dead one", whole)
	until(t, "the readings of all but the dead meter", func() bool {
		readings, good := c.get(e.name, "policies/area").Reported.Readings, 0
		for n := 1; n <= meters; n++ {
			m := readings[fmt.Sprint("m", n)]
			if v := m["V"].Value; v >= 215 && v < 225 && m["EImport"].Value > 0 {
				good++
			} else if n != 17 || v != 0 || m["EImport"].Value != 0 {
				return false
			}
		}
		return good == meters-1
	})
	end()
	e.await("the area to be missed", func(s *status) bool { return s.Policies[0].Success == 0 })
	simulate(t, program, area...)
	e.await("the area to be read again", whole)
}
