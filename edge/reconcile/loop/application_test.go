package loop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/artifact"
	"gnomon/edge/state"
	"gnomon/edge/workload"
)

const web = `{"component":"web@1","run":{"env":{"A":"1"}}}`

func TestLoop_RunsAndMirrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 3, web)
		if got := w.runner.took(); got != "resolve:web@1 start:web" {
			t.Errorf("steps: %s", got)
		}
		w.says("app:web", map[string]string{
			"phase": `"running"`, "observedVersion": "3", "pid": "101", "restarts": "0",
			"component": `"web@1"`, "run.env.A": `"1"`, "error": "", "exit": "",
		})
		w.says("", map[string]string{"node.applications.web": `"running"`, "node.bootEpoch": "7", "node.agent.version": `"1.0"`})
		w.runner.mu.Lock()
		s := w.runner.specs[0]
		w.runner.mu.Unlock()
		if !slices.Equal(s.Command, []string{"/entry", "arg"}) || !slices.Equal(s.Env, []string{"A=1", "B=image"}) ||
			s.Dir != "/work" || s.User != "7" || s.Root != "/web@1" {
			t.Errorf("spec: %+v", s)
		}
	})
}

// Until a change is applied, the report mirrors what was applied before.
func TestLoop_MirrorsOnlyWhatIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, web)
		gate := make(chan struct{})
		w.runner.block(gate)
		w.want("app:web", 2, `{"component":"web@2","run":{"env":{"A":"2"}}}`)
		w.says("app:web", map[string]string{"component": `"web@1"`, "run.env.A": `"1"`, "pid": "101", "phase": `"fetching"`, "observedVersion": "1"})
		close(gate)
		w.says("app:web", map[string]string{"component": `"web@2"`, "run.env.A": `"2"`, "pid": "102", "phase": `"running"`, "observedVersion": "2"})
	})
}

// A fetch nobody wants any more is broken off and counts as no failure.
func TestLoop_BreaksOffFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.runner.block(make(chan struct{}))
		w.want("app:web", 1, `{"component":"slow@1","run":{}}`)
		w.runner.block(nil)
		w.want("app:web", 2, `{"component":"quick@1","run":{}}`)
		w.says("app:web", map[string]string{"phase": `"running"`, "error": "", "component": `"quick@1"`})
	})
}

func TestLoop_ReportsFaultAndRecovers(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		code      string
		retryable string
	}{
		"absent":      {artifact.ErrComponentNotFound, `"component-not-found"`, "true"},
		"damaged":     {artifact.ErrDigestMismatch, `"digest-mismatch"`, "true"},
		"unsupported": {workload.ErrUnsupported, `"unsupported"`, "false"},
		"else":        {errors.New("disk on fire"), `"start-failed"`, "true"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				key := "web"
				if strings.HasPrefix(test.code, `"c`) || strings.HasPrefix(test.code, `"d`) {
					key = "web@1"
				}
				w.runner.refuses(key, fmt.Errorf("%w: in detail", test.err))
				w.boot()
				defer w.shutdown()
				w.want("app:web", 1, web)
				w.says("app:web", map[string]string{"error.code": test.code, "error.retryable": test.retryable, "observedVersion": "1", "component": ""})
				w.runner.refuses(key, nil)
				time.Sleep(10 * time.Second)
				if test.retryable == "true" {
					w.says("app:web", map[string]string{"phase": `"running"`, "error": ""})
					return
				}
				w.says("app:web", map[string]string{"phase": `"failed"`})
				w.want("app:web", 2, `{"component":"web@1","run":{"env":{"A":"2"}}}`)
				w.says("app:web", map[string]string{"phase": `"running"`, "error": ""})
			})
		})
	}
}

func TestLoop_RestartsWithPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, web)
		w.runner.exits("web", 9)
		w.says("app:web", map[string]string{"phase": `"backoff"`, "exit.code": "9", "pid": "", "error.code": `"exited"`})
		time.Sleep(time.Second)
		w.says("app:web", map[string]string{"phase": `"running"`, "pid": "102", "restarts": "1", "exit.code": "9", "error": ""})
	})
}

// A new agent finds everything as it was: what runs goes on, and what is
// remembered is on disk.
func TestLoop_NextAgentTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		w.want("app:web", 1, web)
		w.runner.exits("web", 9)
		time.Sleep(time.Second)
		w.want("app:broken", 1, `{"mode":"host","run":{"command":["/x"],"restart":{"policy":"never"}}}`)
		w.runner.exits("broken", 4)
		w.shutdown()
		w.runner.took()
		w.cloud.complete = false // nobody has told it what there is
		w.boot()
		defer w.shutdown()
		if got := w.runner.took(); got != "" {
			t.Errorf("the new agent did %s", got)
		}
		w.says("app:web", map[string]string{"phase": `"running"`, "restarts": "1", "run.env.A": `"1"`})
		w.says("app:broken", map[string]string{"phase": `"failed"`, "exit.code": "4"})
	})
}

// What is wrong leaves in force what was applied, across a restart too.
func TestLoop_InvalidKeepsTheLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		w.want("app:web", 1, web)
		w.runner.took()
		for range 2 {
			w.want("app:web", 2, `{"component":"web@1","mode":"wheelbarrow","run":{"env":{"A":"2"}}}`)
			w.says("app:web", map[string]string{"phase": `"running"`, "error.code": `"invalid"`, "observedVersion": "2", "run.env.A": `"1"`, "pid": "101"})
			w.shutdown()
			w.boot()
		}
		if got := w.runner.took(); got != "" {
			t.Errorf("it did %s", got)
		}
		w.shutdown()
	})
}

func TestLoop_DeletedIsForgottenOnceGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, web)
		w.runner.refuses("web", errors.New("busy"))
		w.cloud.set(state.Desired{Name: "app:web", Version: 2, Deleted: true})
		if w.cloud.forgotten("app:web") {
			t.Error("forgotten before it was gone")
		}
		if phase := w.cloud.get("").At("node", "applications", "web").Text(); phase != "stopping" {
			t.Errorf("the node says %q of it before it was gone", phase)
		}
		w.runner.refuses("web", nil)
		time.Sleep(5 * time.Second)
		if left := w.cloud.get("").At("node", "applications", "web"); left != nil {
			t.Errorf("the node still says %s of it", left.AppendJSON(nil))
		}
		if !w.cloud.forgotten("app:web") || w.disk.remembered(t, "app:web") != nil {
			t.Error("something of it is kept")
		}
	})
}

// What runs without being wanted goes only once the cloud has said what there is.
func TestLoop_UnknownIsRemovedOnlyWhenComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.runner.live["stray"] = workload.Status{Name: "stray", Instance: "s", State: workload.Running, PID: 5}
		w.cloud.complete = false
		w.boot()
		defer w.shutdown()
		if got := w.runner.took(); got != "" {
			t.Errorf("it did %s", got)
		}
		w.cloud.mu.Lock()
		w.cloud.complete = true
		w.cloud.mu.Unlock()
		w.cloud.changed <- struct{}{}
		if got := w.runner.took(); got != "remove:stray" {
			t.Errorf("it did %s", got)
		}
	})
}

// Nothing changes, so nothing is written: neither to disk nor to the cloud.
func TestLoop_IdleIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("", 1, `{"node":{"site":"s1"}}`)
		w.want("app:web", 1, web)
		writes, reports := w.disk.count(), w.cloud.count("app:web")+w.cloud.count("")
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.disk.count() != writes || w.cloud.count("app:web")+w.cloud.count("") != reports {
			t.Errorf("an idle hour cost %d writes and %d reports", w.disk.count()-writes, w.cloud.count("app:web")+w.cloud.count("")-reports)
		}
		w.says("", map[string]string{"node.site": `"s1"`, "node.observedVersion": "1"})
	})
}

// What is probed as unhealthy is started again; who depends on it waits for it to
// be healthy.
func TestLoop_Health(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:db", 1, `{"component":"db@1","run":{"health":{"tcp":{"port":5432},"startPeriod":"5s"}}}`)
		w.want("app:web", 1, `{"component":"web@1","dependsOn":["db"]}`)
		w.says("app:db", map[string]string{"phase": `"running"`, "health": `"starting"`})
		w.says("app:web", map[string]string{"phase": `"pending"`,
			"blockers": `[{"code":"waiting-for-dependency","message":"waiting for db: its health is starting","on":"db"}]`})
		w.ports.set("127.0.0.1:5432", true)
		time.Sleep(1500 * time.Millisecond)
		w.says("app:db", map[string]string{"health": `"healthy"`})
		w.says("app:web", map[string]string{"phase": `"running"`, "blockers": ""})
		w.runner.took()
		w.ports.set("127.0.0.1:5432", false)
		time.Sleep(20 * time.Second)
		w.says("app:db", map[string]string{"health": `"healthy"`})
		time.Sleep(time.Second)
		if got := w.runner.took(); got != "stop:db" {
			t.Errorf("it did %s", got)
		}
		w.says("app:db", map[string]string{"phase": `"backoff"`, "health": "", "error.code": `"unhealthy"`,
			"error.message": `"its probe failed 3 times in a row: connection refused"`})
		w.ports.set("127.0.0.1:5432", true)
		time.Sleep(1500 * time.Millisecond)
		w.says("app:db", map[string]string{"phase": `"running"`, "health": `"healthy"`, "error": "", "restarts": "1"})
		w.says("app:web", map[string]string{"phase": `"running"`, "restarts": "0"})
	})
}

// A configuration that fails before it is committed gives way to the one before,
// and isn't tried again, not even by the next agent.
func TestLoop_RollsBack(t *testing.T) {
	const careful = `,"run":{"health":{"tcp":{"port":80},"startPeriod":"5s"}},"update":{"rollback":true,"healthy":"20s"}}`
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		w.ports.set("127.0.0.1:80", true)
		w.want("app:web", 1, `{"component":"web@1"`+careful)
		w.says("app:web", map[string]string{"phase": `"running"`, "observedVersion": "0", "component": ""})
		time.Sleep(21 * time.Second)
		w.says("app:web", map[string]string{"phase": `"running"`, "observedVersion": "1", "component": `"web@1"`, "blockers": ""})
		w.runner.took()
		w.ports.set("127.0.0.1:80", false)
		w.want("app:web", 2, `{"component":"web@2"`+careful)
		if got := w.runner.took(); got != "resolve:web@2 stop:web start:web" {
			t.Errorf("it did %s", got)
		}
		w.says("app:web", map[string]string{"phase": `"running"`, "observedVersion": "1", "component": `"web@1"`, "error": "", "pid": "102"})
		if all := w.told.components(); !slices.Equal(all, []string{"web@1", "web@2"}) {
			t.Errorf("%q may be run from", all)
		}
		time.Sleep(30 * time.Second) // three failures after the start period
		if got := w.runner.took(); got != "stop:web start:web" {
			t.Errorf("it did %s", got)
		}
		rolledBack := map[string]string{"phase": `"running"`, "observedVersion": "2", "component": `"web@1"`, "pid": "103",
			"error.code": `"rolled-back"`, "error.retryable": "false",
			"error.message": `"version 2 gave way to version 1: unhealthy: its probe failed 3 times in a row: connection refused"`}
		w.says("app:web", rolledBack)
		w.shutdown()
		w.ports.set("127.0.0.1:80", true)
		w.boot()
		defer w.shutdown()
		time.Sleep(time.Hour)
		if got := w.runner.took(); got != "" {
			t.Errorf("the next agent did %s", got)
		}
		w.says("app:web", rolledBack)
		w.want("app:web", 3, `{"component":"web@3"`+careful)
		time.Sleep(30 * time.Second)
		w.says("app:web", map[string]string{"phase": `"running"`, "observedVersion": "3", "component": `"web@3"`, "error": ""})
	})
}
