package reconcile

import (
	"strings"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// reloadable parts a hash in two where run.reload is set: of what takes another
// instance, and of the content of files, which the running one can be given.
const reloadable = "-"

// codeReload is the code of the fault of a reload that failed.
const codeReload = string(Reload) + "-failed"

// reloads tells whether an instance differs from what is wanted in nothing but
// the content of files, and can be given that. A reload that failed isn't tried
// again: the instance is replaced, which leads to the same.
func (p *planner) reloads(a *App, st workload.Status, m Memory) bool {
	if a.Want.State != schema.StateRunning || a.Held || st.State != workload.Running || !p.attachedRight(a, st) {
		return false
	}
	if m.Fault != nil && m.Fault.Code == codeReload {
		return false
	}
	runs, _, ok := strings.Cut(st.Hash, reloadable)
	wanted, _, ok2 := strings.Cut(a.Hash, reloadable)
	return ok && ok2 && runs == wanted && st.Hash != a.Hash
}

// reload gives the running instance other content of files.
func (p *planner) reload(a *App, m Memory, v *View) Memory {
	v.Phase = Running
	if p.ready(a, m, v) {
		p.step(Step{Kind: Reload, App: a.Name, Hash: a.Hash, Reason: "other content of files: " + changed(a, m)})
	}
	return m
}
