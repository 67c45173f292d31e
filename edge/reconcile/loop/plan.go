package loop

import (
	"slices"
	"time"

	"gnomon/edge/state"
	"gnomon/schema"
)

// planned notes that a plan has been made of what is desired, for what hasn't
// had one yet. What is no longer desired has none.
func (l *Loop) planned(desired []state.Desired, now time.Time) {
	wanted := make(map[string]bool, len(desired))
	for _, d := range desired {
		if kind, _ := schema.KindOf(d.Name); d.Deleted || kind != schema.KindApplication && kind != schema.KindPolicy {
			continue
		}
		wanted[d.Name] = true
		if l.plans[d.Name].Version == d.DesiredVersion {
			continue
		}
		p := schema.Plan{Version: d.DesiredVersion, Trace: d.Trace, At: d.At}
		if p.At.IsZero() {
			p.At = now
		}
		l.plans[d.Name] = p.With(schema.StepPlan, now)
		l.cfg.Log.Debug("change", "step", "planned", "shadow", d.Name, "version", d.DesiredVersion, "trace", d.Trace)
	}
	for name := range l.plans {
		if !wanted[name] {
			delete(l.plans, name)
		}
	}
}

// begun notes a step of what is desired. What happens once that has been applied
// is no step of it any more, but the restart of what ended, for instance.
func (l *Loop) begun(shadowName, step string, applied uint64) {
	if p, ok := l.plans[shadowName]; ok && p.Version != applied {
		l.plans[shadowName] = p.With(step, l.cfg.Now())
	}
}

func hasStep(p schema.Plan, name string) bool {
	return slices.ContainsFunc(p.Steps, func(s schema.PlanStep) bool { return s.Name == name })
}
