package main

import (
	"fmt"
	"time"

	"gnomon/edge/artifact"
	"gnomon/edge/health"
	"gnomon/edge/health/alarm"
	"gnomon/edge/health/usage"
	"gnomon/edge/reconcile"
	"gnomon/edge/workload/executor"
	"gnomon/schema"
)

// measured is the executor as the monitor sees it.
type measured struct{ *executor.Executor }

func (m measured) Group(name string) (usage.Group, error) { return m.Executor.Group(name) }

// watch returns the monitor of this node.
func (a *agent) watch() (*health.Monitor, error) {
	return health.New(health.Config{
		Workloads: measured{a.workloads}, Memory: a.state, Reported: a.link.Reported, Ready: a.ready, Now: a.now, Log: a.log,
		Paths: []string{a.cfg.Data, a.cfg.Components, "/"},
	})
}

// room tells what a second instance of an application would have to fit in: what is
// free now, and what applications used when they were measured last.
func (a *agent) room() reconcile.Room {
	r := reconcile.Room{Uses: map[string]int64{}}
	r.Total, r.Free = usage.NodeMemory("/proc")
	for name, u := range a.health.Usage().Applications {
		if u.Running {
			r.Uses[name] = u.Memory
		}
	}
	return r
}

// keeper knows what components must stay on the disk. It implements artifact.Care.
type keeper struct{ *agent }

// Keep implements artifact.Care. What is wanted must be known for certain: what a
// record said that did not check out may be wanted, until the cloud has said what is.
func (k keeper) Keep() (artifact.Keep, bool) {
	w, known := k.health.Wants()
	if !known || !w.Complete && k.state.Health().SetAside > 0 {
		return artifact.Keep{}, false
	}
	roots, err := k.workloads.Roots()
	if err != nil {
		k.log.Error("what runs cannot be listed, so nothing is deleted", "error", err)
		return artifact.Keep{}, false
	}
	return artifact.Keep{References: w.Components, Roots: roots}, true
}

// Rules implements artifact.Care.
func (k keeper) Rules(all float64) artifact.Rules {
	n := new(schema.Node) // nothing is deleted before it is known what is wanted
	if w, known := k.health.Wants(); known {
		n = w.Node
	}
	return artifact.Rules{
		Below: n.Disk.CollectBelow.Of(all), Until: n.Disk.CollectUntil.Of(all), Reserve: n.Disk.Reserved(all), Sources: n.Disk.Sources,
	}
}

func alarmLine(a alarm.Raised) string {
	of := "the node"
	if a.Application != "" {
		of = a.Application
	}
	return fmt.Sprintf("alarm %s (%s): %s of %s is above %s since %s", a.Name, a.Severity, a.Metric, of, a.Level, a.At.UTC().Format(time.RFC3339))
}
