package loop

import (
	"gnomon/edge/health/probe"
	"gnomon/edge/reconcile"
	"gnomon/edge/workload"
)

// targets are the instances that run and have a probe, each in the network that it
// is in. One that is about to be replaced is probed as what replaces it will be:
// others may depend on it.
func targets(apps []reconcile.App, observed []workload.Status) (all []probe.Target) {
	running := make(map[string]workload.Status, len(observed))
	for _, st := range observed {
		if st.State == workload.Running {
			running[st.Name] = st
		}
	}
	for i := range apps {
		a := &apps[i]
		st, ok := running[a.Name]
		if !ok {
			continue
		}
		both := []workload.Status{st}
		if st.Next != nil && st.Next.State == workload.Running {
			both = append(both, *st.Next)
		}
		for _, st := range both {
			h := a.ProbeOf(st)
			if h == nil {
				continue
			}
			within := st
			if st.Target != "" {
				within = running[st.Target]
			}
			t := probe.Target{App: a.Name, Instance: st.Instance, StartedAt: st.StartedAt, Probe: *h}
			if len(within.Addresses) > 0 {
				t.Host = within.Addresses[0]
			}
			all = append(all, t)
		}
	}
	return all
}
