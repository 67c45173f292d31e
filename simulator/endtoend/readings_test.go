package endtoend

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/simulator/cloudproc"
)

// toldReadings reads what the one side or the other says it has: of each time, meter and
// item its value, or why there is none. Nothing is there twice.
func toldReadings(t *testing.T, text, missing string) map[string]string {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(lines) == 0 {
		t.Fatalf("no CSV: %v: %.500s", err, text)
	}
	column := make(map[string]int)
	for i, name := range lines[0] {
		column[name] = i
	}
	all := make(map[string]string)
	for _, line := range lines[1:] {
		at := strings.Replace(line[column["at"]], ".000Z", "Z", 1)
		key := at + " " + line[column["meter"]] + " " + line[column["item"]]
		if _, there := all[key]; there {
			t.Fatalf("%s is there twice", key)
		}
		all[key] = line[column["value"]] + line[column[missing]]
	}
	return all
}

// A policy is read while the line to the cloud is cut and the agent is killed, again
// and again: in the end the cloud has every reading that the node has, once, and the
// same.
func TestReadings_KilledAndCut(t *testing.T) {
	const meters = 6
	program := simulatorPath(t)
	address, err := cloudproc.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	simulate(t, program, "--meters", fmt.Sprint(meters), "--share698", "0.5", "--listen", address, "--dead", "5", "--seed", "1",
		"--hop-delay", "2ms", "--meter-delay", "10ms", "--give-up", "300ms", "--every", "0")
	c := newCloud(t)
	way := newLine(t, c.cfg.MQTT)
	e := newEdge(t, way.l.Addr().String())
	e.start()
	manifest := filepath.Join(t.TempDir(), "area.yaml")
	policy := strings.Replace(areaPolicy(e.name, address, meters), "report: {every: 1s}", "report: {every: 1s, batch: 20, maxDelay: 1s}", 1)
	if err := os.WriteFile(manifest, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(c.cfg.Binary, "apply", "-f", manifest, "--server", "http://"+c.cfg.HTTP).CombinedOutput(); err != nil {
		t.Fatalf("gnomon apply: %v: %s", err, out)
	}
	points := 0
	more := func(s *status) bool { return s.Readings.Points > points }
	for range 2 {
		points = e.await("readings on the node", more).Readings.Points
		e.kill()
		e.start()
		e.await("them to be there after a restart", func(s *status) bool { return s.Readings.Points >= points })
		way.set(false)
		s := e.await("readings that the cloud lacks", func(s *status) bool { return s.Readings.Points > points && s.Readings.Unsent > 0 && !s.Link.Connected })
		points = s.Readings.Points
		e.kill()
		e.start()
		way.set(true)
	}
	c.delete(e.name, "policies/area")
	e.await("all of it to be told", func(s *status) bool {
		return len(s.Policies) == 0 && s.Link.Connected && s.Readings.Points >= points && s.Readings.Unsent == 0
	})
	node := toldReadings(t, e.must("readings", "-o", "csv"), "reason")
	out, err := exec.Command(c.cfg.Binary, "readings", "--node", e.name, "--from", "1h", "--limit", "100000", "-o", "csv", "--server", "http://"+c.cfg.HTTP).Output()
	if err != nil {
		t.Fatalf("gnomon readings: %v", err)
	}
	cloud := toldReadings(t, string(out), "missing")
	for key, value := range node {
		if cloud[key] != value {
			t.Errorf("%s: the node has %q and the cloud %q", key, value, cloud[key])
		}
	}
	if len(cloud) != len(node) || len(node) < meters {
		t.Errorf("the node has %d readings and the cloud %d", len(node), len(cloud))
	}
}
