package loop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
)

// Change is what might be made of the desired section of an application.
type Change struct {
	App    string
	Patch  *shadow.Value // a merge patch; with Whole the section itself
	Whole  bool
	Delete bool // the application goes, with all that belongs to it
}

// DryRun is what would be done if nothing failed.
type DryRun struct {
	Steps        []DryStep     `json:"steps"`        // in order
	Applications []Application `json:"applications"` // as they would be in the end
	Rest         bool          `json:"rest"`         // nothing more would be done then, for as long as nothing happens
}

// DryStep is one step of a DryRun. Those of one round go on side by side.
type DryStep struct {
	Round     int             `json:"round"` // 0: it is under way already
	Step      string          `json:"step"`
	App       string          `json:"app"`
	Component string          `json:"component,omitempty"`
	Beside    bool            `json:"beside,omitempty"` // a start, while the instance that is to be replaced runs
	Reason    string          `json:"reason,omitempty"`
	After     schema.Duration `json:"after,omitempty"` // pauses before it, from now; steps themselves take no time here
}

func (s DryStep) String() string {
	text := s.Step + " " + s.App
	if s.Component != "" {
		text += " (" + s.Component + ")"
	}
	if s.After > 0 {
		text += " after " + s.After.String()
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}

type question struct {
	changes []Change
	answer  chan answer // of one element
}

type answer struct {
	run DryRun
	err error
}

// Plan tells what would be done if what is desired were changed, without changing
// anything; with no changes, what is about to be done. It needs Run. A change that
// desires something invalid is refused with a *schema.Error.
func (l *Loop) Plan(ctx context.Context, changes ...Change) (DryRun, error) {
	q := question{changes, make(chan answer, 1)}
	select {
	case l.asked <- q:
	case <-ctx.Done():
		return DryRun{}, fmt.Errorf("plan: %w", ctx.Err())
	}
	select {
	case a := <-q.answer:
		return a.run, a.err
	case <-ctx.Done():
		return DryRun{}, fmt.Errorf("plan: %w", ctx.Err())
	}
}

func (l *Loop) rehearse(ctx context.Context, changes []Change) answer {
	desired, complete := l.cfg.Shadows.Desired()
	desired = slices.Clone(desired)
	for _, c := range changes {
		var err error
		if desired, err = c.apply(desired); err != nil {
			return answer{err: fmt.Errorf("plan: %w", err)}
		}
	}
	observed, err := l.cfg.Workloads.List(ctx)
	if err != nil {
		return answer{err: fmt.Errorf("plan: list workloads: %w", err)}
	}
	r := reconcile.Rehearse(desired, l.input(l.cfg.Now(), complete, observed))
	out := DryRun{Steps: []DryStep{}, Applications: []Application{}, Rest: r.Rest}
	for _, a := range r.Acts {
		out.Steps = append(out.Steps, DryStep{
			Round: a.Round, Step: string(a.Kind), App: a.App, Component: a.Component, Beside: a.Former != "", Reason: a.Reason,
			After: schema.Duration(a.After.Truncate(time.Millisecond)),
		})
	}
	for i := range r.Apps {
		one := applicationOf(&r.Apps[i], r.Views[r.Apps[i].Name], schema.Plan{})
		if strings.HasPrefix(one.Instance, reconcile.Rehearsed) {
			one.Instance, one.StartedAt = "", time.Time{}
		}
		out.Applications = append(out.Applications, one)
	}
	return answer{run: out}
}

// apply makes the change. The version is the next one, as it would be.
func (c Change) apply(desired []state.Desired) ([]state.Desired, error) {
	name := schema.AppPrefix + c.App
	if !schema.ValidName(c.App) {
		return nil, fmt.Errorf("application %q: a name is %s", c.App, schema.NameRule)
	}
	i := slices.IndexFunc(desired, func(d state.Desired) bool { return d.Name == name })
	if i < 0 {
		i = len(desired)
		desired = append(desired, state.Desired{Name: name, Deleted: c.Delete})
	}
	d := desired[i]
	d.Version, d.DesiredVersion = d.Version+1, d.DesiredVersion+1
	switch {
	case c.Delete:
		d.Deleted, d.Value = true, nil
	case c.Whole:
		d.Deleted, d.Value = false, c.Patch
	default:
		base := d.Value
		if d.Deleted || base == nil {
			base = shadow.NewObject()
		}
		d.Deleted, d.Value = false, shadow.Merge(base, c.Patch, 0)
	}
	if d.Value != nil && !d.Deleted {
		if err := schema.Validate(name, d.Value); err != nil {
			return nil, err
		}
	}
	desired[i] = d
	return desired, nil
}
