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
		if st, ok := running[a.Name]; ok && a.Want != nil && a.Want.Run.Health != nil {
			within := st
			if st.Target != "" {
				within = running[st.Target]
			}
			t := probe.Target{App: a.Name, Instance: st.Instance, StartedAt: st.StartedAt, Probe: *a.Want.Run.Health}
			if len(within.Addresses) > 0 {
				t.Host = within.Addresses[0]
			}
			all = append(all, t)
		}
	}
	return all
}
