package reconcile

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// check holds the last plan against what every plan promises.
func (w *world) check() {
	w.checkSteps()
	for i := range w.in.Apps {
		a := &w.in.Apps[i]
		w.checkView(a)
		w.checkAccount(a)
		w.checkCommit(a)
	}
	for _, n := range w.plan.Cancel {
		if w.in.Busy[n].Kind != Fetch {
			w.fail("%s: cancels %+v", n, w.in.Busy[n])
		}
	}
	for _, st := range w.in.Observed {
		if _, known := w.in.Memory[st.Name]; !known {
			continue
		}
		if _, kept := w.plan.Memory[st.Name]; !kept {
			w.fail("%s: forgotten while it is there", st.Name)
		}
	}
	for _, n := range w.plan.Gone {
		if _, busy := w.in.Busy[n]; busy || w.inst[n].Instance != "" || !w.in.Gone[n] {
			w.fail("%s: not gone", n)
		}
	}
	if w.plan.Wake.Before(w.now) && !w.plan.Wake.IsZero() {
		w.fail("wake %s is over", w.plan.Wake)
	}
}

func (w *world) wanted(name string) *App {
	for i := range w.in.Apps {
		if w.in.Apps[i].Name == name {
			return &w.in.Apps[i]
		}
	}
	return nil
}

func (w *world) stepOf(name string) Step {
	for _, s := range w.plan.Steps {
		if s.App == name {
			return s
		}
	}
	return Step{}
}

func (w *world) checkSteps() {
	for i, s := range w.plan.Steps {
		if i > 0 && s.App <= w.plan.Steps[i-1].App {
			w.fail("two steps for one, or in disorder: %+v", w.plan.Steps)
		}
		if b, busy := w.in.Busy[s.App]; busy {
			w.fail("%+v while %+v is under way", s, b)
		}
		a, st := w.wanted(s.App), w.inst[s.App]
		if s.Kind == Stop || s.Kind == Remove || s.Kind == Retire {
			w.checkAlone(s)
		}
		switch {
		case s.Kind == Withdraw:
			w.checkWithdraw(a, st, s)
		case a == nil:
			removable := w.in.Gone[s.App] || w.in.Complete
			if (s.Kind != Remove || !removable) && (s.Kind != Stop || removable || !w.leaving(st.Target)) {
				w.fail("%+v, which isn't wanted", s)
			}
		case s.Kind == Fetch:
			if w.in.Fetched[s.Component] || s.Component != a.Want.Component || a.Held {
				w.fail("%+v is not needed", s)
			}
			w.checkRight(a, st, s)
		case s.Kind == Start:
			w.checkStart(a, st, s)
		case s.Kind == Stop:
			w.checkStop(a, st, s)
		case s.Kind == Reload:
			w.checkReload(a, st, s)
		case s.Kind == Retire:
			w.checkRetire(a, st, s)
		default:
			w.fail("%+v, which is wanted", s)
		}
	}
}

// checkAlone: nobody is in a container that is ended, or about to join it,
// except those that were asked to end in vain.
func (w *world) checkAlone(s Step) {
	st := w.inst[s.App]
	for _, other := range w.in.Observed {
		if other.Target == s.App && other.State.Live() && !w.in.Memory[other.Name].cannotStop() {
			w.fail("%+v while %s is attached", s, other.Name)
		}
	}
	for n, b := range w.in.Busy {
		if b.Kind == Start && b.TargetInstance != "" && b.TargetInstance == st.Instance {
			w.fail("%+v while %s is joining", s, n)
		}
	}
}

// leaving tells whether a container is on its way out.
func (w *world) leaving(name string) bool {
	if name == "" {
		return false
	}
	if b := w.in.Busy[name]; b.Kind == Stop || b.Kind == Remove {
		return true
	}
	if w.wanted(name) == nil {
		return w.in.Gone[name] || w.in.Complete
	}
	v := w.plan.Views[name]
	return v.Phase == Stopping || v.Phase == Backoff && w.inst[name].State.Live()
}

// right tells whether what runs is what is wanted.
func (w *world) right(a *App, st workload.Status) bool {
	if a.Want == nil || a.Want.State != schema.StateRunning || st.State != workload.Running || st.Hash != a.Hash {
		return false
	}
	t := w.inst[st.Target]
	return st.Target == "" || t.State == workload.Running && t.Instance == st.TargetInstance
}

func (w *world) checkRight(a *App, st workload.Status, s Step) {
	if w.right(a, st) && !w.leaving(st.Target) && !w.curable(a, st) {
		w.fail("%+v, but it runs as it is wanted", s)
	}
}

// ill tells whether what runs as it is wanted is found unhealthy.
func (w *world) ill(a *App, st workload.Status) bool {
	return a != nil && a.Want != nil && st.State == workload.Running && st.Hash == a.Hash && a.Want.Run.Health != nil &&
		w.health[st.Instance].State == schema.HealthUnhealthy
}

// curable tells whether it would be started again, too.
func (w *world) curable(a *App, st workload.Status) bool {
	r := a.Want.Run.Restart
	return w.ill(a, st) && r.Policy != schema.RestartNever && (r.MaxRetries == 0 || w.in.Memory[a.Name].about(a.Hash).Attempts < r.MaxRetries)
}

// serves tells whether others can rely on an application.
func (w *world) serves(name string) bool {
	a, st := w.wanted(name), w.inst[name]
	return st.State == workload.Running && (a.ProbeOf(st) == nil || w.health[st.Instance].State == schema.HealthHealthy)
}

// unblocked tells whether what an application needs is there.
func (w *world) unblocked(a *App) bool {
	for _, n := range a.Want.DependsOn {
		m := w.plan.Memory[n]
		if w.wanted(n) == nil || !w.serves(n) && !(m.Done && m.Fault == nil) {
			return false
		}
	}
	if a.Want.Mode != schema.ModeAttach {
		return true
	}
	t := w.inst[a.Want.AttachTo]
	return w.wanted(a.Want.AttachTo) != nil && t.State == workload.Running && t.Mode == schema.ModeContainer && !w.leaving(a.Want.AttachTo)
}

func (w *world) startable(a *App) bool {
	return !a.Held && (a.Want.Component == "" || w.in.Fetched[a.Want.Component]) && w.unblocked(a)
}

func (w *world) checkStart(a *App, st workload.Status, s Step) {
	m := w.plan.Memory[a.Name]
	switch {
	case st.State.Live() != (s.Former != ""), s.Former != "" && (s.Former != st.Instance || st.Next != nil || st.Hash == a.Hash || !a.Want.Update.StartsFirst()):
		w.fail("%+v while there is %+v", s, st)
	case s.Former != "" && len(workload.Clash(w.claimed(st), claimsOf(a))) > 0:
		w.fail("%+v beside what needs the same", s)
	case !w.startable(a) || s.Hash != a.Hash || a.Want.State != schema.StateRunning:
		w.fail("%+v can't start", s)
	case !a.back && w.ledger.rejected[a.Name] == rejection{a.Version, s.Hash}:
		w.fail("%+v was tried already", s)
	case m.Done || m.Until.After(w.now) || m.Fault != nil && !m.Fault.Retryable:
		w.fail("%+v too early: %+v", s, m)
	case a.Want.Mode == schema.ModeAttach && s.TargetInstance != w.inst[a.Want.AttachTo].Instance:
		w.fail("%+v in the wrong container", s)
	}
}

func (w *world) checkStop(a *App, st workload.Status, s Step) {
	w.checkRight(a, st, s)
	w.checkTwo(a, st, s)
	switch {
	case !st.State.Live():
		w.fail("%+v: it doesn't run", s)
	case w.leaving(st.Target):
	case a.Want == nil:
		w.fail("%+v: nothing is known of it", s)
	case a.Want.State == schema.StateStopped || st.Hash == a.Hash:
	case st.Next != nil && exitOf(*st.Next).clean(): // which has done what it had to
	case !w.startable(a) && !w.in.Memory[a.Name].cannotStop():
		w.fail("%+v: what replaces it can't start", s)
	}
}

// checkReload: what goes on is given nothing but other files.
func (w *world) checkReload(a *App, st workload.Status, s Step) {
	runs, _, _ := strings.Cut(st.Hash, reloadable)
	if wanted, _, ok := strings.Cut(a.Hash, reloadable); !ok || runs != wanted || st.Hash == a.Hash || s.Hash != a.Hash || st.State != workload.Running {
		w.fail("%+v of %s", s, st.Hash)
	}
	if !w.startable(a) || a.Want.State != schema.StateRunning || w.leaving(st.Target) || w.plan.Memory[a.Name].Until.After(w.now) {
		w.fail("%+v too early", s)
	}
	w.checkRight(a, st, s)
}

func (w *world) checkView(a *App) {
	v, ok := w.plan.Views[a.Name]
	st, m, step := w.inst[a.Name], w.plan.Memory[a.Name], w.stepOf(a.Name)
	_, busy := w.in.Busy[a.Name]
	if !ok || v.Phase == "" {
		w.fail("%s: nothing to say", a.Name)
	}
	if m.Until.After(w.now.Add(longestPause)) || m.Until.After(w.now.Add(longestOfSteps)) && a.Want != nil && a.Want.Run.Restart.BackoffMax.D() <= longestOfSteps {
		w.fail("%s: waits until %s", a.Name, m.Until)
	}
	if v.Phase == Backoff && (w.plan.Wake.IsZero() || w.plan.Wake.After(m.Until)) {
		w.fail("%s: waits until %s, but wake is %s", a.Name, m.Until, w.plan.Wake)
	}
	if a.Fault != nil && v.Fault != a.Fault || v.Fault != nil && v.Observed != a.Version {
		w.fail("%s: fault %+v, version %d", a.Name, v.Fault, v.Observed)
	}
	if m.Applied.Version > a.Version || a.Fault != nil && m.Applied != w.in.Memory[a.Name].Applied && (!a.back || m.Applied != m.Good) {
		w.fail("%s: version %d applied of %d", a.Name, m.Applied.Version, a.Version)
	}
	if busy {
		return
	}
	live := st.State.Live()
	for phase, is := range map[Phase]bool{
		Running: live && step.Kind != Stop, Starting: step.Kind == Start || live, Fetching: step.Kind == Fetch, Stopping: live,
		Stopped: !live, Failed: !live, Pending: !live && len(v.Blockers) > 0, Backoff: true,
	} {
		if v.Phase == phase && !is {
			w.fail("%s: said to be %s, step %+v, status %+v", a.Name, phase, step, st)
		}
	}
	if w.right(a, st) && !w.leaving(st.Target) && v.Phase != Running && !w.curable(a, st) {
		w.fail("%s: said to be %s", a.Name, v.Phase)
	}
}

// checkAccount: every end counts at most once, and only when it was one of its own.
func (w *world) checkAccount(a *App) {
	st := w.inst[a.Name]
	before, after := w.in.Memory[a.Name].about(a.Hash), w.plan.Memory[a.Name]
	if st.State.Live() {
		if b, seen := w.ledger.boots[st.Instance]; seen && b != w.boot {
			w.fail("%s survived a reboot", st.Instance)
		}
		w.ledger.boots[st.Instance] = w.boot
		delete(w.ledger.counted, st.Instance) // it failed beside another that is gone, and goes on
	}
	if st.State.Live() && st.Next != nil && after.Seen == st.Next.Instance && after.Seen != before.Seen { // it failed beside this one
		if w.ledger.counted[after.Seen] || w.ledger.asked[after.Seen] || after.Attempts != before.Attempts+1 || after.Done != before.Done {
			w.fail("%s: %s accounted for: %+v, then %+v", a.Name, after.Seen, before, after)
		}
		w.ledger.counted[after.Seen] = true
		return
	}
	if after.Done && !before.Done && st.Next != nil && exitOf(*st.Next).clean() {
		return
	}
	if after.Seen == before.Seen || st.State.Live() {
		if after.Attempts > before.Attempts || after.Done && !before.Done {
			w.fail("%s: a failure of nothing: %+v, then %+v", a.Name, before, after)
		}
		return
	}
	if after.Seen != st.Instance || w.ledger.counted[st.Instance] {
		w.fail("%s: %s accounted for, it is %s", a.Name, after.Seen, st.Instance)
	}
	w.ledger.counted[st.Instance] = true
	boot, seen := w.ledger.boots[st.Instance]
	if (w.ledger.asked[st.Instance] || seen && boot != w.boot || st.Hash != a.Hash) &&
		(after.Attempts > before.Attempts || after.Done && !before.Done) { // less of it is another policy's word
		w.fail("%s: %s was ended, and counts as a failure: %+v, then %+v", a.Name, st.Instance, before, after)
	}
}

// checkCommit: what is gone back to ran well for as long as it had to, and is what
// is reported at the latest then.
func (w *world) checkCommit(a *App) {
	st, before, after := w.inst[a.Name], w.in.Memory[a.Name], w.plan.Memory[a.Name]
	since := w.wellSince(a, st)
	if st.Next != nil {
		w.wellSince(a, *st.Next)
	}
	_, busy := w.in.Busy[a.Name]
	if !busy && after.Rejected.Whole != "" && after.Good.Desired == nil && !after.Rejected.Rebuild && (after.Rejected.Serves != st.Hash || !st.State.Live()) {
		w.fail("%s: rejected with nothing to go back to", a.Name)
	}
	if a.back && (!a.LastOK || a.Fault == nil || a.Fault.Code != codeRolledBack && a.Fault.Code != codeRebuild && a.Fault.Code != codeHandOver) {
		w.fail("%s: rolled back without a word: %+v", a.Name, a)
	}
	if after.Good == before.Good {
		return
	}
	ended := after.Done && after.Fault == nil
	switch {
	case a.LastOK || a.Held || after.Good.Version != a.Version || after.Applied != after.Good || after.Committed != a.Content:
		w.fail("%s: committed %+v, wanted %+v", a.Name, after, a)
	case !ended && (!w.right(a, st) || w.now.Sub(since) < a.Want.Update.Healthy.D()):
		w.fail("%s: committed after %s: %+v", a.Name, w.now.Sub(since), a.Want)
	}
}

// wellSince tells since when passes found an instance running as it is wanted and
// healthy; now, if it isn't.
func (w *world) wellSince(a *App, st workload.Status) time.Time {
	if !w.right(a, st) || a.Want.Run.Health != nil && w.health[st.Instance].State != schema.HealthHealthy {
		delete(w.ledger.well, st.Instance)
		return w.now
	}
	if since, known := w.ledger.well[st.Instance]; known && !since.After(w.now) {
		return since
	}
	w.ledger.well[st.Instance] = w.now
	return w.now
}

// checkRejected: what is given up failed, and there is something to go back to.
func (w *world) checkRejected(a *App) {
	st, before, after := w.inst[a.Name], w.in.Memory[a.Name], w.plan.Memory[a.Name]
	if before.Rejected.Beside && after.Rejected.Whole == "" { // it is tried again for want of anything else
		delete(w.ledger.rejected, a.Name)
	}
	if after.Rejected == before.Rejected || after.Rejected.Whole == "" {
		return
	}
	if r := before.Rejected; r.Serves != "" && after.Rejected.Serves == "" {
		if r.Serves = ""; r != after.Rejected || st.State.Live() && st.Hash == before.Rejected.Serves {
			w.fail("%s: rejected %+v, then %+v", a.Name, before.Rejected, after.Rejected)
		}
		return
	}
	w.note("%s: %s", a.Name, after.Rejected.Fault.Message)
	if after.Rejected.Rebuild {
		t := w.wanted(a.Want.AttachTo)
		if m := w.plan.Memory[t.Name]; !slices.Contains(t.shaped, a.Name) || t.Content != m.Committed || a.Content == before.Committed || w.right(t, w.inst[t.Name]) && !w.ill(t, w.inst[t.Name]) {
			w.fail("%s: blamed for %+v", a.Name, t)
		}
		return
	}
	w.ledger.rejected[a.Name] = rejection{a.Version, a.Hash}
	if after.Rejected.Beside {
		late := !after.Beside.Since.Add(besideAtMost(a.Want)).After(w.now)
		if next := st.Next; next == nil || next.Hash != a.Hash || next.State.Live() && !w.ill(a, *next) && !late || w.ledger.asked[next.Instance] || after.Rejected.Serves != st.Hash {
			w.fail("%s: rejected without a reason: %+v of %+v", a.Name, after.Rejected, st)
		}
		return
	}
	failed := after.Fault != nil && (after.Fault.Step == Start || after.Fault.Step == "" || !after.Fault.Retryable)
	switch {
	case a.Good == nil || a.Content == after.Committed || a.Whole != after.Rejected.Whole || !a.Want.Update.Rollback:
		w.fail("%s: rejected, but %+v", a.Name, a)
	case !w.ill(a, st) && !failed:
		w.fail("%s: rejected without a reason: %+v", a.Name, after)
	case w.right(a, st) && !w.ill(a, st):
		w.fail("%s: rejected while it runs well", a.Name)
	}
}

// settle lets edits and misfortunes end. Then everything comes to rest but what
// fails by its own nature, and what depends on that.
func (w *world) settle() {
	w.complete = true
	w.rehearse()
	w.note("settling")
	for range 100 {
		if w.turn() {
			break
		}
	}
	w.pass()
	restless := false
	for i := range w.in.Apps {
		restless = w.checkSettled(&w.in.Apps[i]) || restless
	}
	for n := range w.inst {
		if w.wanted(n) == nil {
			w.fail("%s is still there", n)
		}
		if st := w.inst[n]; st.Next != nil && st.State.Live() && w.stepOf(n).Kind == "" && w.foresee(w.wanted(n)) != unsettled {
			w.fail("%s: two for good: %+v", n, w.inst[n].Next)
		}
	}
	if !restless && (len(w.plan.Steps) > 0 || len(w.busy) > 0 || !w.plan.Wake.IsZero()) {
		w.fail("no rest: %+v, wake %s", w.plan.Steps, w.plan.Wake)
	}
}

// turn is a pass without misfortunes, and what follows from it; or nothing does.
func (w *world) turn() (rest bool) {
	w.pass()
	rest = len(w.busy) == 0 && len(w.plan.Cancel) == 0 && w.plan.Wake.IsZero() // what was cancelled leaves room for a step
	for _, n := range names {
		if s, busy := w.busy[n]; busy {
			w.finish(s, false)
		}
	}
	w.begun()
	news := w.probes()
	next := w.now.Add(20 * time.Second)
	if w.plan.Wake.After(next) {
		next = w.plan.Wake
	}
	w.now = next
	return !w.programs() && !news && rest
}

// outlook is what becomes of an application in the end.
type outlook int

const (
	runs outlook = iota
	rests
	unsettled
)

// foresee tells it from what is wanted alone, and from what has ended for good.
func (w *world) foresee(a *App, path ...*App) outlook {
	if a != nil && w.waitsBeside(a) {
		return unsettled // it is to be started first, and can't; that is looked at again
	}
	if a == nil || slices.Contains(path, a) { // what was applied may wait for each other
		return rests
	}
	path = append(slices.Clone(path), a)
	m := w.plan.Memory[a.Name]
	switch {
	case a.Want == nil || a.Held || a.Want.State == schema.StateStopped:
		return rests
	case m.Done:
		return rests
	case a.Want.Component == "missing@1", a.Want.Run.Env["DOES"] == "job", a.Want.Run.Env["DOES"] == "crash":
		return unsettled
	}
	out := runs
	if a.Want.Run.Env["DOES"] == "sick" && a.Want.Run.Health != nil {
		if st := w.inst[a.Name]; w.curable(a, st) || !w.ill(a, st) {
			return unsettled
		}
		out = rests // it runs, and nobody relies on it
	}
	if a.Want.Run.Env["DOES"] == "unstartable" || a.Want.Run.Hostname == "bad" {
		out = rests
	}
	if a.Want.Mode == schema.ModeAttach {
		t := w.wanted(a.Want.AttachTo)
		if t == nil || t.Want != nil && t.Want.Mode != schema.ModeContainer {
			return rests
		}
		if of := w.foresee(t, path...); of != runs {
			return max(of, out)
		}
	}
	for _, n := range a.Want.DependsOn {
		if dm := w.plan.Memory[n]; w.wanted(n) != nil && dm.Done && dm.Fault == nil {
			continue
		}
		if of := w.foresee(w.wanted(n), path...); of != runs {
			out = max(of, out)
		}
	}
	return out
}

func (w *world) checkSettled(a *App) (restless bool) {
	v, st, m := w.plan.Views[a.Name], w.inst[a.Name], w.plan.Memory[a.Name]
	of := w.foresee(a)
	if w.spoilt(a) {
		w.fail("%s should run without what %s add: %+v", a.Name, a.shaped, v)
	}
	if w.mustGiveWay(a) {
		w.fail("%s should have been rolled back: %+v\n%+v", a.Name, a.Want, v)
	}
	switch {
	case of == unsettled:
		return true
	case of == runs:
		if !w.right(a, st) || v.Phase != Running || a.Fault == nil && (v.Fault != nil || m.Applied.Version != a.Version || v.Observed != a.Version) {
			w.fail("%s should run: %+v\n%+v", a.Name, a.Want, v)
		}
	case a.Want != nil && a.Want.State == schema.StateStopped:
		if v.Phase != Stopped || st.State.Live() {
			w.fail("%s should be stopped: %+v", a.Name, v)
		}
	case m.Done:
		if p := a.Want.Run.Restart; p.Policy == schema.RestartAlways && p.MaxRetries == 0 || v.Phase != Stopped && v.Phase != Failed {
			w.fail("%s is done under %+v: %+v", a.Name, p, v)
		}
	case w.ill(a, st):
		if v.Phase != Running || v.Fault == nil || v.Health.State != schema.HealthUnhealthy {
			w.fail("%s is unhealthy: %+v", a.Name, v)
		}
	case !st.State.Live() && v.Phase != Failed && v.Phase != Pending:
		w.fail("%s rests: %+v", a.Name, v)
	}
	return false
}

// mustGiveWay tells whether something was tried and failed that another could have
// taken the place of.
func (w *world) mustGiveWay(a *App) bool {
	m := w.plan.Memory[a.Name]
	if w.waitsBeside(a) || a.back || !a.canGiveWay() || a.Held || a.LastOK || a.Content == m.Committed || a.Want.Component == "missing@1" || !w.unblocked(a) {
		return false
	}
	if m.Done && codeOf(m.Fault) == codeLost { // it isn't known to have failed by itself
		return false
	}
	does := a.Want.Run.Env["DOES"]
	return does == "crash" || does == "unstartable" || does == "sick" && a.Want.Run.Health != nil
}

// rehearse holds what is foretold against what is planned, and against what is
// wanted in the end.
func (w *world) rehearse() {
	w.pass()
	for _, s := range w.plan.Steps {
		delete(w.busy, s.App)
	}
	var desired []state.Desired
	for _, n := range slices.Sorted(maps.Keys(w.desired)) {
		desired = append(desired, w.desired[n])
	}
	w.in.Busy = maps.Clone(w.busy)
	before := deepCopy(w.in)
	r := Rehearse(desired, w.in)
	if again := Rehearse(desired, w.in); !reflect.DeepEqual(r, again) {
		w.fail("rehearsed differently:\n%+v\n%+v", r, again)
	}
	if !reflect.DeepEqual(before, w.in) {
		w.fail("the rehearsal changed its input:\n%+v\n%+v", before, w.in)
	}
	first := map[string]Step{}
	for _, a := range r.Acts {
		if a.Round == 1 {
			first[a.App] = a.Step
		}
		if a.Reason == "" {
			w.fail("no reason for %+v", a)
		}
	}
	for _, s := range w.plan.Steps {
		if first[s.App] != s {
			w.fail("%+v is foretold, %+v planned", first, w.plan.Steps)
		}
		w.busy[s.App] = s
	}
	if len(r.Acts) > 60 {
		w.fail("no end of steps: %+v", r.Acts)
	}
	for _, a := range r.Apps {
		v := r.Views[a.Name]
		if of := v.Phase; r.Rest && (of == Starting || of == Stopping || of == Fetching || of == Backoff) {
			w.fail("%s rests while it is %s: %+v", a.Name, of, r)
		}
	}
}

// spoilt tells of a container that could run, but for what others add to it.
func (w *world) spoilt(a *App) bool {
	if a.Want == nil || a.Want.Run.Hostname != "bad" || a.Content != w.plan.Memory[a.Name].Committed || a.LastOK || a.Want.State != schema.StateRunning || !w.startable(a) || w.waitsBeside(a) {
		return false
	}
	return slices.ContainsFunc(a.shaped, func(n string) bool {
		x := w.wanted(n)
		return !x.LastOK && x.Content != w.plan.Memory[n].Committed
	})
}
