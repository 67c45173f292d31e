package schema

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Alarm is raised on the node when a metric has been above a level for some time,
// and cleared when it is at another, lower one again.
type Alarm struct {
	Name     string   `json:"name"`     // ValidName, unique on the node
	Of       string   `json:"of"`       // "node" (default) or "application:NAME"
	Metric   Metric   `json:"metric"`   // what is looked at
	Above    Level    `json:"above"`    // raised above it
	Clear    Level    `json:"clear"`    // cleared at it or below; lower than Above, written the same way; default 90 % of Above
	For      Duration `json:"for"`      // above for so long, 0 to 24h; default 0s: at once
	Severity Severity `json:"severity"` // default warning
	Action   Action   `json:"action"`   // default none
}

// Metric is something that is measured of a node or an application.
type Metric string

// The metrics. A percentage is of the application's limit in run.resources; without
// one, and for the node itself, of what the node has.
const (
	MetricCPU     Metric = "cpu"     // cores, or percent
	MetricMemory  Metric = "memory"  // bytes, or percent
	MetricPids    Metric = "pids"    // processes and threads, or percent
	MetricDisk    Metric = "disk"    // bytes, or percent; of the node: of the file system of its data
	MetricInodes  Metric = "inodes"  // a number, or percent; of the node only
	MetricIO      Metric = "io"      // bytes per second, read and written
	MetricNetwork Metric = "network" // bytes per second, in and out
)

// metrics tells how levels of a metric may be written, and of what it is measured.
var metrics = map[Metric]struct {
	units    []levelUnit
	words    string
	nodeOnly bool
}{
	MetricCPU:     {[]levelUnit{unitNone, unitMilli, unitPercent}, `cores such as "500m" or 1.5, or a percentage`, false},
	MetricMemory:  {[]levelUnit{unitNone, unitBytes, unitPercent}, `bytes such as "64Mi", or a percentage`, false},
	MetricPids:    {[]levelUnit{unitNone, unitPercent}, "a number, or a percentage", false},
	MetricDisk:    {[]levelUnit{unitNone, unitBytes, unitPercent}, `bytes such as "2Gi", or a percentage`, false},
	MetricInodes:  {[]levelUnit{unitNone, unitPercent}, "a number, or a percentage", true},
	MetricIO:      {[]levelUnit{unitNone, unitBytes}, `bytes per second such as "10Mi"`, false},
	MetricNetwork: {[]levelUnit{unitNone, unitBytes}, `bytes per second such as "10Mi"`, false},
}

// Severity is how bad an alarm is.
type Severity string

// The severities.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// Action is what a node does by itself when an alarm is raised.
type Action string

// The actions.
const (
	ActionNone         Action = "none"
	ActionRestart      Action = "restart"       // of the application, once
	ActionStop         Action = "stop"          // of the application, until the alarm is cleared or desired changes
	ActionDeferUpdates Action = "defer-updates" // nothing that runs is replaced until the alarm is cleared
)

// Limits of the alarms of a node.
const (
	MaxAlarms   = 32
	MaxAlarmFor = 24 * time.Hour
)

// OfNode is what an alarm is of when it is of the node itself.
const OfNode = "node"

// ofApplication is what comes before an application's name.
const ofApplication = "application:"

// Application returns the application that an alarm is of; "" is the node.
func (a *Alarm) Application() string {
	name, _ := strings.CutPrefix(a.Of, ofApplication)
	if name == a.Of {
		return ""
	}
	return name
}

func completeAlarms(c *check, all []Alarm) {
	if len(all) > MaxAlarms {
		c.add("node.alarms", "too many alarms", len(all), MaxAlarms)
	}
	seen := map[string]bool{}
	for i := range all {
		a, at := &all[i], index("node.alarms", i)
		c.need(ValidName(a.Name), at+".name", "must be "+NameRule, a.Name)
		c.need(!seen[a.Name], at+".name", "is given twice", a.Name)
		seen[a.Name] = true
		a.complete(c, at)
	}
}

func (a *Alarm) complete(c *check, at string) {
	setDefault(&a.Of, OfNode)
	setDefault(&a.Severity, SeverityWarning)
	setDefault(&a.Action, ActionNone)
	app := a.Application()
	c.need(a.Of == OfNode || ValidName(app), at+".of", `must be "node" or "application:NAME"`, a.Of)
	c.need(slices.Contains([]Severity{SeverityInfo, SeverityWarning, SeverityCritical}, a.Severity),
		at+".severity", "must be info, warning or critical", a.Severity)
	switch a.Action {
	case ActionNone, ActionDeferUpdates:
	case ActionRestart, ActionStop:
		c.need(a.Of != OfNode, at+".action", `needs of: "application:NAME"; the node itself is never restarted or stopped`, a.Action)
	default:
		c.add(at+".action", "must be none, restart, stop or defer-updates", a.Action, nil)
	}
	within(c, at+".for", a.For, 0, Duration(MaxAlarmFor))
	m, ok := metrics[a.Metric]
	if !ok {
		c.add(at+".metric", "must be cpu, memory, pids, disk, inodes, io or network", a.Metric, nil)
		return
	}
	c.need(!m.nodeOnly || a.Of == OfNode, at+".metric", "is measured of the node only", a.Metric)
	a.completeLevels(c, at, m.units, m.words)
}

func (a *Alarm) completeLevels(c *check, at string, units []levelUnit, words string) {
	if a.Above.IsZero() {
		c.add(at+".above", "must be given: "+words, nil, nil)
		return
	}
	if a.Clear.IsZero() {
		a.Clear = Level{Value: a.Above.Value * 0.9, Percent: a.Above.Percent, unit: a.Above.unit, text: "90% of " + a.Above.text}
	}
	for _, l := range []struct {
		name  string
		level Level
	}{{".above", a.Above}, {".clear", a.Clear}} {
		c.need(slices.Contains(units, l.level.unit), at+l.name, fmt.Sprintf("%s is measured in %s", a.Metric, words), l.level.text)
	}
	switch {
	case a.Clear.Percent != a.Above.Percent:
		c.add(at+".clear", "must be a percentage if above is one, and else not", a.Clear.text, a.Above.text)
	case a.Clear.Value >= a.Above.Value:
		c.add(at+".clear", "must be lower than above", a.Clear.text, a.Above.text)
	}
	if a.Above.Percent && a.Above.Value >= 100 && a.Metric != MetricCPU {
		c.add(at+".above", "can never be exceeded", a.Above.text, "100%")
	}
}
