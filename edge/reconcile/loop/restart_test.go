package loop

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

const forever = `{"mode":"host","run":{"command":["x"]}}`

// A restart ends the instance and starts another, once, and what is attached to
// it before; what has given up is started at once.
func TestLoop_Restart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, `{"component":"c@1","mode":"container"}`)
		w.want("app:probe", 1, `{"mode":"attach","attachTo":"web","run":{"command":["x"]}}`)
		w.want("app:once", 1, `{"mode":"host","run":{"command":["x"],"restart":{"policy":"never"}}}`)
		w.want("app:off", 1, `{"mode":"host","state":"stopped","run":{"command":["x"]}}`)
		w.runner.took()
		if err := w.loop.Restart(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if got := w.runner.took(); got != "stop:probe stop:web start:web start:probe" {
			t.Errorf("did %s", got)
		}
		w.runner.exits("once", 3)
		w.says("app:once", map[string]string{"phase": `"failed"`})
		if err := w.loop.Restart(t.Context(), "once"); err != nil {
			t.Fatal(err)
		}
		if got := w.runner.took(); got != "start:once" {
			t.Errorf("did %s", got)
		}
		time.Sleep(time.Hour)
		if got := w.runner.took(); got != "" {
			t.Errorf("did %s, though nothing was asked for", got)
		}
		for app, want := range map[string]error{"none": ErrUnknown, "off": ErrStopped} {
			if err := w.loop.Restart(t.Context(), app); !errors.Is(err, want) {
				t.Errorf("%s: %v", app, err)
			}
		}
	})
}

// A restart whose start fails doesn't turn into one after the other.
func TestLoop_RestartThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, forever)
		w.runner.took()
		w.runner.refuses("web", errors.New("no"))
		if err := w.loop.Restart(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if got := w.runner.took(); got != "stop:web start:web" {
			t.Errorf("did %s", got)
		}
		w.says("app:web", map[string]string{"phase": `"backoff"`})
	})
}
