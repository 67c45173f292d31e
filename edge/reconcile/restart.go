package reconcile

import "gnomon/edge/workload"

// restarts tells whether the instance of an application is to be ended so that
// another takes its place.
func (p *planner) restarts(name string, st workload.Status) bool {
	instance, asked := p.in.Restart[name]
	return asked && instance == st.Instance && st.State.Live()
}

// anew forgets what an application failed with when a restart of it was asked for
// while it doesn't run: then it is started at once, however often it has failed.
func (p *planner) anew(name string, st workload.Status, m Memory) Memory {
	instance, asked := p.in.Restart[name]
	if !asked || st.State.Live() || instance != st.Instance {
		return m
	}
	if e := exitOf(st); e != nil {
		m.Exit = e
	}
	m = m.cleared()
	m.Seen = st.Instance
	return m
}
