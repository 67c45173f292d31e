package loop

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Applications whose steps hang hold up nobody else, however many they are.
func TestLoop_StuckStepsKeepToThemselves(t *testing.T) {
	for _, kind := range []string{"resolve", "start"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.boot()
				defer w.shutdown()
				for i := range 12 {
					name := fmt.Sprint("stuck", i)
					call := "start:" + name
					if kind == "resolve" {
						call = "resolve:" + name + "@1"
					}
					defer w.runner.hangs(call, true)()
					w.want("app:"+name, 1, `{"component":"`+name+`@1"}`)
				}
				w.want("app:web", 1, web)
				time.Sleep(3*slotPatience + time.Second) // three rounds of four are before it, at the most
				w.says("app:web", map[string]string{"phase": `"running"`})
			})
		})
	}
}

// Fetches that take long leave starts their slots.
func TestLoop_StartsHaveSlotsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, web)
		for i := range 8 {
			ref := fmt.Sprintf("slow%d@1", i)
			defer w.runner.hangs("resolve:"+ref, false)()
			w.want(fmt.Sprintf("app:slow%d", i), 1, `{"component":"`+ref+`"}`)
		}
		w.runner.exits("web", 1)
		time.Sleep(time.Second)
		w.says("app:web", map[string]string{"phase": `"running"`, "restarts": "1"})
	})
}

func TestLoop_StartTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		release := w.runner.hangs("start:web", false)
		w.want("app:web", 1, web)
		time.Sleep(startPatience - 2*time.Second)
		w.says("app:web", map[string]string{"phase": `"starting"`, "error": ""})
		time.Sleep(2500 * time.Millisecond)
		w.says("app:web", map[string]string{"phase": `"backoff"`, "error.code": `"start-timeout"`, "error.retryable": "true"})
		release()
		time.Sleep(2 * time.Second)
		w.says("app:web", map[string]string{"phase": `"running"`, "error": ""})
	})
}

func TestLoop_StopTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, web)
		release := w.runner.hangs("stop:web", false)
		w.want("app:web", 2, `{"component":"web@1","state":"stopped"}`)
		time.Sleep(10*time.Second + stopPatience + 500*time.Millisecond)
		w.says("app:web", map[string]string{"phase": `"backoff"`, "error.code": `"stop-timeout"`, "error.retryable": "true"})
		release()
		time.Sleep(2 * time.Second)
		w.says("app:web", map[string]string{"phase": `"stopped"`, "error": ""})
	})
}

// A step that doesn't even end when it shall is told of, and doesn't keep the agent
// from ending.
func TestLoop_DeafStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		release := w.runner.hangs("start:web", true)
		w.want("app:web", 1, web)
		time.Sleep(startPatience + recheck + time.Second)
		w.says("app:web", map[string]string{"phase": `"starting"`,
			"blockers": `[{"code":"step-overdue","message":"the step start takes longer than it may"}]`})
		before := time.Now()
		w.shutdown()
		if took := time.Since(before); took != finishPatience {
			t.Errorf("the agent ended after %s", took)
		}
		release()
		go func() { <-w.loop.done }() // nobody is there to hear how it ended
		synctest.Wait()
	})
}

// A fetch may take its time while it gets further, and tells how far it is.
func TestLoop_FetchThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		defer w.runner.hangs("resolve:web@1", false)()
		w.runner.load("web@1", 0)
		w.want("app:web", 1, web)
		for done := range int64(10) {
			w.runner.load("web@1", 1+done)
			time.Sleep(time.Minute)
		}
		w.says("app:web", map[string]string{"phase": `"fetching"`, "error": "",
			"blockers": `[{"code":"fetching","done":10,"message":"fetching web@1","on":"web@1","total":100}]`})
		time.Sleep(stallPatience - 58*time.Second)
		w.says("app:web", map[string]string{"error.code": `"fetch-timeout"`, "error.retryable": "true"})
	})
}

// A change of desired breaks a fetch off, however it hangs, and while it waits
// for its turn.
func TestLoop_ChangeBreaksOffStuckFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		for i := range 6 {
			ref := fmt.Sprintf("slow%d@1", i)
			defer w.runner.hangs("resolve:"+ref, false)()
			w.want(fmt.Sprintf("app:slow%d", i), 1, `{"component":"`+ref+`"}`)
		}
		for i := range 6 {
			w.want(fmt.Sprintf("app:slow%d", i), 2, web)
		}
		for i := range 6 {
			w.says(fmt.Sprintf("app:slow%d", i), map[string]string{"phase": `"running"`, "error": "", "component": `"web@1"`})
		}
	})
}
