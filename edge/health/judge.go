package health

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gnomon/edge/health/alarm"
	"gnomon/edge/health/usage"
	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// QuotaAlarm comes before the name of an application in the name of the alarm that
// stands for its run.resources.disk. No alarm of a node can be called so.
const QuotaAlarm = "disk-quota:"

// quotaClear is where the alarm of a quota is cleared, relative to it.
const quotaClear = 0.95

// targets are the applications that run, each with its cgroup; mu is held. A group
// is looked up once for each instance.
func (m *Monitor) targets() []usage.Target {
	if m.wanted == nil {
		return nil
	}
	var all []usage.Target
	kept := make(map[string]group, len(m.groups))
	for _, st := range m.wanted.Observed {
		if st.State != workload.Running {
			continue
		}
		g, known := m.groups[st.Name]
		if !known || g.instance != st.Instance {
			found, err := m.cfg.Workloads.Group(st.Name)
			if err != nil {
				continue // it has just ended
			}
			g = group{st.Instance, found}
		}
		kept[st.Name] = g
		all = append(all, usage.Target{Name: st.Name, Instance: st.Instance, PID: st.PID, Group: g.Group})
	}
	m.groups = kept
	return all
}

// measured is what is known of an application's use; mu is held.
func (m *Monitor) measured(name string) usage.Application {
	a := m.snapshot.Applications[name]
	a.Disk = m.disks[name]
	return a
}

// judge draws the consequences of what was measured; mu is held.
func (m *Monitor) judge() {
	if m.wanted == nil {
		return
	}
	now := m.cfg.Now()
	in := m.input(now)
	changes := m.alarms.Step(in)
	for _, a := range changes {
		if a.Cleared.IsZero() {
			m.cfg.Log.Warn("alarm raised", "alarm", a.Name, "application", a.Application, "metric", a.Metric, "value", a.Value, "above", a.Level, "action", a.Action)
		} else {
			m.cfg.Log.Info("alarm cleared", "alarm", a.Name, "application", a.Application, "peak", a.Peak, "why", a.Why)
		}
	}
	if m.unsaved = m.unsaved || len(changes) > 0; m.unsaved {
		m.save()
	}
	if m.publish(now) || len(changes) > 0 {
		signal(m.changed)
	}
}

// save writes alarms down. What can't be written is tried again with the next look.
func (m *Monitor) save() {
	text, err := json.Marshal(m.alarms)
	if err == nil {
		err = m.cfg.Memory.Put(state.Record{Kind: state.KindAlarm, Name: alarmRecord, Data: text})
	}
	if m.unsaved = err != nil; m.unsaved {
		m.cfg.Log.Error("alarms cannot be written", "error", err)
	}
}

// input puts together what alarms are judged by.
func (m *Monitor) input(now time.Time) alarm.Input {
	in := alarm.Input{Now: now, Values: map[string]float64{}, Subjects: map[string]alarm.Subject{}}
	wants := make(map[string]*schema.Application, len(m.wanted.Apps))
	for i := range m.wanted.Apps {
		a := &m.wanted.Apps[i]
		wants[a.Name] = a.Want
		in.Subjects[a.Name] = alarm.Subject{Version: a.Version}
		if a.Want == nil || a.Want.Run.Resources.Disk == 0 {
			continue
		}
		quota := a.Want.Run.Resources.Disk
		m.add(&in, schema.Alarm{
			Name: QuotaAlarm + a.Name, Of: "application:" + a.Name, Metric: schema.MetricDisk, Severity: schema.SeverityCritical,
			Above: schema.ByteLevel(quota), Clear: schema.ByteLevel(schema.Bytes(float64(quota) * quotaClear)), Action: schema.ActionStop,
		}, a.Want)
	}
	for _, st := range m.wanted.Observed {
		if s, ok := in.Subjects[st.Name]; ok && st.State == workload.Running {
			s.Instance = st.Instance
			in.Subjects[st.Name] = s
		}
	}
	for _, a := range m.wanted.Node.Alarms {
		m.add(&in, a, wants[a.Application()])
	}
	return in
}

// add makes a rule of an alarm, with its value as far as that is known.
func (m *Monitor) add(in *alarm.Input, a schema.Alarm, want *schema.Application) {
	var value, all float64
	var known bool
	if app := a.Application(); app == "" {
		value, all, known = ofNode(a.Metric, m.snapshot.Node)
	} else {
		value, known = m.ofApplication(a.Metric, app)
		all = m.limit(a.Metric, want)
	}
	if (a.Above.Percent || a.Clear.Percent) && all <= 0 {
		known = false // of nothing there is no percentage
	}
	in.Rules = append(in.Rules, alarm.Rule{
		Name: a.Name, Application: a.Application(), Metric: string(a.Metric), Above: a.Above.Of(all), Clear: a.Clear.Of(all),
		For: a.For.D(), Severity: string(a.Severity), Action: string(a.Action), Level: a.Above.String(),
	})
	if known {
		in.Values[a.Name] = value
	}
}

// ofNode is a metric of the node, and how much of it there is.
func ofNode(metric schema.Metric, n usage.Node) (value, all float64, known bool) {
	var data usage.FileSystem
	if len(n.FileSystems) > 0 {
		data = n.FileSystems[0]
	}
	switch metric {
	case schema.MetricCPU:
		return n.CPU, float64(n.Cores), n.Settled
	case schema.MetricMemory:
		return float64(n.Memory), float64(n.MemoryTotal), n.MemoryTotal > 0
	case schema.MetricPids:
		return float64(n.Pids), float64(n.PidsMost), n.Pids > 0
	case schema.MetricDisk:
		return float64(data.Used), float64(data.Used + data.Free), data.Size > 0
	case schema.MetricInodes:
		return float64(data.InodesUsed), float64(data.Inodes), data.Inodes > 0
	case schema.MetricIO:
		return n.Read + n.Written, 0, n.Settled
	case schema.MetricNetwork:
		return n.In + n.Out, 0, n.Settled
	}
	return 0, 0, false
}

// ofApplication is a metric of an application. What is stopped uses nothing but
// disk; but of what is held, only its disk is known, or it would be released by
// the very measure that was taken.
func (m *Monitor) ofApplication(metric schema.Metric, name string) (value float64, known bool) {
	if metric == schema.MetricDisk {
		d := m.disks[name]
		return float64(d.Total()), d != nil
	}
	a := m.snapshot.Applications[name]
	if !a.Running {
		_, held := m.holds().Stop[name]
		return 0, !held && !m.running(name)
	}
	switch metric {
	case schema.MetricCPU:
		return a.CPU, a.Settled
	case schema.MetricMemory:
		return float64(a.Memory), true
	case schema.MetricPids:
		return float64(a.Pids), true
	case schema.MetricIO:
		return a.Read + a.Written, a.Settled
	case schema.MetricNetwork:
		return a.In + a.Out, a.Settled && a.Network
	}
	return 0, false
}

// running tells whether an application was seen running, measured or not yet.
func (m *Monitor) running(name string) bool {
	return slices.ContainsFunc(m.wanted.Observed, func(st workload.Status) bool { return st.Name == name && st.State.Live() })
}

// limit is how much of a metric an application may use.
func (m *Monitor) limit(metric schema.Metric, want *schema.Application) float64 {
	var r schema.Resources
	if want != nil {
		r = want.Run.Resources
	}
	_, all, _ := ofNode(metric, m.snapshot.Node)
	for _, own := range []struct {
		metric schema.Metric
		limit  float64
	}{
		{schema.MetricCPU, float64(r.CPU) / 1000}, {schema.MetricMemory, float64(r.Memory)},
		{schema.MetricPids, float64(r.Pids)}, {schema.MetricDisk, float64(r.Disk)},
	} {
		if own.metric == metric && own.limit > 0 {
			return own.limit
		}
	}
	return all
}

// holds is what the alarms that are raised have against what is desired; mu is held.
func (m *Monitor) holds() reconcile.Holds {
	h := reconcile.Holds{Stop: map[string]string{}, Restart: map[string]string{}}
	for _, a := range m.alarms.Raised() {
		switch schema.Action(a.Action) {
		case schema.ActionStop:
			h.Stop[a.Application] = fmt.Sprintf("held by alarm %s: %s is above %s", a.Name, a.Metric, a.Level)
		case schema.ActionRestart:
			if a.Instance != "" {
				h.Restart[a.Application] = a.Instance
			}
		case schema.ActionDeferUpdates:
			h.Updates = fmt.Sprintf("updates are deferred by alarm %s: %s is above %s", a.Name, a.Metric, a.Level)
		}
	}
	return h
}
