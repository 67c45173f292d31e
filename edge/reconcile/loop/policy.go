package loop

import (
	"errors"
	"maps"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// policy is one collection policy between what is desired and what is reported.
type policy struct {
	desired *shadow.Value // that was looked at last
	version uint64        // its version
	applied reconcile.Applied
	settled bool // applied was given to the engine since the start
	fault   *reconcile.Fault
	crowded bool          // refused because of others on its port
	every   time.Duration // between reports of readings
	changes bool          // report only what changed

	reportedAt time.Time
	head       head
	readings   *shadow.Value // as last reported
	cycle      *shadow.Value
	task       *shadow.Value
	backfill   *shadow.Value
	cycles     uint64
	rounds     uint64 // of back-fill
}

// head is what a change of makes a report due at once.
type head struct {
	phase   string
	version uint64
	fault   *reconcile.Fault
}

const failedPhase = "failed"

// applyPolicies gives the engine what changed. A policy that is wrong leaves the
// one before it in force.
func (l *Loop) applyPolicies(desired []state.Desired, complete bool) {
	wanted := map[string]bool{}
	changed := false
	defer func() {
		if changed {
			l.applyCrowded(desired)
		}
	}()
	for _, d := range l.inForceFirst(desired) {
		kind, name := schema.KindOf(d.Name)
		if kind != schema.KindPolicy {
			continue
		}
		if d.Deleted {
			l.removePolicy(name)
			l.gone(d.Name)
			changed = true
			continue
		}
		wanted[name] = true
		p := l.policies[name]
		if p == nil {
			p = new(policy)
			l.policies[name] = p
		}
		if !p.settled || p.version != d.DesiredVersion || p.desired != d.Value {
			l.applyPolicy(name, p, d)
			changed = true
			if plan := l.plans[d.Name]; p.fault == nil && !hasStep(plan, schema.StepApply) {
				l.plans[d.Name] = plan.With(schema.StepApply, l.cfg.Now())
			}
		}
	}
	for name := range l.policies {
		if !wanted[name] && complete {
			l.removePolicy(name)
			changed = true
		}
	}
}

// inForceFirst puts those first that were in force before the agent started, so that
// of several that a port has no room for the same ones are.
func (l *Loop) inForceFirst(desired []state.Desired) []state.Desired {
	rank := func(d state.Desired) int {
		_, name := schema.KindOf(d.Name)
		if p := l.policies[name]; p != nil && p.applied.Desired != nil {
			return 0
		}
		return 1
	}
	sorted := slices.Clone(desired)
	slices.SortStableFunc(sorted, func(a, b state.Desired) int { return rank(a) - rank(b) })
	return sorted
}

// applyCrowded tries policies again that others on their port left no room for,
// now that some policy has changed.
func (l *Loop) applyCrowded(desired []state.Desired) {
	for _, d := range desired {
		kind, name := schema.KindOf(d.Name)
		if p := l.policies[name]; kind == schema.KindPolicy && !d.Deleted && p != nil && p.crowded {
			l.applyPolicy(name, p, d)
		}
	}
}

func (l *Loop) removePolicy(name string) {
	l.cfg.Policies.Remove(name)
	delete(l.policies, name)
}

func (l *Loop) applyPolicy(name string, p *policy, d state.Desired) {
	first := !p.settled
	p.version, p.desired, p.settled, p.fault = d.DesiredVersion, d.Value, true, nil
	if d.Value == nil { // a policy without desired state shall do nothing
		l.cfg.Policies.Remove(name)
		p.applied = reconcile.Applied{Version: d.DesiredVersion}
		return
	}
	err := l.put(name, p, d.DesiredVersion, d.Value)
	p.crowded = errors.Is(err, collect.ErrCrowded)
	if err == nil {
		p.applied = reconcile.Applied{Version: d.DesiredVersion, Desired: d.Value}
		return
	}
	l.cfg.Log.Warn("policy refused", "policy", name, "error", err)
	p.fault = &reconcile.Fault{Code: "invalid", Message: clip(err.Error()), At: l.cfg.Now()}
	if p.crowded {
		p.fault.Code = schema.FaultNoRoom
	}
	if first && p.applied.Desired != nil {
		if err := l.put(name, p, p.applied.Version, p.applied.Desired); err != nil {
			p.applied = reconcile.Applied{}
		}
	}
}

// put gives the engine a policy.
func (l *Loop) put(name string, p *policy, version uint64, desired *shadow.Value) error {
	parsed, err := schema.ParsePolicy(desired.AppendJSON(nil))
	if err != nil {
		return err
	}
	if err := l.cfg.Policies.Apply(name, version, parsed); err != nil {
		return err
	}
	p.every, p.changes = parsed.Report.Every.D(), parsed.Report.OnChange
	l.cfg.Log.Info("policy applied", "policy", name, "version", version, "period", parsed.Period.String())
	return nil
}

// reportPolicies reports the policies that have something new to say, not more
// often than they shall, and returns how they are.
func (l *Loop) reportPolicies() []Policy {
	now := l.cfg.Now()
	all := make([]Policy, 0, len(l.policies))
	for _, name := range slices.Sorted(maps.Keys(l.policies)) {
		p := l.policies[name]
		r, _ := l.cfg.Policies.Report(name)
		s := p.status(name, r)
		s.Plan = l.plans[schema.PolicyPrefix+name]
		all = append(all, s)
		h := head{s.Phase, s.ObservedVersion, p.fault}
		due := p.reportedAt.Add(p.every)
		switch {
		case h != p.head || p.reportedAt.IsZero():
		case r.Cycles == p.cycles && roundsOf(r) == p.rounds:
			continue
		case due.After(now) && due.Sub(now) <= p.every: // further off only if the clock was set back
			l.wakeAt(due)
			continue
		}
		p.head, p.cycles, p.rounds, p.reportedAt = h, r.Cycles, roundsOf(r), now
		l.cfg.Shadows.Report(schema.PolicyPrefix+name, p.report(s, r))
	}
	l.mu.Lock()
	l.status.Policies = all
	l.mu.Unlock()
	return all
}

// roundsOf is how often back-fill went over all meters.
func roundsOf(r collect.Report) uint64 {
	if r.Backfill == nil {
		return 0
	}
	return r.Backfill.Rounds
}

func (p *policy) status(name string, r collect.Report) Policy {
	s := Policy{
		Name: name, Phase: string(r.Phase), DesiredVersion: p.version, ObservedVersion: p.applied.Version,
		Cycles: r.Cycles, Meters: r.Cycle.Meters, Success: r.Cycle.Success, Problem: r.Cycle.Error, Error: p.fault,
	}
	switch {
	case p.fault != nil:
		s.ObservedVersion = p.version
		if p.applied.Desired == nil {
			s.Phase = failedPhase
		}
	case p.applied.Desired == nil:
		s.Phase = string(collect.Disabled)
	}
	return s
}
