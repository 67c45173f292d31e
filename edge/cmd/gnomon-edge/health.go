package main

import (
	"fmt"
	"time"

	"gnomon/edge/health"
	"gnomon/edge/health/alarm"
	"gnomon/edge/health/usage"
	"gnomon/edge/workload/executor"
)

// measured is the executor as the monitor sees it.
type measured struct{ *executor.Executor }

func (m measured) Group(name string) (usage.Group, error) { return m.Executor.Group(name) }

// watch returns the monitor of this node.
func (a *agent) watch() (*health.Monitor, error) {
	return health.New(health.Config{
		Workloads: measured{a.workloads}, Memory: a.state, Reported: a.link.Reported, Log: a.log,
		Paths: []string{a.cfg.Data, a.cfg.Components, "/"},
	})
}

func alarmLine(a alarm.Raised) string {
	of := "the node"
	if a.Application != "" {
		of = a.Application
	}
	return fmt.Sprintf("alarm %s (%s): %s of %s is above %s since %s", a.Name, a.Severity, a.Metric, of, a.Level, a.At.UTC().Format(time.RFC3339))
}
