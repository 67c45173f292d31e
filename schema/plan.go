package schema

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// PlanMember is the member of a reported section that has the Plan.
const PlanMember = "plan"

// Plan is what an edge began about one desired version, as it reports it beside
// its observedVersion: {"version":7,"trace":"4bf9…","at":"…","steps":{"plan":0,"start":15}}.
// A step that is repeated has the time of its last beginning.
type Plan struct {
	Version uint64     `json:"version"`
	Trace   string     `json:"trace,omitempty"` // id of the write's trace; "" when it isn't known
	At      time.Time  `json:"at,omitzero"`     // the desired section was on the edge's disk, by the edge's clock, to the millisecond
	Steps   []PlanStep `json:"steps,omitempty"` // in the order of their beginning; at most MaxPlanSteps
}

// PlanStep is one step and how long after Plan.At it began, in whole milliseconds.
type PlanStep struct {
	Name  string   `json:"name"`
	After Duration `json:"after"`
}

// The steps that are no step of an application: the plan itself was made, and
// a policy was given to the scheduler.
const (
	StepPlan  = "plan"
	StepApply = "apply"
)

// Limits of what is read of a plan, which a device may have filled with anything.
const (
	MaxPlanSteps = 8
	maxStepName  = 16
)

// With returns the plan with a step that begins now, in the place of its last
// beginning. The receiver stays as it is.
func (p Plan) With(name string, now time.Time) Plan {
	steps := slices.DeleteFunc(slices.Clone(p.Steps), func(s PlanStep) bool { return s.Name == name })
	p.Steps = append(steps, PlanStep{name, Duration(max(0, now.Sub(p.At)).Truncate(time.Millisecond))})
	return p
}

// Value is the plan as it is reported; nil when there is none.
func (p Plan) Value() *shadow.Value {
	if p.Version == 0 {
		return nil
	}
	members := []shadow.Member{{Key: "version", Value: shadow.Uint(p.Version)}}
	if p.Trace != "" {
		members = append(members, shadow.Member{Key: "trace", Value: shadow.Text(p.Trace)})
	}
	if !p.At.IsZero() {
		members = append(members, shadow.Member{Key: "at", Value: shadow.Text(p.At.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano))})
	}
	steps := make([]shadow.Member, 0, len(p.Steps))
	for _, s := range p.Steps {
		steps = append(steps, shadow.Member{Key: s.Name, Value: shadow.Int(s.After.D().Milliseconds())})
	}
	return shadow.NewObject(append(members, shadow.Member{Key: "steps", Value: shadow.NewObject(steps...)})...)
}

// PlanOf reads the plan of a reported section. What isn't as an edge of ours
// reports it is left out; without a version there is no plan.
func PlanOf(reported *shadow.Value) (p Plan, ok bool) {
	v := reported.Get(PlanMember)
	if p.Version = number(v.Get("version")); p.Version == 0 {
		return Plan{}, false
	}
	if id := v.Get("trace").Text(); wire.ValidTrace(id) {
		p.Trace = id
	}
	if at, err := time.Parse(time.RFC3339Nano, v.Get("at").Text()); err == nil {
		p.At = at
	}
	for name, after := range v.Get("steps").Members() {
		ms, err := strconv.ParseInt(after.Text(), 10, 64)
		if after.Kind() != shadow.Number || err != nil || ms < 0 || ms > maxStepAfter || name == "" || len(name) > maxStepName {
			continue
		}
		if len(p.Steps) == MaxPlanSteps {
			break
		}
		p.Steps = append(p.Steps, PlanStep{name, Duration(time.Duration(ms) * time.Millisecond)})
	}
	slices.SortStableFunc(p.Steps, func(a, b PlanStep) int {
		return cmp.Or(cmp.Compare(a.After, b.After), cmp.Compare(stepOrder(a.Name), stepOrder(b.Name)))
	})
	return p, true
}

// maxStepAfter keeps a time.Duration from overflowing, in milliseconds.
const maxStepAfter = 1 << 43

// stepOrder is the order of steps within one millisecond.
func stepOrder(name string) int {
	return slices.Index([]string{StepPlan, "fetch", "reload", "stop", "start", "withdraw", "retire"}, name)
}

// OutcomeOf reads what an edge reports of a typed shadow beside what it mirrors:
// the desired version it acted on last, and its last error, nil if there is none.
// It looks at no more than that, for those who ask with every report.
func OutcomeOf(shadowName string, reported *shadow.Value) (observed uint64, fault *Fault) {
	if kind, _ := KindOf(shadowName); kind == KindNode {
		reported = reported.Get(NodeMember)
	}
	return number(reported.Get("observedVersion")), faultOf(reported.Get("error"))
}
