package reconcile

import (
	"gnomon/edge/workload"
	"gnomon/schema"
)

// Holds are what the node itself has against what is desired of it, such as an
// alarm. They come and go without a change of desired.
type Holds struct {
	Stop    map[string]string // applications that shall not run for now, and why
	Restart map[string]string // applications whose instance shall give way to another one: that instance
	Updates string            // why nothing that runs is replaced by something else for now; "" if it may be
}

// held stops what shall not run for now, and starts nothing.
func (p *planner) held(a *App, st workload.Status, m Memory, v *View) Memory {
	if st.State.Live() {
		v.why = p.in.Holds.Stop[a.Name]
		m = p.stop(a, st, m, v)
	} else {
		v.Phase = Pending
	}
	v.block(schema.BlockedHeld, "", p.in.Holds.Stop[a.Name])
	return m
}

// dueForRestart tells whether an instance that runs what is wanted shall give way
// to another one all the same.
func (p *planner) dueForRestart(st workload.Status) bool {
	return st.State == workload.Running && p.in.Holds.Restart[st.Name] == st.Instance
}
