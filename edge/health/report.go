package health

import (
	"slices"
	"strconv"
	"time"

	"gnomon/edge/health/alarm"
	"gnomon/edge/health/usage"
	"gnomon/schema"
	"gnomon/shadow"
)

// MaxReported bounds the alarms that are reported at a time: the most severe, of
// those the oldest. How many more there are is said.
const MaxReported = 64

// publish brings what is reported of use up to date, and tells whether it changed;
// mu is held.
func (m *Monitor) publish(now time.Time) (changed bool) {
	s := m.wanted.Node.Sampling
	settings := usage.Settings{Every: s.Report.D(), Band: s.DeadBand.Value / 100}
	changed = m.node.Node(now, m.snapshot.Node, settings)
	kept := make(map[string]*usage.Report, len(m.wanted.Apps))
	for i := range m.wanted.Apps {
		name := m.wanted.Apps[i].Name
		r := m.apps[name]
		if r == nil {
			r = new(usage.Report)
		}
		kept[name] = r
		changed = r.Application(now, m.measured(name), settings) || changed
	}
	m.apps = kept
	return changed
}

// Application implements loop.Health.
func (m *Monitor) Application(name string) []shadow.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.apps[name]
	if r == nil {
		r = new(usage.Report)
	}
	if !r.Known() {
		return []shadow.Member{{Key: schema.UsageMember, Value: m.cfg.Reported(schema.AppPrefix + name).Get(schema.UsageMember)}}
	}
	return []shadow.Member{{Key: schema.UsageMember, Value: r.Value()}}
}

// Node implements loop.Health.
func (m *Monitor) Node() []shadow.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	used := m.node.Value()
	if !m.node.Known() {
		used = m.cfg.Reported("").At(schema.NodeMember, schema.UsageMember)
	}
	return []shadow.Member{
		{Key: schema.UsageMember, Value: used},
		{Key: schema.ReadinessMember, Value: m.readiness()},
		{Key: schema.ActiveAlarmsMember, Value: active(m.alarms.Raised())},
		{Key: schema.AlarmHistoryMember, Value: history(m.alarms.Ended())},
	}
}

// readiness is what was found out last, or what an earlier agent did.
func (m *Monitor) readiness() *shadow.Value {
	if m.ready.Level == "" {
		return m.cfg.Reported("").At(schema.NodeMember, schema.ReadinessMember)
	}
	checks := make([]shadow.Member, len(m.ready.Checks))
	for i, c := range m.ready.Checks {
		checks[i] = shadow.Member{Key: c.Name, Value: shadow.NewObject(
			shadow.Member{Key: "level", Value: shadow.Text(string(c.Level))},
			shadow.Member{Key: "message", Value: shadow.Text(c.Message)})}
	}
	return shadow.NewObject(
		shadow.Member{Key: "level", Value: shadow.Text(string(m.ready.Level))},
		shadow.Member{Key: "checks", Value: shadow.NewObject(checks...)})
}

var severities = []string{string(schema.SeverityCritical), string(schema.SeverityWarning), string(schema.SeverityInfo)}

// active is what is raised, by name: one that comes or goes changes no other.
func active(all []alarm.Raised) *shadow.Value {
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b alarm.Raised) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	var more *shadow.Value
	if n := len(all) - MaxReported; n > 0 {
		all, more = all[:MaxReported], shadow.Int(int64(n))
	}
	members := []shadow.Member{{Key: "(more)", Value: more}}
	for _, a := range all {
		members = append(members, shadow.Member{Key: a.Name, Value: alarmValue(a,
			shadow.Member{Key: "action", Value: shadow.Text(a.Action)},
			shadow.Member{Key: "value", Value: rounded(a.Value)})})
	}
	return shadow.NewObject(members...)
}

// history is what was cleared lately, by number, so that what was raised and
// cleared while there was no connection is told all the same.
func history(all []alarm.Raised) *shadow.Value {
	if len(all) == 0 {
		return nil
	}
	members := make([]shadow.Member, len(all))
	for i, a := range all {
		m := []shadow.Member{
			{Key: "name", Value: shadow.Text(a.Name)},
			{Key: "cleared", Value: moment(a.Cleared)},
			{Key: "peak", Value: rounded(a.Peak)},
		}
		if a.Why != "" {
			m = append(m, shadow.Member{Key: "why", Value: shadow.Text(a.Why)})
		}
		members[i] = shadow.Member{Key: strconv.FormatUint(a.ID, 10), Value: alarmValue(a, m...)}
	}
	return shadow.NewObject(members...)
}

func alarmValue(a alarm.Raised, more ...shadow.Member) *shadow.Value {
	of := schema.OfNode
	if a.Application != "" {
		of = "application:" + a.Application
	}
	return shadow.NewObject(append(more,
		shadow.Member{Key: "of", Value: shadow.Text(of)},
		shadow.Member{Key: "metric", Value: shadow.Text(a.Metric)},
		shadow.Member{Key: "severity", Value: shadow.Text(a.Severity)},
		shadow.Member{Key: "above", Value: shadow.Text(a.Level)},
		shadow.Member{Key: "raised", Value: moment(a.At)},
	)...)
}

// rounded has three digits after the point where that says something.
func rounded(v float64) *shadow.Value {
	if v >= 1000 {
		return shadow.Int(int64(v))
	}
	return shadow.Float(float64(int64(v*1000+0.5)) / 1000)
}

func moment(t time.Time) *shadow.Value {
	return shadow.Text(t.UTC().Format(time.RFC3339))
}
