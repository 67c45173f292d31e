package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// Room is what a second instance would have to fit in.
type Room struct {
	Total, Free int64            // bytes of the node's memory; 0: not known
	Uses        map[string]int64 // bytes that applications use now, with what is in their containers
}

// reserve is the part of the node's memory that a second instance leaves alone.
const reserve = 20

// codeHandOver is the fault of what failed beside an instance that goes on, where
// nothing was committed that it could have given way to; codeBeside that of a start
// that what runs stands in the way of.
const (
	codeHandOver = "handover-failed"
	codeBeside   = "cannot-run-beside"
)

// mostOfProbes bounds the time that probes have to find an instance healthy which is
// started beside another, after its start period.
const mostOfProbes = 10 * time.Minute

// besideAtMost is how long two instances may be there before the second is well.
func besideAtMost(w *schema.Application) time.Duration {
	d := time.Minute
	if h := w.Run.Health; h != nil {
		d += h.StartPeriod.D() + min(mostOfProbes, time.Duration(h.Failures+h.Successes)*(h.Interval.D()+h.Timeout.D()))
	}
	return d
}

// besideWell is how long the second has to be well.
func besideWell(w *schema.Application) time.Duration {
	return min(w.Update.Healthy.D(), schema.MaxBeside)
}

// succeeds tells whether the instance beside the one that runs is the wanted one. One
// that was asked to end isn't any more, whatever is wanted now.
func (p *planner) succeeds(a *App, st workload.Status, m Memory) bool {
	return st.Next != nil && st.State.Live() && st.Hash != a.Hash && st.Next.Hash == a.Hash && st.Next.Instance != m.Withdrawn && !a.Held &&
		a.Want != nil && a.Want.State == schema.StateRunning && p.attachedRight(a, st) && p.attachedRight(a, *st.Next)
}

// noteNext notes since when there are two.
func (p *planner) noteNext(a *App, st workload.Status, m Memory) Memory {
	switch {
	case st.Next == nil || !st.State.Live():
		m.Beside = Well{}
	case m.Beside.Instance != st.Next.Instance || m.Beside.Since.After(p.in.Now):
		m.Beside = Well{st.Next.Instance, p.in.Now}
	}
	return m
}

// stillWell forgets since when an instance is well once it isn't, whatever is under
// way.
func (p *planner) stillWell(a *App, st workload.Status, m Memory) Memory {
	if st.Next != nil && st.Next.Instance == m.Well.Instance {
		st = *st.Next
	}
	if st.Instance == m.Well.Instance && !p.health(a, st).good() {
		m.Well = Well{}
	}
	return m
}

// nextFault is what is wrong with the instance that shall take over; nil while
// nothing is, or where that says nothing about it.
func (p *planner) nextFault(a *App, st workload.Status, m Memory) *Fault {
	if !p.succeeds(a, st, m) {
		return nil
	}
	next := *st.Next
	h := p.health(a, next)
	switch {
	case !next.State.Live() && p.jobDone(a, next):
		return nil
	case !next.State.Live():
		return fault(next, true, p.in.Now)
	case h.State == schema.HealthUnhealthy:
		return unhealthy(a, h)
	case next.State == workload.Running && h.good():
		return nil
	case !m.Beside.Since.Add(besideAtMost(a.Want)).After(p.in.Now):
		return &Fault{Code: "handover" + CodeTimeout, Retryable: true, At: p.in.Now,
			Message: clip(fmt.Sprintf("it was not well within %s%s", besideAtMost(a.Want), because(h.Message)))}
	}
	return nil
}

// jobDone tells whether an instance ended as it should, and not to be started again.
func (p *planner) jobDone(a *App, st workload.Status) bool {
	return a.Want.Run.Restart.Policy != schema.RestartAlways && exitOf(st).clean()
}

// failedBeside accounts for an instance that failed beside the one that runs, once,
// where that is no reason to give up what was tried: it was committed before, or
// couldn't help it.
func (p *planner) failedBeside(a *App, st workload.Status, m Memory) Memory {
	f := p.nextFault(a, st, m)
	if f == nil || m.Seen == st.Next.Instance {
		return m
	}
	m.Seen, m.Retry, m.Fault = st.Next.Instance, true, f
	m.Attempts++
	m.Until = p.in.Now.Add(pause(m.Attempts, a.Want.Run.Restart.Backoff.D(), a.Want.Run.Restart.BackoffMax.D()))
	return m
}

// between decides about two instances: the second becomes the only one once it has
// been well for long enough, or goes.
func (p *planner) between(a *App, st workload.Status, m Memory, v *View) Memory {
	v.Phase, v.Health, v.Next = Running, p.health(a, st), st.Next
	if f := m.Fault; f != nil && (f.Step == Retire || f.Step == Withdraw) && !p.reached(m.Until) {
		v.block(schema.BlockedBackoff, "", "next try at "+m.Until.UTC().Format(time.RFC3339)).Until = m.Until
		return m
	}
	next := st.Next
	if !p.succeeds(a, st, m) {
		why := "it is not wanted any more"
		if a.Fault != nil {
			why = a.Fault.Message
		}
		return p.withdraw(a, *next, m, why)
	}
	if f := p.nextFault(a, st, m); f != nil || m.Seen == next.Instance {
		return p.withdraw(a, *next, m, "it failed"+because(messageOf(m.Fault)))
	}
	switch h := p.health(a, *next); {
	case !next.State.Live(): // and did what it had to
		m.Done, m.DoneBy, m.Fault, m.Exit = true, a.Want.Run.Restart, nil, exitOf(*next)
		v.why = "what takes its place has ended as it should"
		return p.stop(a, st, m, v)
	case next.State == workload.Starting, !h.good():
		m.Well = Well{}
		p.wake(m.Beside.Since.Add(besideAtMost(a.Want)))
		if next.State == workload.Starting { // by an agent that is gone; nothing tells when it runs
			p.wake(p.in.Now.Add(time.Second))
		}
		v.block(schema.BlockedHandOver, "", fmt.Sprintf("version %d is started beside the one that runs, and is not well yet%s", a.Version, because(h.Message)))
		return m
	}
	return p.takeOver(a, st, m.runs(), v)
}

// takeOver ends the former of two instances once the second has been well for long
// enough.
func (p *planner) takeOver(a *App, st workload.Status, m Memory, v *View) Memory {
	if m.Well.Instance != st.Next.Instance || m.Well.Since.After(p.in.Now) {
		m.Well = Well{st.Next.Instance, p.in.Now}
	}
	due := m.Well.Since.Add(besideWell(a.Want))
	if !p.reached(due) {
		v.block(schema.BlockedHandOver, "", fmt.Sprintf("version %d runs beside the one it replaces, which goes at %s", a.Version, due.UTC().Format(time.RFC3339))).Until = due
		return m
	}
	if others := p.attachedTo(a.Name); len(others) > 0 {
		return p.withdraw(a, *st.Next, m, "others have been attached to the one that runs: "+strings.Join(others, ", "))
	}
	if p.sharesProbe(a, st) { // from now on it is its own answers that count
		m.Well = Well{}
	}
	m.Halted = st.Instance // however late it ends, and whatever is wanted by then
	p.step(Step{Kind: Retire, App: a.Name, Hash: a.Hash, Instance: st.Instance, Grace: a.Want.Run.StopGrace.D(),
		Reason: fmt.Sprintf("version %d runs beside it, and was well for %s", a.Version, besideWell(a.Want))})
	return m
}

// withdraw ends the second of two instances; the one that ran goes on.
func (p *planner) withdraw(a *App, next workload.Status, m Memory, why string) Memory {
	m.Withdrawn, m.Well = next.Instance, Well{}
	grace := workload.DefaultStopGrace
	if a.Want != nil {
		grace = a.Want.Run.StopGrace.D()
	}
	p.step(Step{Kind: Withdraw, App: a.Name, Hash: next.Hash, Instance: next.Instance, Grace: grace,
		Reason: clip("what was started beside the one that runs goes again: " + why)})
	return m
}

// startsFirst plans to start an instance beside the one that it replaces, where that
// is asked for and can be; else planned is false where the one that runs shall be
// stopped.
func (p *planner) startsFirst(a *App, st workload.Status, m Memory, v *View) (planned bool) {
	if !a.Want.Update.StartsFirst() || m.cannotStop() {
		return false
	}
	against := p.against(a, st, m)
	switch {
	case against == "":
		s := Step{Kind: Start, App: a.Name, Hash: a.Hash, Former: st.Instance, Reason: clip("beside the one that runs; " + v.why)}
		if a.Want.Mode == schema.ModeAttach {
			s.TargetInstance = p.observed[a.Want.AttachTo].Instance
		}
		v.block(schema.BlockedHandOver, "", fmt.Sprintf("version %d is being started beside the one that runs", a.Version))
		p.step(s)
	case a.Want.Update.Strategy == schema.StartFirst:
		v.block(schema.BlockedBeside, "", "it can't be started beside the one that runs, as "+against)
		p.wake(p.in.Now.Add(time.Minute)) // the memory that is free changes without a word
	default:
		v.why += "; stopped first, as " + against
		v.block(schema.BlockedStopFirst, "", "it is stopped before another is started, as "+against)
		return false
	}
	return true
}

// against says why an instance can't be started beside the one that runs; "" if it
// can.
func (p *planner) against(a *App, st workload.Status, m Memory) string {
	want := a.Want
	switch {
	case st.State != workload.Running:
		return "that doesn't run yet"
	case st.Mode != want.Mode || st.Target != want.AttachTo:
		return "that runs in another mode or container"
	case !p.attachedRight(a, st):
		return "the container that it is in is gone"
	case want.Mode == schema.ModeAttach && st.Component != want.Component:
		return "its component is mounted in the container, where the other would have to be"
	case want.Update.Strategy == schema.StartAuto && m.Fault != nil && (m.Fault.Code == codeBeside || m.Fault.Step == "" && !p.onTrial(a, m)):
		return "that came to nothing before: " + m.Fault.Message
	}
	if others := p.joined(a.Name, st.Instance); len(others) > 0 {
		return "others are attached to it: " + strings.Join(others, ", ")
	}
	if clash := workload.Clash(claimsOf(a), st.Claims); len(clash) > 0 {
		text := "both need " + strings.Join(clash, ", ")
		if len(workload.Clash(workload.Claims(specOf(a), true), st.Claims)) == 0 {
			text += " (update.shared says that two may use it)"
		}
		return text
	}
	if p.sharesProbe(a, st) && !want.Update.Shared {
		return "its probe would be answered by the one that runs, in the same network"
	}
	return p.tooLittleMemory(a)
}

// joined lists who is attached to a container, or shall be.
func (p *planner) joined(name, instance string) (all []string) {
	for _, st := range p.in.Observed {
		if st.Target == name && st.State.Live() {
			all = append(all, st.Name)
		}
	}
	for i := range p.in.Apps {
		x := &p.in.Apps[i]
		if x.Want != nil && x.Want.State == schema.StateRunning && x.Want.Mode == schema.ModeAttach && x.Want.AttachTo == name && !slices.Contains(all, x.Name) {
			all = append(all, x.Name)
		}
	}
	for n, b := range p.in.Busy {
		if b.Kind == Start && b.TargetInstance == instance && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// specOf is what is wanted as far as it lays claims.
func specOf(a *App) workload.Spec {
	r := a.Want.Run
	return workload.Spec{Name: a.Name, Mode: a.Want.Mode, Network: r.Network, Ports: r.Ports, Serial: r.Serial, Devices: r.Devices, Volumes: r.Volumes, Files: r.Files}
}

func claimsOf(a *App) []string { return workload.Claims(specOf(a), a.Want.Update.Shared) }

// sharesProbe tells whether the probe of what is wanted may be answered by the
// instance that runs: they are in one network, and that isn't known to listen
// elsewhere.
func (p *planner) sharesProbe(a *App, st workload.Status) bool {
	h := a.Want.Run.Health
	if h == nil || a.Want.Mode == schema.ModeContainer && a.Want.Run.Network == schema.NetworkBridge {
		return false
	}
	was := a.ProbeOf(st)
	return was == nil || was == h || portOf(was) == portOf(h)
}

func portOf(h *schema.Health) int {
	switch {
	case h.HTTP != nil:
		return h.HTTP.Port
	case h.TCP != nil:
		return h.TCP.Port
	}
	return 0
}

// ProbeOf is the probe of an instance. One that is about to be replaced is probed as
// what replaces it will be, as others may depend on it; but where that starts first, by
// its own as far as it is known, for it goes on serving.
func (a *App) ProbeOf(st workload.Status) *schema.Health {
	switch {
	case a.Want == nil, a.stays:
		return nil
	case st.Hash != a.Hash && a.Want.Update.StartsFirst() && a.Good != nil && st.Hash == hashOf(a.Good):
		return a.Good.Run.Health
	default:
		return a.Want.Run.Health
	}
}

// tooLittleMemory says that a second instance would not fit into what is free; ""
// if it does, or nothing is known.
func (p *planner) tooLittleMemory(a *App) string {
	room := p.in.Room
	need := int64(a.Want.Run.Resources.Memory)
	if need == 0 {
		need = room.Uses[a.Name]
	}
	if t := p.wanted[a.Want.AttachTo]; a.Want.Mode == schema.ModeAttach && t != nil && t.Want != nil && t.Want.Run.Resources.Memory > 0 {
		if most := int64(t.Want.Run.Resources.Memory); most-room.Uses[t.Name] < need {
			return fmt.Sprintf("two need %s more memory than the container of %s may use", schema.Bytes(need-(most-room.Uses[t.Name])), t.Name)
		}
	}
	if room.Total > 0 && room.Free-room.Total/reserve < need {
		return fmt.Sprintf("the node has too little memory for two: %s is needed, %s is free, and %s of that is kept", schema.Bytes(need), schema.Bytes(room.Free), schema.Bytes(room.Total/reserve))
	}
	return ""
}

func messageOf(f *Fault) string {
	if f == nil {
		return ""
	}
	return f.Message
}
