package experiment

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/simulator/cloudtest"
)

func TestMain(m *testing.M) {
	code := cloudtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

func TestFiftyNodesConvergeUnderFaults(t *testing.T) {
	cloud := cloudtest.Start(t)
	stages := map[string]int{}
	r, err := Run(t.Context(), Config{
		HTTP: "http://" + cloud.HTTP, MQTT: cloud.MQTT, Nodes: 50, Apps: 2, Rounds: 2,
		Delay: 5 * time.Millisecond, FaultRate: 0.1, Seed: uint64(time.Now().UnixNano()), Timeout: 30 * time.Second,
		Progress: func(p Progress) { stages[p.Stage] = p.Done },
	})
	if err != nil || !r.OK() {
		var text strings.Builder
		r.WriteText(&text)
		t.Fatalf("error %v\n%s", err, &text)
	}
	if r.Changes != 200 || r.Verified != 100 || r.Convergence.Count != 200 || r.Write.Count != 200 {
		t.Errorf("%+v", r)
	}
	faults := r.Faults.CutBefore + r.Faults.CutAfter + r.Faults.FailedApply
	if faults == 0 || r.Reconnects == 0 || r.Errors != 0 {
		t.Errorf("%d faults, %d reconnects, %d errors", faults, r.Reconnects, r.Errors)
	}
	if r.Traffic.MessagesUp.Total == 0 || r.Traffic.BytesDown.Max == 0 || r.Connect.Count != 50 {
		t.Errorf("traffic %+v, connects %+v", r.Traffic, r.Connect)
	}
	for stage, done := range map[string]int{"connect": 50, "round 1": 100, "round 2": 100, "verify": 100} {
		if stages[stage] != done {
			t.Errorf("stage %s ended at %d, want %d", stage, stages[stage], done)
		}
	}
}

func TestStragglersAreNamed(t *testing.T) {
	cloud := cloudtest.Start(t)
	r, err := Run(t.Context(), Config{
		HTTP: "http://" + cloud.HTTP, MQTT: cloud.MQTT, Nodes: 12, Delay: time.Hour, Seed: 1, Timeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() || r.Straggling != 12 || len(r.Stragglers) != MaxStragglers || r.Stragglers[0].Node != "sim-00000" || !strings.Contains(r.Stragglers[0].Why, "pending") {
		t.Errorf("straggling %d, named %+v", r.Straggling, r.Stragglers)
	}
}
