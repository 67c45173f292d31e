package loop

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/state"
)

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

// wantTraced is want for a write that comes with a trace and was on disk a moment ago.
func (w *world) wantTraced(name string, version uint64, desired string) {
	w.t.Helper()
	w.cloud.set(state.Desired{
		Name: name, Version: version, DesiredVersion: version, Value: parse(w.t, desired),
		Trace: traceID, At: time.Now().Add(-3 * time.Millisecond),
	})
	synctest.Wait()
}

func TestPlan_Steps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		w.wantTraced("app:web", 1, web)
		first := map[string]string{
			"plan.version": "1", "plan.trace": `"` + traceID + `"`,
			"plan.steps": `{"fetch":3,"plan":3,"start":3}`,
		}
		w.says("app:web", first)
		// What ends and is started again is no step of the change any more.
		w.runner.exits("web", 9)
		time.Sleep(2 * time.Second)
		first["restarts"] = "1"
		w.says("app:web", first)

		gate := make(chan struct{})
		w.runner.block(gate)
		w.wantTraced("app:web", 2, `{"component":"web@2","run":{"env":{"A":"2"}}}`)
		w.says("app:web", map[string]string{"observedVersion": "1", "plan.version": "2", "plan.steps": `{"fetch":3,"plan":3}`})
		time.Sleep(time.Second)
		close(gate)
		w.says("app:web", map[string]string{"observedVersion": "2", "plan.steps": `{"fetch":3,"plan":3,"start":1003,"stop":1003}`})

		w.want("app:web", 3, `{"component":"web@2","run":{"env":{"A":"2"},"restart":{"policy":"never"}}}`)
		w.says("app:web", map[string]string{"observedVersion": "3", "plan.version": "3", "plan.trace": "", "plan.steps": `{"plan":0}`})

		// The next agent says the same.
		reports := w.cloud.count("app:web")
		w.shutdown()
		w.boot()
		defer w.shutdown()
		w.says("app:web", map[string]string{"plan.version": "3", "plan.steps": `{"plan":0}`})
		if n := w.cloud.count("app:web"); n != reports {
			t.Errorf("a restart of the agent costs %d reports", n-reports)
		}
	})
}

// Before it is applied each try counts anew, and the pause shows as a blocker.
func TestPlan_FailsAndIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.runner.refuses("web", errors.New("no room"))
		w.boot()
		defer w.shutdown()
		w.wantTraced("app:web", 1, web)
		w.says("app:web", map[string]string{"phase": `"backoff"`, "plan.steps": `{"fetch":3,"plan":3,"start":3}`, "error.code": `"start-failed"`})
		w.runner.refuses("web", nil)
		time.Sleep(1500 * time.Millisecond)
		w.says("app:web", map[string]string{"phase": `"running"`, "plan.steps": `{"fetch":1003,"plan":3,"start":1003}`})
	})
}

func TestPlan_Policy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		w.wantTraced("collect:meter", 4, `{"source":{"kind":"modbus-tcp","address":"127.0.0.1:1"},"meters":[{"id":"m1","model":"sdm630"}],"period":"5s"}`)
		want := map[string]string{"plan.version": "4", "plan.trace": `"` + traceID + `"`, "plan.steps": `{"apply":3,"plan":3}`, "observedVersion": "4"}
		w.says("collect:meter", want)
		w.shutdown()
		time.Sleep(time.Minute)
		w.boot()
		w.says("collect:meter", want)
		w.wantTraced("collect:meter", 5, `{"source":{"kind":"modbus-tcp","address":"127.0.0.1:1"},"meters":[],"period":"x"}`)
		w.says("collect:meter", map[string]string{"plan.version": "5", "plan.steps": `{"plan":3}`, "error.code": `"invalid"`})
		w.shutdown()
	})
}

// Plans are forgotten with what they were for, and steps alone cost no write.
func TestPlan_OnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.wantTraced("app:web", 1, web)
		if got := w.disk.remembered(t, "app:web"); got == nil {
			t.Fatal("nothing is on disk")
		}
		w.cloud.set(state.Desired{Name: "app:web", Version: 2, Deleted: true})
		synctest.Wait()
		if len(w.loop.plans) != 0 || w.disk.remembered(t, "app:web") != nil {
			t.Errorf("kept: %v", w.loop.plans)
		}
	})
}
