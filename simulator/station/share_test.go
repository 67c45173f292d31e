package station

import (
	"context"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/storetest"
	"gnomon/schema"
)

// Two policies of one CCO share its window of meters: never more at once than the
// narrower one allows, the more important one first, and the other in time all the
// same, with back-fill behind both.
func TestEngine_PoliciesShareTheCCO(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 200, Share698: 0.5, Branches: 60, Now: today}, "")
		store := storetest.NewMemory()
		e := collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceQ376TCP: r.driver}, Store: store, Now: today})
		source := `"kind":"q376-tcp","address":"cco:1","parallel":`
		all := r.area.Meters()
		later := freezePolicy(t, source+`4`, all, `,"priority":8,"backfill":{"at":["+1m"],"days":1}`)
		later.Meters = later.Meters[100:]
		first := freezePolicy(t, source+`7`, all, `,"priority":2`)
		first.Meters = first.Meters[:100]
		for name, p := range map[string]*schema.Policy{"first": first, "later": later} {
			if err := e.Apply(name, 1, p); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = e.Run(ctx); close(ended) }()
		time.Sleep(44 * time.Minute)
		a, _ := e.Report("first")
		b, _ := e.Report("later")
		cancel()
		<-ended
		if a.Cycle.Success != 100 || b.Cycle.Success != 100 || a.Cycles != 2 || b.Cycles != 2 || a.Cycle.Overruns+b.Cycle.Overruns != 0 {
			t.Errorf("%+v\n%+v", a.Cycle, b.Cycle)
		}
		if a.Cycle.Duration*5 > b.Cycle.Duration*4 {
			t.Errorf("the first took %v, the later %v: both had the same", a.Cycle.Duration, b.Cycle.Duration)
		}
		if st := r.area.Status(); st.Most != 4 || len(st.Denied) > 0 {
			t.Errorf("%d meters at once, denied %v", st.Most, st.Denied)
		}
		if b.Backfill.Points == 0 {
			t.Errorf("%+v: nothing was filled", b.Backfill)
		}
	})
}
