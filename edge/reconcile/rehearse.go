package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// Rehearsal is what a plan would lead to, were every step to succeed, everything
// to run well once it is started, and nothing else to happen.
type Rehearsal struct {
	Acts  []Act // in order; those of one round side by side
	Apps  []App
	Views map[string]View // in the end
	Rest  bool            // then nothing more would be done
}

// Act is one step of a rehearsal.
type Act struct {
	Step
	Round int
	After time.Duration // from now, by the pauses between; steps themselves take no time
	Going bool          // it is under way already
}

// Rehearsed begins the names of instances that there would be.
const Rehearsed = "rehearsed-"

// Bounds of a rehearsal.
const (
	maxRounds  = 200
	maxHorizon = 25 * time.Hour // a trial may take a day
)

// Rehearse tells what planning leads to. It is pure.
func Rehearse(desired []state.Desired, in Input) Rehearsal {
	s := stage{in: in, began: in.Now}
	s.in.Fetched, s.in.Busy, s.in.Health = maps.Clone(in.Fetched), maps.Clone(in.Busy), maps.Clone(in.Health)
	if s.in.Fetched == nil {
		s.in.Fetched = map[string]bool{}
	}
	if s.in.Health == nil {
		s.in.Health = map[string]Health{}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Busy)) {
		s.out.Acts = append(s.out.Acts, Act{Step: in.Busy[name], Going: true})
	}
	for n := 1; n <= maxRounds && s.round(n, desired); n++ {
	}
	return s.out
}

// stage is the node of a rehearsal.
type stage struct {
	in    Input
	began time.Time
	out   Rehearsal
	count int // of instances
}

// round plans once and lets what is planned succeed, or time pass; false: there is
// nothing more to come, or not soon.
func (s *stage) round(n int, desired []state.Desired) bool {
	s.in.Apps, s.in.Gone = Prepare(desired, s.in.Memory)
	apps, plan := Decide(desired, s.in)
	s.in.Apps, s.in.Memory = apps, plan.Memory
	s.out.Apps, s.out.Views = apps, plan.Views
	for _, name := range plan.Cancel {
		delete(s.in.Busy, name)
		s.out.Acts = slices.DeleteFunc(s.out.Acts, func(a Act) bool { return a.Going && a.App == name })
	}
	under := slices.Collect(maps.Values(s.in.Busy))
	slices.SortFunc(under, func(a, b Step) int { return strings.Compare(a.App, b.App) })
	for _, step := range plan.Steps {
		s.out.Acts = append(s.out.Acts, Act{Step: step, Round: n, After: s.in.Now.Sub(s.began)})
		under = append(under, step)
	}
	news := s.settle(apps) || len(plan.Cancel) > 0
	for _, step := range under {
		s.succeed(step)
	}
	switch {
	case len(under) > 0 || news:
		return true
	case plan.Wake.IsZero():
		s.out.Rest = true
		return false
	}
	s.in.Now = plan.Wake
	return s.in.Now.Sub(s.began) <= maxHorizon
}

// settle lets come up what was started before, and be found healthy.
func (s *stage) settle(apps []App) (news bool) {
	s.in.Observed = slices.Clone(s.in.Observed)
	for i := range s.in.Observed {
		st := &s.in.Observed[i]
		if st.State == workload.Starting {
			st.State, st.StartedAt, news = workload.Running, s.in.Now, true
		}
		if st.Next != nil && st.Next.State == workload.Starting {
			next := *st.Next
			next.State, next.StartedAt, news = workload.Running, s.in.Now, true
			st.Next = &next
		}
		for j := range apps {
			a := &apps[j]
			if a.Name != st.Name || a.Want == nil || a.Want.Run.Health == nil {
				continue
			}
			if s.healthy(*st) || st.Next != nil && s.healthy(*st.Next) {
				news = true
			}
		}
	}
	return news
}

// healthy lets an instance be found so, if it isn't known to be otherwise.
func (s *stage) healthy(st workload.Status) (news bool) {
	if h := s.in.Health[st.Instance]; st.State != workload.Running || h.State == schema.HealthHealthy || h.State == schema.HealthUnhealthy {
		return false
	}
	s.in.Health[st.Instance] = Health{State: schema.HealthHealthy, Since: s.in.Now}
	return true
}

func (s *stage) succeed(step Step) {
	delete(s.in.Busy, step.App)
	switch step.Kind {
	case Fetch:
		s.in.Fetched[step.Component] = true
	case Start:
		s.start(step)
	case Stop:
		s.end(step.App)
	case Reload:
		s.change(step.App, func(st *workload.Status) { st.Hash = step.Hash })
	case Retire:
		s.change(step.App, func(st *workload.Status) {
			if st.Next != nil {
				*st = *st.Next
			}
		})
	case Withdraw:
		s.change(step.App, func(st *workload.Status) { st.Next = nil })
	case Remove:
		s.end(step.App)
		s.in.Observed = slices.DeleteFunc(s.in.Observed, func(st workload.Status) bool { return st.Name == step.App })
	}
}

func (s *stage) change(name string, f func(*workload.Status)) {
	for i := range s.in.Observed {
		if s.in.Observed[i].Name == name {
			f(&s.in.Observed[i])
		}
	}
}

// end ends an instance, and what is in its container with it.
func (s *stage) end(name string) {
	for i := range s.in.Observed {
		st := &s.in.Observed[i]
		if st.State.Live() && (st.Name == name || st.Target == name) {
			st.State, st.ExitedAt, st.PID, st.Next = workload.Exited, s.in.Now, 0, nil
		}
	}
}

func (s *stage) start(step Step) {
	s.count++
	st := workload.Status{Name: step.App, Instance: fmt.Sprint(Rehearsed, s.count), Hash: step.Hash, State: workload.Running, StartedAt: s.in.Now}
	for i := range s.in.Apps {
		if a := &s.in.Apps[i]; a.Name == step.App && a.Want != nil {
			st.Mode, st.Component = a.Want.Mode, a.Want.Component
			if a.Want.Mode == schema.ModeAttach {
				st.Target, st.TargetInstance = a.Want.AttachTo, step.TargetInstance
			}
		}
	}
	s.in.Memory[step.App] = s.in.Memory[step.App].Started(st, step.Hash, s.in.Boot)
	if step.Former != "" {
		s.change(step.App, func(former *workload.Status) { former.Next = &st })
		return
	}
	s.in.Observed = slices.DeleteFunc(s.in.Observed, func(o workload.Status) bool { return o.Name == step.App })
	s.in.Observed = append(s.in.Observed, st)
	slices.SortFunc(s.in.Observed, func(a, b workload.Status) int { return strings.Compare(a.Name, b.Name) })
}
