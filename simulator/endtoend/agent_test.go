package endtoend

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The agent is killed at any moment, also while it is changing something. What
// it doesn't have to change keeps its process, what ends meanwhile is reported
// with its exit status, and nothing is ever left over or there twice.
func TestAgent_KilledTwentyTimes(t *testing.T) {
	const kills = 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", container(""))
	c.put(e.name, "apps/probe", attached)
	c.put(e.name, "apps/sampler", onHost)
	// These end when told to, with the status they are told.
	waiting := `{"mode":"host","run":{"command":["/bin/sh","-c","until [ -s $GNOMON_DATA/end ]; do sleep 0.02; done; exit $(cat $GNOMON_DATA/end)"],"restart":{"policy":"never"}}}`
	for i := range kills {
		c.put(e.name, "apps/job-"+strconv.Itoa(i), waiting)
	}
	c.put(e.name, "apps/churn", churn(0))
	all := []string{"apps/web", "apps/probe", "apps/sampler", "apps/churn"}
	c.converge(e.name, all...)
	before := e.await("all to run", func(s *status) bool { return len(s.pids()) == len(all)+kills }).pids()
	started := map[string]string{}
	for name, pid := range before {
		started[name] = began(t, pid)
	}
	for i := range kills {
		c.put(e.name, "apps/churn", churn(i+1))
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond) // the moment is what is random
		e.kill()
		// One job ends while nobody looks.
		end := filepath.Join(e.data, "apps", "job-"+strconv.Itoa(i), "data", "end")
		if err := os.WriteFile(end, []byte(strconv.Itoa(i+1)), 0o644); err != nil {
			t.Fatal(err)
		}
		e.start()
	}
	c.converge(e.name, all...)
	now := e.await("the agent", func(s *status) bool { return s.pids()["churn"] != 0 }).pids()
	for _, name := range []string{"web", "probe", "sampler"} {
		if now[name] != before[name] || began(t, now[name]) != started[name] {
			t.Errorf("%s: pid %d before, %d after", name, before[name], now[name])
		}
	}
	for i := range kills {
		job := "apps/job-" + strconv.Itoa(i)
		until(t, job+" to be reported", func() bool { return c.get(e.name, job).Reported.Exit != nil })
		if x := c.get(e.name, job).Reported.Exit; x.Code != i+1 || x.Signal != "" {
			t.Errorf("%s: exit %+v, want status %d", job, *x, i+1)
		}
	}
	if one := e.processes("churn"); len(one) > 2 || !one[now["churn"]] { // the shell and its sleep
		t.Errorf("churn: processes %v, want only those of %d", one, now["churn"])
	}
	for name := range before {
		c.delete(e.name, "apps/"+name)
	}
	nothingLeft(t, e)
}

func churn(n int) string {
	return `{"mode":"host","run":{` + forever + `,"env":{"ROUND":"` + strconv.Itoa(n) + `"},"stopGrace":"1s"}}`
}

// nothingLeft waits until a node that shall run nothing has nothing.
func nothingLeft(t *testing.T, e *edge) {
	t.Helper()
	e.await("no applications", func(s *status) bool { return len(s.Applications) == 0 })
	until(t, "every process to be gone", func() bool { return len(e.processes("")) == 0 })
	until(t, "every directory to be gone", func() bool {
		for _, d := range []string{"run", "apps"} {
			if left, err := os.ReadDir(filepath.Join(e.data, d)); err != nil || len(left) > 0 {
				return false
			}
		}
		return true
	})
}

// Deleting while the agent is away, in the order that hurts: the container
// before what is attached to it.
func TestAgent_DeletedMeanwhile(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", container(""))
	c.put(e.name, "apps/probe", attached)
	c.put(e.name, "apps/sampler", onHost)
	c.converge(e.name, "apps/web", "apps/probe", "apps/sampler")
	e.kill()
	for _, name := range []string{"web", "probe", "sampler"} {
		c.delete(e.name, "apps/"+name)
	}
	e.start()
	nothingLeft(t, e)
}

// What can't be run says why, and costs its neighbours nothing.
func TestAgent_ReportsFaults(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/good", onHost)
	c.put(e.name, "apps/absent", `{"component":"nowhere@1.0.0","mode":"container","run":{"command":["/bin/sh"]}}`)
	c.put(e.name, "apps/broken", `{"mode":"host","run":{"command":["/no/such/program"]}}`)
	c.put(e.name, "apps/lonely", `{"mode":"attach","attachTo":"nobody","run":{"command":["/bin/sh"]}}`)
	c.put(e.name, "apps/crashing", `{"mode":"host","run":{"command":["/bin/sh","-c","exit 3"],"restart":{"policy":"on-failure","maxRetries":2,"backoff":"100ms"}}}`)
	c.converge(e.name, "apps/good")
	pid := c.get(e.name, "apps/good").Reported.PID
	for app, code := range map[string]string{"absent": "component-not-found", "broken": "invalid", "crashing": "retries-exhausted"} {
		until(t, app+" to report "+code, func() bool {
			r := c.get(e.name, "apps/"+app).Reported
			return r.Error != nil && r.Error.Code == code
		})
	}
	r := c.get(e.name, "apps/crashing").Reported
	if r.Phase != "failed" || r.Restarts != 2 || r.Exit == nil || r.Exit.Code != 3 {
		t.Errorf("crashing: %+v", r)
	}
	if code, text := c.do(http.MethodGet, "/v1/nodes/"+e.name+"/apps/lonely/explain", ""); code != http.StatusOK ||
		!contains(text, "target nobody missing") {
		t.Errorf("explain lonely: %d %s", code, text)
	}
	if now := c.get(e.name, "apps/good").Reported; now.PID != pid || now.Phase != "running" {
		t.Errorf("good: pid %d before, %+v after", pid, now)
	}
}
