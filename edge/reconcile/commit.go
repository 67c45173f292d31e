package reconcile

import (
	"fmt"
	"slices"
	"time"

	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// Well is an instance that runs, and is healthy if it has a probe.
type Well struct {
	Instance string    `json:"instance,omitempty"`
	Since    time.Time `json:"since,omitzero"`
}

// Rejected is a run configuration that failed before it was committed and gave
// way to the last one that was. It isn't tried again until desired changes.
type Rejected struct {
	Whole   string `json:"whole,omitempty"` // App.Whole
	Fault   Fault  `json:"fault,omitzero"`
	Serves  string `json:"serves,omitempty"`  // hash of the instance beside which it failed, for as long as that goes on
	Beside  bool   `json:"beside,omitempty"`  // it failed beside another instance, so that nobody had to ask for it
	Rebuild bool   `json:"rebuild,omitempty"` // it is the container it is attached to that failed, so that nobody had to ask for it
}

// Codes of what was rejected.
const (
	codeRolledBack = "rolled-back"
	codeRebuild    = "rebuild-failed"
)

// Decide plans. Where that rejects a run configuration, what is desired is
// prepared anew and planned for what takes its place. It is pure.
func Decide(desired []state.Desired, in Input) ([]App, Plan) {
	for {
		plan := Make(in)
		if !plan.again {
			return in.Apps, plan
		}
		in.Memory = plan.Memory // each round rejects one application or more, and none twice
		in.Apps, in.Gone = Prepare(desired, in.Memory)
	}
}

// Components lists what applications are or may be run from, the last committed
// configurations and what runs included: it must not be cleared away.
func Components(apps []App, observed []workload.Status) []string {
	all := []string{}
	for i := range apps {
		a := &apps[i]
		if a.Want != nil {
			all = append(all, a.Want.Component)
		}
		if a.Good != nil {
			all = append(all, a.Good.Component)
		}
	}
	for _, st := range observed {
		if all = append(all, st.Component); st.Next != nil {
			all = append(all, st.Next.Component)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(c string) bool { return c == "" })
}

// setBack recognises a run configuration that was rejected.
func (a *App) setBack(m Memory) {
	if a.Want == nil || a.Fault != nil || a.Content == m.Committed {
		return
	}
	if m.Good.Desired != nil {
		if good, err := schema.ParseApplication(m.Good.Desired.AppendJSON(nil)); err == nil {
			a.Good = good
		}
	}
	if a.refused(m) {
		f := m.Rejected.Fault
		a.Fault, a.Held, a.back = &f, true, a.Good != nil
		if s := m.Rejected.Serves; s != "" && (a.Good == nil || hashOf(a.Good) != s) {
			a.back, a.stays = false, true
		}
	}
}

// refused tells whether what is wanted was rejected.
func (a *App) refused(m Memory) bool {
	return a.Whole == m.Rejected.Whole && a.Want != nil && a.Want.State == schema.StateRunning && (a.canGiveWay() || m.Rejected.Rebuild || m.Rejected.Serves != "" || m.Rejected.Beside && a.Good != nil)
}

// canGiveWay tells whether there is something to roll back to.
func (a *App) canGiveWay() bool {
	return a.Good != nil && a.Want != nil && a.Want.State == schema.StateRunning && a.Want.Update.Rollback
}

// onTrial tells whether a run configuration still has to prove itself.
func (p *planner) onTrial(a *App, m Memory) bool {
	return !a.LastOK && !a.Held && a.Want != nil && a.Want.State == schema.StateRunning && a.Content != m.Committed
}

// tookEffect notes that desired has taken effect, if its run configuration is
// committed.
func (p *planner) tookEffect(a *App, m Memory) Memory {
	switch {
	case p.onTrial(a, m) && a.Want.Update.Healthy > 0:
		return m
	case a.back: // what is mirrored may be a later one that was stopped
		m.Applied = m.Good
		return m
	}
	return p.applied(a, m)
}

// commit makes a run configuration the one to go back to.
func (p *planner) commit(a *App, m Memory) Memory {
	m = p.applied(a, m)
	m.Good, m.Committed, m.Well = m.Applied, a.Content, Well{}
	return m
}

// beingRebuilt names the container that an application is attached to and adds to,
// where the one that runs is without; "" if there is none.
func (p *planner) beingRebuilt(a *App) string {
	t := p.wanted[a.Want.AttachTo]
	if a.Want.Mode != schema.ModeAttach || t == nil || !slices.Contains(t.shaped, a.Name) || p.observed[t.Name].Hash == t.Hash {
		return ""
	}
	return t.Name
}

// ranWith notes what a container that others add to ran well with.
func (m Memory) ranWith(a *App) Memory {
	if m.Ran = ""; len(a.shaped) > 0 {
		m.Ran = a.Hash
	}
	return m
}

// reject rolls an application back if its run configuration has failed before it
// was committed.
func (p *planner) reject(a *App, st workload.Status, m Memory) Memory {
	stopped := !a.LastOK && a.Want != nil && a.Want.State != schema.StateRunning
	if a.Whole != m.Rejected.Whole || stopped { // and only then: what else refuses it meanwhile passes
		m.Rejected = Rejected{}
	}
	if r := m.Rejected; r.Serves != "" && (!st.State.Live() || st.Hash != r.Serves) { // what went on is gone
		if m.Rejected.Serves = ""; m.Good.Desired == nil {
			m.Rejected = Rejected{}
		}
		p.out.again = true
		return m
	}
	if f := p.nextFault(a, st, m); f != nil {
		if !p.onTrial(a, m) || !f.ofConfiguration() {
			return p.failedBeside(a, st, m)
		}
		return p.rejectBeside(a, st, m, f)
	}
	trial := p.onTrial(a, m) && a.canGiveWay()
	if !trial && len(a.shaped) == 0 {
		return m
	}
	cause := m.Fault
	switch {
	case p.ill(a, st):
		cause = unhealthy(a, p.health(a, st))
	case st.State.Live() && st.Hash == a.Hash, cause == nil, !cause.ofConfiguration():
		return m
	}
	if !trial {
		p.blame(a, m, cause)
		return m
	}
	p.out.again = true
	m.Well = Well{}
	m.Rejected = Rejected{Whole: a.Whole, Fault: Fault{
		Code: codeRolledBack, At: p.in.Now,
		Message: clip(fmt.Sprintf("version %d gave way to version %d: %s: %s", a.Version, m.Good.Version, cause.Code, cause.Message)),
	}}
	return m
}

// rejectBeside gives up a run configuration that has failed beside an instance which
// goes on.
func (p *planner) rejectBeside(a *App, st workload.Status, m Memory, cause *Fault) Memory {
	p.out.again = true
	m.Well, m.Attempts, m.Until = Well{}, 0, time.Time{}
	if e := exitOf(*st.Next); e != nil {
		m.Exit = e
	}
	code, to := codeHandOver, "what ran before"
	if a.Good != nil {
		code, to = codeRolledBack, fmt.Sprintf("version %d", m.Good.Version)
	}
	m.Rejected = Rejected{Whole: a.Whole, Beside: true, Serves: st.Hash, Fault: Fault{
		Code: code, At: p.in.Now,
		Message: clip(fmt.Sprintf("version %d failed beside the one that runs, and gave way to %s: %s: %s", a.Version, to, cause.Code, cause.Message)),
	}}
	return m
}

// blame rejects what is attached to a container that failed with what they add to
// it, though it ran well without: those of them that have never run so.
func (p *planner) blame(a *App, m Memory, cause *Fault) {
	if a.LastOK || a.Held || a.Content != m.Committed || a.Hash == m.Ran {
		return
	}
	for _, n := range a.shaped {
		x := p.wanted[n]
		if x.LastOK || x.Content == p.in.Memory[n].Committed {
			continue
		}
		p.blamed[n] = Rejected{Whole: x.Whole, Rebuild: true, Fault: Fault{
			Code: codeRebuild, At: p.in.Now,
			Message: clip(fmt.Sprintf("the container of %s failed with what this adds to it, and goes on without: %s: %s", a.Name, cause.Code, cause.Message)),
		}}
		p.out.again = true
	}
}

// circumstances are the codes of faults that another configuration would have had
// just as well.
var circumstances = []string{"already-running", "target-not-running", "disk-full", "disk-read-only", "processes-exhausted", codeLost, codeBeside}

// ofConfiguration tells whether a fault speaks against what was tried to run.
func (f *Fault) ofConfiguration() bool {
	switch {
	case slices.Contains(circumstances, f.Code):
		return false
	case f.Step == Stop, f.Step == Remove, f.Step == Retire, f.Step == Withdraw, f.Retryable && (f.Step == Fetch || f.Step == Reload):
		return false // what ran before still does
	}
	return true
}
