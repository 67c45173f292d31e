package reconcile

import (
	"strings"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

// longestPause bounds every pause, so that a clock that was set back doesn't
// keep an application waiting.
const longestPause = 24 * time.Hour

// remember settles what follows from how the last instances ended. That comes
// before every decision, as some wait for others to end.
func (p *planner) remember(a *App) {
	st := p.observed[a.Name]
	m := p.in.Memory[a.Name].about(a.Hash).within(p.in.Now, p.longest(a))
	_, busy := p.in.Busy[a.Name]
	switch {
	case st.State.Live():
		m.Boot = p.in.Boot
		if m.Seen == st.Instance { // a start that failed because this one runs
			m.Seen = ""
		}
	case busy:
	case m.cannotStop(): // it ended after all
		m.Fault, m.Until, m.Tries = nil, time.Time{}, 0
	}
	if !busy {
		m = p.anew(a.Name, st, m)
	}
	if !busy && !st.State.Live() && a.Want != nil && a.Want.State == schema.StateRunning {
		m = p.account(a, st, m).judged(a.Want.Run.Restart)
	}
	m = p.stillWell(a, st, m)
	if !busy {
		m = p.noteNext(a, st, m)
		m = p.reject(a, st, m)
	}
	p.out.Memory[a.Name] = m
}

// app decides about one wanted application.
func (p *planner) app(a *App) {
	st := p.observed[a.Name]
	m := p.out.Memory[a.Name]
	v := View{Status: st}
	if b, busy := p.in.Busy[a.Name]; busy {
		v.Phase, v.Next = phaseOf(b), st.Next
		p.underWay(b, &v)
		if b.Kind == Stop || b.Kind == Remove {
			p.leaving[a.Name] = true
		}
		component := ""
		if a.Want != nil && a.Want.State == schema.StateRunning && !(st.State.Live() && p.leaving[st.Target]) {
			component = a.Want.Component
		}
		p.cancel(a.Name, component)
	} else {
		m = p.decide(a, st, m, &v)
	}
	v.Fault = m.Fault
	if a.Fault != nil {
		if v.Fault != nil && v.Fault.Retryable { // what takes its place has a trouble of its own
			v.block(v.Fault.Code, "", v.Fault.Message)
		}
		v.Fault = a.Fault
	}
	v.Observed = m.Applied.Version
	if v.Fault != nil {
		v.Observed = a.Version
	}
	v.Memory = m
	p.out.Memory[a.Name] = m
	p.out.Views[a.Name] = v
}

// underWay says what can be said of a step that has begun.
func (p *planner) underWay(b Step, v *View) {
	if b.Former != "" {
		v.block(schema.BlockedHandOver, "", "another version is being started beside the one that runs")
	}
	if b.Kind == Fetch {
		blocker := v.block(schema.BlockedFetch, b.Component, "fetching "+b.Component)
		blocker.Done, blocker.Total = b.Done, b.Total
	}
	if b.Overdue {
		v.block(schema.BlockedStep, "", "the step "+string(b.Kind)+" takes longer than it may")
	}
}

func (p *planner) longest(a *App) time.Duration {
	if a.Want == nil {
		return longestPause
	}
	return max(longestOfSteps, a.Want.Run.Restart.BackoffMax.D())
}

func phaseOf(s Step) Phase {
	switch s.Kind {
	case Fetch:
		return Fetching
	case Start:
		if s.Former != "" { // which serves
			return Running
		}
		return Starting
	case Reload, Retire, Withdraw:
		return Running
	default:
		return Stopping
	}
}

func (p *planner) decide(a *App, st workload.Status, m Memory, v *View) Memory {
	live := st.State.Live()
	switch {
	case live && p.leaving[st.Target]: // it ends with its container, and is asked to before
		v.why = "the container that it is in ends"
		return p.stop(a, st, m, v)
	case a.Want == nil && live && st.Next != nil:
		return p.between(a, st, m, v)
	case a.Want == nil:
		v.Phase = Failed
		if live {
			v.Phase = Running // what runs is left alone
		}
		return m
	case a.Want.State == schema.StateStopped:
		if live {
			v.why = "it shall be stopped"
			return p.stop(a, st, m, v)
		}
		m = p.applied(a, m.cleared())
		m.Halted = st.Instance // its end is no failure when it is wanted again
		if e := exitOf(st); e != nil {
			m.Exit = e
		}
		v.Phase = Stopped
		return m
	case p.in.Holds.Stop[a.Name] != "":
		return p.held(a, st, m, v)
	case live && p.restarts(a.Name, st):
		v.why = "a restart was asked for"
		return p.stop(a, st, m, v)
	case live && st.Next != nil:
		return p.between(a, st, m, v)
	case live && st.Hash == a.Hash && p.attachedRight(a, st) && p.dueForRestart(st):
		v.why = "it shall be started again"
		return p.stop(a, st, m, v)
	case live && st.Hash == a.Hash && p.attachedRight(a, st):
		v.Phase = Running
		if st.State == workload.Starting {
			v.Phase = Starting // by an agent that is gone; nothing tells when it runs
			p.wake(p.in.Now.Add(time.Second))
			return m
		}
		return p.runsRight(a, st, m, v)
	case live && p.reloads(a, st, m):
		return p.reload(a, m, v)
	case live:
		return p.replace(a, st, m, v)
	default:
		return p.start(a, m, v)
	}
}

// applied notes that desired has taken effect.
func (p *planner) applied(a *App, m Memory) Memory {
	if !a.LastOK && !a.Held {
		m.Applied = Applied{a.Version, a.Desired}
	}
	return m
}

// attachedRight tells whether an attached instance is within the container that
// runs now.
func (p *planner) attachedRight(a *App, st workload.Status) bool {
	if a.Want.Mode != schema.ModeAttach {
		return true
	}
	t := p.observed[a.Want.AttachTo]
	return t.State == workload.Running && t.Instance == st.TargetInstance
}

// stop ends an instance; what is attached to it first.
func (p *planner) stop(a *App, st workload.Status, m Memory, v *View) Memory {
	v.Phase = Stopping
	p.leaving[a.Name] = true
	if m.cannotStop() && m.Until.After(p.in.Now) {
		v.Phase = Backoff
		p.wake(m.Until)
		return m
	}
	if first := p.attachedTo(a.Name); len(first) > 0 {
		for _, n := range first {
			v.block(schema.BlockedAttached, n, "stopping what is attached first: "+n)
		}
		return m
	}
	m.Halted = st.Instance
	grace := workload.DefaultStopGrace
	if a.Want != nil {
		grace = a.Want.Run.StopGrace.D()
	}
	p.step(Step{Kind: Stop, App: a.Name, Hash: st.Hash, Grace: grace, Reason: clip(v.why)})
	return m
}

// replace stops an instance that isn't the wanted one, once another can start.
func (p *planner) replace(a *App, st workload.Status, m Memory, v *View) Memory {
	if st.Hash == a.Hash {
		v.why = "the container that it is in is gone"
		return p.stop(a, st, m, v) // attached to a container that is gone
	}
	// What was asked to end already stays on its way out, and nothing joins it.
	v.Phase = Running
	if why := p.in.Holds.Updates; why != "" && !a.back {
		v.block(schema.BlockedUpdates, "", why)
		return m
	}
	if m.cannotStop() && !a.Held || p.ready(a, m, v) {
		if v.why = "another run configuration: " + changed(a, m); a.back {
			v.why = a.Fault.Message
		}
		if p.startsFirst(a, st, m, v) {
			return m
		}
		return p.stop(a, st, m, v)
	}
	return m
}

// start begins an instance where none is live.
func (p *planner) start(a *App, m Memory, v *View) Memory {
	v.Phase = Pending
	switch {
	case m.Done && m.Fault == nil:
		v.Phase = Stopped
		if p.onTrial(a, m) {
			return p.commit(a, m)
		}
		return p.tookEffect(a, m)
	case m.Done:
		v.Phase = Failed
		return p.tookEffect(a, m)
	}
	if !p.ready(a, m, v) {
		return m
	}
	v.Phase = Starting
	s := Step{Kind: Start, App: a.Name, Hash: a.Hash, Reason: "it shall run, and doesn't"}
	switch {
	case a.back:
		s.Reason = a.Fault.Message
	case m.Fault != nil:
		s.Reason = clip("once more, after " + m.Fault.Code + because(m.Fault.Message))
	}
	if a.Want.Mode == schema.ModeAttach {
		s.TargetInstance = p.observed[a.Want.AttachTo].Instance
	}
	p.step(s)
	return m
}

// account draws the conclusions from an instance that ended, once. Nothing
// follows from one that was ended on purpose, ran something else, went down with
// its container, or was interrupted by a restart of the node: that stops them,
// and so how they ended says nothing either.
func (p *planner) account(a *App, st workload.Status, m Memory) Memory {
	if st.Instance == "" || st.State.Live() || st.Instance == m.Seen {
		return m
	}
	interrupted := m.Boot != p.in.Boot && (m.Boot != "" || st.State == workload.Failed)
	widowed := false
	if a.Want.Mode == schema.ModeAttach {
		t := p.observed[st.Target]
		widowed = st.TargetEnded || t.State != workload.Running || t.Instance != st.TargetInstance
	}
	if st.Hash != a.Hash || st.Instance == m.Halted || st.Instance == m.Withdrawn || interrupted || widowed {
		m.Seen = st.Instance
		if e := exitOf(st); e != nil {
			m.Exit = e
		}
		return m
	}
	return m.ended(st, a.Want.Run.Restart, p.in.Now)
}

// ready tells whether an instance could start now; if not, it plans what is
// missing, or says what is waited for.
func (p *planner) ready(a *App, m Memory, v *View) bool {
	waiting := v.Phase // of something that runs meanwhile, or pending
	if a.Held || m.Fault != nil && !m.Fault.Retryable {
		if waiting == Pending {
			v.Phase = Failed
		}
		return false
	}
	if m.Until.After(p.in.Now) {
		v.block(schema.BlockedBackoff, "", "next try at "+m.Until.UTC().Format(time.RFC3339)).Until = m.Until
		if waiting == Pending {
			v.Phase = Backoff
		}
		p.wake(m.Until)
		return false
	}
	if !p.unblocked(a, v) {
		return false
	}
	if c := a.Want.Component; c != "" && !p.in.Fetched[c] {
		v.Phase = Fetching
		v.block(schema.BlockedFetch, c, "fetching "+c)
		p.step(Step{Kind: Fetch, App: a.Name, Hash: a.Hash, Component: c, Reason: "it isn't ready to run from"})
		return false
	}
	return true
}

// unblocked tells whether all that an application waits for is there, and says
// what isn't.
func (p *planner) unblocked(a *App, v *View) bool {
	already := len(v.Blockers)
	if t := a.Want.AttachTo; a.Want.Mode == schema.ModeAttach {
		switch {
		case (p.leaving[t] || p.handsOver(t)) && p.wanted[t] != nil:
			v.block(schema.BlockedTarget, t, "waiting for "+t+": it is being replaced")
			return false
		case p.wanted[t] == nil:
			v.block(schema.BlockedTargetMissing, t, "target "+t+" missing: there is no such application on this node")
		case p.observed[t].State != workload.Running || !p.joinable(t), p.wentDownWith(a.Name, t):
			p.await(a, v, t, schema.BlockedTarget)
		}
	}
	for _, n := range a.Want.DependsOn {
		switch {
		case p.wanted[n] == nil:
			v.block(schema.BlockedDependencyMissing, n, "dependency "+n+" missing: there is no such application on this node")
		case p.serves(n), p.workDone(n):
		default:
			p.await(a, v, n, schema.BlockedDependency)
		}
	}
	return len(v.Blockers) == already
}

// serves tells whether others can rely on an application: it runs, and is
// healthy if it has a probe.
func (p *planner) serves(name string) bool {
	st := p.observed[name]
	return st.State == workload.Running && p.health(p.wanted[name], st).good()
}

// await blocks an application until another has come further.
func (p *planner) await(a *App, v *View, on, code string) {
	p.waits = append(p.waits, wait{a.Name, len(v.Blockers), on})
	v.block(code, on, "waiting for "+on)
}

// wait is a blocker that ends with the phase of another application.
type wait struct {
	app   string
	index int // in Blockers
	on    string
}

// explain completes what is waited for, now that all is decided.
func (p *planner) explain() {
	for _, w := range p.waits {
		of := p.out.Views[w.on]
		why := string(of.Phase)
		if of.Phase == Running && !of.Health.good() {
			why = "its health is " + string(of.Health.State)
		}
		b := &p.out.Views[w.app].Blockers[w.index]
		if b.Code == schema.BlockedTarget && p.observed[w.on].State == workload.Running && !p.joinable(w.on) {
			why = "it is no container yet"
		}
		b.Message += ": " + why
	}
}

// changed names what is wanted otherwise than it was applied last.
func changed(a *App, m Memory) string {
	before, after := m.Applied.Desired, a.Desired
	if a.back {
		before, after = after, m.Good.Desired
	}
	if before == nil || after == nil || a.LastOK && !a.back {
		return "what ran is not known"
	}
	paths := shadow.Paths(shadow.PatchBetween(before, after))
	switch {
	case len(paths) == 0:
		return "options of what is attached"
	case len(paths) > maxPaths:
		paths = append(paths[:maxPaths:maxPaths], "…")
	}
	return strings.Join(paths, ", ")
}

// maxPaths bounds the paths in a reason.
const maxPaths = 5

// handsOver tells whether another instance is about to take over from the one that
// runs, or is being started to: who joined that one would keep it from going.
func (p *planner) handsOver(name string) bool {
	return p.observed[name].Next != nil || p.in.Busy[name].Former != ""
}

// joinable tells whether what runs is a container.
func (p *planner) joinable(name string) bool {
	mode := p.observed[name].Mode
	return mode != schema.ModeHost && mode != schema.ModeAttach
}

// workDone tells whether an application ran to its end as it should.
func (p *planner) workDone(name string) bool {
	m := p.out.Memory[name]
	return m.Done && m.Fault == nil
}

// wentDownWith tells whether an application's last instance ended with the
// container that seems to run still: how that ended is about to be known.
func (p *planner) wentDownWith(name, container string) bool {
	st, t := p.observed[name], p.observed[container]
	return st.TargetEnded && st.Target == container && st.TargetInstance == t.Instance
}
