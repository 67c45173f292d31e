package replicas

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"gnomon/cloud/store/redis/redistest"
	"gnomon/simulator/figures"
)

// fault is one step of the experiment.
type fault struct {
	name   string
	strike func() // does it, and returns when it is over or others have taken over
	mend   func() // brings back what is still missing afterwards
	seen   func() []*replica
	lost   time.Duration // what was acknowledged this long before may be lost
}

// TestExperiment does everything to one deployment: three replicas, a Cluster of
// six, and nodes under traffic. After each fault every node is given a change
// and has to converge; the report says how long it took. `make replicas` runs it
// with a thousand nodes.
func TestExperiment(t *testing.T) {
	t.Parallel()
	before := figures.ReadCPUTime()
	cluster := redistest.StartCluster(t)
	all := start(t, 3, cluster.URL("g"))
	f := launch(t, all)
	var dead *redistest.Server
	nothing := func() {}
	everybody := func() []*replica { return all }
	var report strings.Builder
	table := tabwriter.NewWriter(&report, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\tlasted\tlongest gap\tall converged\tacknowledged\tfailed")
	for _, step := range []fault{
		{"none", nothing, nothing, everybody, 0},
		{"a replica killed", all[1].proc.Kill, func() { all[1].again(); all[1].ready() }, func() []*replica { return []*replica{all[0], all[2]} }, 0},
		{"a master killed, its replica takes over", func() {
			dead = cluster.Masters()[0]
			dead.Kill()
			cluster.AwaitMasters(3, dead)
		}, func() { dead.Again(); cluster.AwaitSlots() }, everybody, time.Second},
		{"all Redis servers killed and started", func() {
			for _, s := range cluster.Servers {
				s.Kill()
			}
			for _, s := range cluster.Servers {
				s.Again()
			}
			cluster.AwaitSlots()
		}, nothing, everybody, time.Second}, // a Redis replica that is up first may take over
		{fmt.Sprintf("%d slots moved", reshardSlots), func() {
			m := cluster.Masters()
			if err := cluster.Reshard(m[0], m[1], reshardSlots); err != nil {
				t.Fatal(err)
			}
			cluster.AwaitSlots()
		}, nothing, everybody, 0},
	} {
		acks, fails, began := f.acks.Load(), f.fails.Load(), time.Now()
		f.gap.begin()
		step.strike()
		lasted := time.Since(began)
		f.traffic(100)
		f.check(began.Add(-step.lost))
		longest := f.gap.end()
		settling := time.Now()
		f.settle(step.seen())
		fmt.Fprintf(table, "%s\t%v\t%v\t%v\t%d\t%d\n", step.name, round(lasted), round(longest), round(time.Since(settling)), f.acks.Load()-acks, f.fails.Load()-fails)
		step.mend()
		f.resume()
		f.traffic(100)
	}
	f.converge()
	if err := table.Flush(); err != nil {
		t.Error(err)
	}
	machine := figures.Describe(before)
	fmt.Fprintf(&report, "\n%d nodes, %d replicas, a Cluster of %d; %d × %s, %.1f %% stolen by the host\n",
		nodes, len(all), len(cluster.Servers), machine.CPUs, strings.TrimSpace(machine.CPU), machine.StealPercent)
	t.Logf("\n%s", report.String())
	if file := os.Getenv("REPORT"); file != "" && !t.Failed() {
		if err := os.WriteFile(file, []byte(report.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
