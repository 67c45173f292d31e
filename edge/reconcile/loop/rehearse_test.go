package loop

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/schema"
)

func lines(r DryRun) (all []string) {
	for _, s := range r.Steps {
		all = append(all, s.String())
	}
	return all
}

func TestLoop_Plan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, web)
		w.want("app:side", 1, `{"mode":"attach","attachTo":"web","run":{"command":["/x"]}}`)
		w.runner.took()
		writes := w.disk.count()
		plan := func(changes ...Change) DryRun {
			t.Helper()
			r, err := w.loop.Plan(t.Context(), changes...)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if r := plan(); len(r.Steps) != 0 || !r.Rest || len(r.Applications) != 2 {
			t.Errorf("of what is right: %+v", r)
		}
		r := plan(Change{App: "web", Patch: parse(t, `{"component":"web@2","run":{"env":{"A":"2"}}}`)})
		want := []string{
			"fetch web (web@2): it isn't ready to run from",
			"stop side: the container that it is in ends",
			"stop web: another run configuration: component, run.env.A",
			"start web: it shall run, and doesn't",
			"start side: it shall run, and doesn't",
		}
		if got := lines(r); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		for i, a := range r.Applications {
			if a.Phase != "running" || a.Instance != "" || i == 1 && a.Component != "web@2" {
				t.Errorf("%+v", a)
			}
		}
		if got := lines(plan(Change{App: "web", Delete: true})); !slices.Equal(got, []string{
			"stop side: the container that it is in ends", "remove web: it isn't wanted any more"}) {
			t.Errorf("%q", got)
		}
		r = plan(Change{App: "new", Whole: true, Patch: parse(t, `{"mode":"host","run":{"command":["/x"]},"dependsOn":["web"],"update":{"rollback":true}}`)})
		if got := lines(r); !slices.Equal(got, []string{"start new: it shall run, and doesn't"}) || !r.Rest {
			t.Errorf("%q", got)
		}
		var invalid *schema.Error
		if _, err := w.loop.Plan(t.Context(), Change{App: "web", Patch: parse(t, `{"mode":"wheelbarrow"}`)}); !errors.As(err, &invalid) {
			t.Errorf("%v", err)
		}
		if _, err := w.loop.Plan(t.Context(), Change{App: "No Name"}); err == nil {
			t.Error("planned for a name that can't be")
		}
		synctest.Wait()
		if got := w.runner.took(); got != "" || w.disk.count() != writes {
			t.Errorf("planning did %q, and wrote %d times", got, w.disk.count()-writes)
		}
	})
}

// What waits is told with how long.
func TestLoop_PlanWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("app:web", 1, `{"component":"web@1","run":{"restart":{"backoff":"20s"}}}`)
		w.runner.exits("web", 3)
		r, err := w.loop.Plan(t.Context())
		if got := lines(r); err != nil || !slices.Equal(got, []string{"start web after 20s: once more, after exited: exit status 3"}) {
			t.Errorf("%q, %v", got, err)
		}
		defer w.runner.hangs("resolve:slow@1", false)()
		w.want("app:slow", 1, `{"component":"slow@1"}`)
		r, err = w.loop.Plan(t.Context())
		if got := lines(r); err != nil || len(got) != 3 || r.Steps[0].Round != 0 || got[0] != "fetch slow (slow@1): it isn't ready to run from" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestLoop_PlanNeedsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		w.shutdown()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := w.loop.Plan(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
