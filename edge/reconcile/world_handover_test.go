package reconcile

import (
	"slices"
	"testing"

	"gnomon/edge/workload"
	"gnomon/schema"

	"pgregory.net/rapid"
)

// Most of what happens here happens while one instance takes over from another.
func TestWorld_TakesOver(t *testing.T) {
	planned := map[StepKind]int{}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.first = true
		for range rapid.IntRange(1, 3).Draw(rt, "apps") {
			w.edit()
		}
		for range rapid.IntRange(0, 60).Draw(rt, "events") {
			w.pass()
			w.misfortune()
		}
		w.settle()
		for kind, n := range w.steps {
			planned[kind] += n
		}
	})
	t.Logf("planned %v", planned)
	for _, kind := range []StepKind{"beside", Retire, Withdraw} {
		if planned[kind] == 0 && !t.Failed() {
			t.Errorf("nothing was learned of %s: %v", kind, planned)
		}
	}
}

// stop ends an instance, and the one beside it for good.
func (w *world) stop(name string, code int) {
	if st := w.inst[name]; st.Next != nil {
		st.Next = nil
		w.inst[name] = st
	}
	w.end(name, workload.Exited, code)
}

// dismiss is the runner's: it ends the former of two only while the other runs.
func (w *world) dismiss(s Step) bool {
	st := w.inst[s.App]
	switch {
	case st.Next != nil && st.Next.Instance == s.Instance:
		st.Next = nil
		w.inst[s.App] = st
	case st.Instance != s.Instance: // it ended before
	case st.Next == nil || st.Next.State != workload.Running:
		return false
	default:
		w.end(s.App, workload.Exited, 143)
	}
	return true
}

// endNext ends the second of two instances.
func (w *world) endNext(name string, as workload.State, code int) {
	st := w.inst[name]
	if st.Next == nil || !st.Next.State.Live() {
		return
	}
	next := *st.Next
	next.State, next.ExitCode, next.ExitedAt = as, code, w.now
	st.Next = &next
	w.inst[name] = st
}

// each lists instances, both of two.
func (w *world) each() (all []workload.Status) {
	for _, st := range w.observed() {
		if all = append(all, st); st.Next != nil {
			all = append(all, *st.Next)
		}
	}
	return all
}

// checkRetire: what was started beside another takes its place only once it has been
// well for as long as it has to.
func (w *world) checkRetire(a *App, st workload.Status, s Step) {
	next := st.Next
	switch {
	case next == nil || s.Instance != st.Instance || !w.right(a, *next) || st.Hash == a.Hash || a.Held:
		w.fail("%+v of %+v", s, st)
	case a.Want.Run.Health != nil && w.health[next.Instance].State != schema.HealthHealthy:
		w.fail("%+v: the other isn't well", s)
	}
	if well, known := w.ledger.well[next.Instance]; !known || w.now.Sub(well) < besideWell(a.Want) {
		w.fail("%+v: the other is well since %s only", s, well)
	}
}

// checkWithdraw: one of two goes only while the other is there, and for a reason.
func (w *world) checkWithdraw(a *App, st workload.Status, s Step) {
	next := st.Next
	switch {
	case next == nil || s.Instance != next.Instance || !st.State.Live():
		w.fail("%+v of %+v", s, st)
	case a == nil:
		if w.in.Gone[s.App] || w.in.Complete {
			w.fail("%+v, which is to be removed", s)
		}
		return
	case w.in.Memory[a.Name].Withdrawn == next.Instance: // once more
		return
	case a.Held || next.Hash != a.Hash || st.Hash == a.Hash || !next.State.Live() || w.ill(a, *next) || a.Want.State != schema.StateRunning:
		return
	case a.Want.Mode == schema.ModeAttach && !w.right(a, *next): // or the other
		return
	case !w.plan.Memory[a.Name].Beside.Since.Add(besideAtMost(a.Want)).After(w.now), w.in.Memory[a.Name].Seen == next.Instance:
		return
	}
	w.fail("%+v without a reason: %+v of %+v", s, next, a)
}

// checkTwo: what runs isn't ended for one that was to be started first.
func (w *world) checkTwo(a *App, st workload.Status, s Step) {
	if a.Want == nil || a.Want.Update.Strategy != schema.StartFirst || a.Want.State != schema.StateRunning || st.Hash == a.Hash || w.leaving(st.Target) {
		return
	}
	m := w.in.Memory[a.Name]
	if t := w.inst[st.Target]; st.Target != "" && (t.State != workload.Running || t.Instance != st.TargetInstance) || m.cannotStop() {
		return
	}
	if st.Next == nil || st.Next.State.Live() || st.Next.Hash != a.Hash || st.Next.ExitCode != 0 {
		w.fail("%+v, and nothing has taken its place: %+v", s, st)
	}
}

func (w *world) claimed(st workload.Status) []string {
	for _, o := range w.in.Observed {
		if o.Name == st.Name {
			return o.Claims
		}
	}
	return nil
}

// waitsBeside tells whether an application is to be started first, and can't.
func (w *world) waitsBeside(a *App) bool {
	return slices.ContainsFunc(w.plan.Views[a.Name].Blockers, func(b schema.Blocker) bool { return b.Code == schema.BlockedBeside })
}
