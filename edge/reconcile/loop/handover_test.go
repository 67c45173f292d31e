package loop

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func taking(n, strategy string) string {
	return `{"component":"web@` + n + `","update":{"strategy":"` + strategy + `"},"run":{"network":"bridge"}}`
}

func TestLoop_HandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, taking("1", "auto"))
		w.says("app:web", map[string]string{"pid": "101", "beside": ""})
		w.runner.took()
		time.Sleep(time.Hour)
		w.want("app:web", 2, taking("2", "auto"))
		if got := w.runner.took(); got != "resolve:web@2 start:web" {
			t.Errorf("steps: %s", got)
		}
		w.says("app:web", map[string]string{
			"phase": `"running"`, "pid": "101", "component": `"web@1"`, "observedVersion": "1", "restarts": "0",
			"beside.pid": "102", "beside.state": `"running"`, "error": "",
		})
		if b := w.cloud.get("app:web").Get("blockers").Members(); len(keys(b)) != 1 {
			t.Errorf("blockers %s", w.cloud.get("app:web").Get("blockers").AppendJSON(nil))
		}
		// Another agent goes on with it.
		w.shutdown()
		w.boot()
		if got := w.runner.took(); got != "" {
			t.Errorf("steps: %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := w.runner.took(); got != "dismiss:web:i1" {
			t.Errorf("steps: %s", got)
		}
		w.says("app:web", map[string]string{
			"phase": `"running"`, "pid": "102", "component": `"web@2"`, "observedVersion": "2", "beside": "", "error": "", "blockers": "",
		})
		if got := w.loop.Status().Applications[0]; got.Beside != nil || got.Instance != "i2" {
			t.Errorf("status %+v", got)
		}
	})
}

func keys[K comparable, V any](all func(func(K, V) bool)) (out []V) {
	all(func(_ K, v V) bool { out = append(out, v); return true })
	return out
}

func TestLoop_TakesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, taking("1", "start-first"))
		time.Sleep(time.Hour)
		w.want("app:web", 2, taking("2", "start-first"))
		w.runner.took()
		w.runner.refuses("dismiss:web", errors.New("busy"))
		w.want("app:web", 3, taking("1", "start-first"))
		w.says("app:web", map[string]string{"pid": "101", "beside.pid": "102", "error.code": `"withdraw-failed"`})
		w.runner.refuses("dismiss:web", nil)
		time.Sleep(time.Minute)
		w.says("app:web", map[string]string{"pid": "101", "beside": "", "error": "", "observedVersion": "3"})
	})
}

func TestPlan_SaysWhatStartsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, taking("1", "auto"))
		time.Sleep(time.Hour)
		run, err := w.loop.Plan(t.Context(), Change{App: "web", Whole: true, Patch: parse(t, taking("2", "auto"))})
		if err != nil || len(run.Steps) != 3 || !run.Rest {
			t.Fatalf("%+v %v", run, err)
		}
		for i, want := range []string{"fetch web (web@2)", "start web", "retire web after 10s"} {
			got := run.Steps[i]
			got.Reason = ""
			if got.String() != want || got.Beside != (i == 1) {
				t.Errorf("step %d: %s, want %s", i, got, want)
			}
		}
	})
}
