package main

import (
	"fmt"
	"io"

	"gnomon/edge/artifact"
	"gnomon/edge/health/usage"
	"gnomon/edge/readiness"
	"gnomon/edge/reconcile/loop"
)

// ready says whether this node could go on without its cloud.
func (a *agent) ready(w loop.Wanted, node usage.Node) readiness.Report {
	f := readiness.Facts{
		Now: a.now(), Complete: w.Complete, Images: len(w.Components), Policies: len(w.Policies),
		Clock: readiness.LookAtClock(), Startup: readiness.LookAtStartup("/"),
	}
	for _, reference := range w.Components {
		switch a.components.Present(reference) {
		case artifact.Absent:
			f.Missing = append(f.Missing, reference)
		case artifact.Packed:
			f.Packed = append(f.Packed, reference)
		case artifact.Unpacked:
		}
	}
	store := a.state.Health()
	if f.SetAside = store.SetAside; store.Fault != nil {
		f.StoreFault = store.Fault.Code
	}
	f.Readings = a.readingsFacts()
	if len(node.FileSystems) > 0 {
		d := node.FileSystems[0]
		rules := keeper{a}.Rules(float64(d.Size))
		f.Disk = &readiness.DiskFacts{
			ReadOnly: d.ReadOnly, Free: float64(d.Free), Size: float64(d.Size), Reserve: rules.Reserve, Below: rules.Below,
			Inodes: float64(d.Inodes), FreeInodes: float64(d.Inodes - d.InodesUsed),
		}
	}
	return readiness.Assess(f)
}

// printReadiness says what is not as it should be, or that all is.
func printReadiness(w io.Writer, r readiness.Report) {
	if r.Level == "" {
		return // not looked at yet
	}
	fmt.Fprintf(w, "ready to be without the cloud: %s\n", r.Level)
	for _, c := range r.Checks {
		if c.Level != readiness.OK {
			fmt.Fprintf(w, "  %s (%s): %s\n", c.Name, c.Level, c.Message)
		}
	}
}
