package loop

import (
	"strings"
	"time"

	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

// report says how everything is, to the cloud and to Status. Of leaving, deleted
// applications, something is left.
func (l *Loop) report(desired []state.Desired, apps []reconcile.App, views map[string]reconcile.View, leaving map[string]bool) {
	status := Status{Applications: make([]Application, 0, len(apps)), Store: storeOf(l.cfg.Disk())}
	for i := range apps {
		a := &apps[i]
		v := views[a.Name]
		p := l.plans[schema.AppPrefix+a.Name]
		l.cfg.Shadows.Report(schema.AppPrefix+a.Name, appReport(v, p, l.cfg.Health.Application(a.Name)...))
		status.Applications = append(status.Applications, applicationOf(a, v, p))
	}
	status.Policies = l.reportPolicies()
	l.mu.Lock()
	l.status = status
	l.mu.Unlock()
	applications := make([]shadow.Member, 0, len(apps)+len(leaving))
	for _, a := range status.Applications {
		applications = append(applications, shadow.Member{Key: a.Name, Value: shadow.Text(a.Phase)})
	}
	for name := range leaving { // whoever deleted it can wait for it
		applications = append(applications, shadow.Member{Key: name, Value: shadow.Text(string(reconcile.Stopping))})
	}
	l.cfg.Shadows.Report("", l.nodeReport(desired, status, shadow.NewObject(applications...)))
}

// mirror lays status over what was applied. Members of the status win, as they
// are named so that no desired section has them.
func mirror(applied reconcile.Applied, status ...shadow.Member) *shadow.Value {
	return shadow.Merge(applied.Desired, shadow.NewObject(status...), 0)
}

func appReport(v reconcile.View, p schema.Plan, more ...shadow.Member) *shadow.Value {
	members := []shadow.Member{
		{Key: "phase", Value: shadow.Text(string(v.Phase))},
		{Key: "observedVersion", Value: shadow.Uint(v.Observed)},
		{Key: "restarts", Value: shadow.Int(int64(v.Memory.Restarts))},
		{Key: "error", Value: faultValue(v.Fault)},
		{Key: schema.BlockersMember, Value: v.Blockers.Value()},
		{Key: "health", Value: textOrNone(string(v.Health.State))},
		{Key: "attempts", Value: attempts(v)},
		{Key: "exit", Value: exitValue(v.Memory.Exit)},
		{Key: schema.PlanMember, Value: p.Value()},
		{Key: schema.BesideMember, Value: besideOf(v).Value()},
	}
	if v.Status.State == workload.Running {
		members = append(members,
			shadow.Member{Key: "pid", Value: shadow.Int(int64(v.Status.PID))},
			shadow.Member{Key: "startedAt", Value: instant(v.Status.StartedAt)},
			shadow.Member{Key: "addresses", Value: shadow.Texts(v.Status.Addresses)})
	}
	members = append(members, more...)
	return mirror(v.Memory.Applied, members...)
}

// besideOf is the instance that is to take over.
func besideOf(v reconcile.View) *schema.Beside {
	if v.Next == nil {
		return nil
	}
	return &schema.Beside{State: string(v.Next.State), PID: v.Next.PID, StartedAt: v.Next.StartedAt, Addresses: v.Next.Addresses}
}

// attempts counts what was tried in vain for what is desired now.
func attempts(v reconcile.View) *shadow.Value {
	n := v.Memory.Attempts + v.Memory.Tries
	if n == 0 || v.Fault == nil {
		return nil
	}
	return shadow.Int(int64(n))
}

// The builders of values return nil, which leaves the member out, for nothing.

func faultValue(f *reconcile.Fault) *shadow.Value {
	if f == nil {
		return nil
	}
	return shadow.NewObject(
		shadow.Member{Key: "code", Value: shadow.Text(f.Code)},
		shadow.Member{Key: "message", Value: shadow.Text(f.Message)},
		shadow.Member{Key: "retryable", Value: shadow.Flag(f.Retryable)},
		shadow.Member{Key: "at", Value: instant(f.At)},
	)
}

func exitValue(e *reconcile.Exit) *shadow.Value {
	if e == nil {
		return nil
	}
	members := []shadow.Member{
		{Key: "code", Value: shadow.Int(int64(e.Code))},
		{Key: "at", Value: instant(e.At)},
	}
	if e.Signal != "" {
		members = append(members, shadow.Member{Key: "signal", Value: shadow.Text(e.Signal)})
	}
	if e.OOM {
		members = append(members, shadow.Member{Key: "oom", Value: shadow.Flag(true)})
	}
	return shadow.NewObject(members...)
}

func textOrNone(s string) *shadow.Value {
	if s == "" {
		return nil
	}
	return shadow.Text(s)
}

func instant(t time.Time) *shadow.Value {
	if t.IsZero() {
		return nil
	}
	return shadow.Text(t.UTC().Format(time.RFC3339Nano))
}

// nodeReport mirrors what is desired of the node, which takes effect where it
// is read, and says what the node is and has.
func (l *Loop) nodeReport(desired []state.Desired, s Status, applications *shadow.Value) *shadow.Value {
	n := l.cfg.Node
	policies := []shadow.Member{}
	for _, p := range s.Policies {
		policies = append(policies, shadow.Member{Key: p.Name, Value: shadow.Text(p.Phase)})
	}
	members := []shadow.Member{
		{Key: "arch", Value: shadow.Text(n.Arch)},
		{Key: "os", Value: shadow.Text(n.OS)},
		{Key: "bootEpoch", Value: shadow.Uint(n.BootEpoch)},
		{Key: "startedAt", Value: instant(n.StartedAt)},
		{Key: "applications", Value: applications},
		{Key: "policies", Value: shadow.NewObject(policies...)},
		{Key: "store", Value: storeValue(s.Store)},
	}
	members = append(members, l.cfg.Health.Node()...)
	var applied reconcile.Applied
	var agent *schema.NodeAgent
	var devices *schema.NodeDevices
	valid := true
	for _, d := range desired {
		if d.Name != "" {
			continue
		}
		members = append(members, shadow.Member{Key: "observedVersion", Value: shadow.Uint(d.DesiredVersion)})
		wanted := d.Value.Get(schema.NodeMember)
		if wanted == nil {
			break
		}
		node, err := schema.ParseNode(wanted.AppendJSON(nil))
		if err != nil {
			agent, valid = l.agent, false // it stays as it was
			members = append(members, shadow.Member{Key: "error", Value: faultValue(&reconcile.Fault{Code: "invalid", Message: clip(err.Error())})})
			break
		}
		applied.Desired = without(wanted, "agent") // which says what it is, not what it shall be
		agent, devices = node.Agent, node.Devices
		if l.cfg.Devices == nil {
			applied.Desired = without(applied.Desired, "devices")
		}
	}
	if l.cfg.Devices != nil && valid {
		l.cfg.Devices(devices)
	}
	l.agent = agent
	members = append(members, l.agentReport()...)
	return shadow.NewObject(shadow.Member{Key: schema.NodeMember, Value: mirror(applied, members...)})
}

// without is an object without a member.
func without(object *shadow.Value, key string) *shadow.Value {
	var rest []shadow.Member
	for k, v := range object.Members() {
		if k != key {
			rest = append(rest, shadow.Member{Key: k, Value: v})
		}
	}
	return shadow.NewObject(rest...)
}

// agentReport tells the wish for a version of the agent on, and says what has
// become of it.
func (l *Loop) agentReport() []shadow.Member {
	agent, upgrade := shadow.NewObject(shadow.Member{Key: "version", Value: shadow.Text(l.cfg.Node.Agent)}), (*shadow.Value)(nil)
	if l.cfg.Upgrade != nil {
		l.cfg.Upgrade.Want(l.agent)
		agent, upgrade = l.cfg.Upgrade.Report()
	}
	return []shadow.Member{{Key: "agent", Value: agent}, {Key: "upgrade", Value: upgrade}}
}

// storeValue says what is wrong with the node's own disk.
func storeValue(s Store) *shadow.Value {
	if s.SetAside == 0 && s.Error == nil {
		return nil
	}
	return shadow.NewObject(
		shadow.Member{Key: "setAside", Value: shadow.Int(int64(s.SetAside))},
		shadow.Member{Key: "records", Value: shadow.Texts(s.Records)},
		shadow.Member{Key: "error", Value: faultValue(s.Error)},
	)
}

// clip bounds a message that goes into a report.
func clip(s string) string {
	const most = 600
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
