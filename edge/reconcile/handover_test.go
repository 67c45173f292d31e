package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// takes is an application that takes over from itself; n makes one of another.
func takes(n string, more ...string) string {
	return `{"component":"c@1","update":{"strategy":"auto"},"run":{"network":"bridge","env":{"N":"` + n + `"}` + strings.Join(more, "") + `}}`
}

const withProbe = `,"health":{"tcp":{"port":80},"failures":2}`

// two brings up a first version and then has another one running beside it.
func two(t *testing.T, first, second string) *scene {
	t.Helper()
	s := newScene(t).fetched("c@1").want("a", first)
	s.steps("start a")
	s.runs("a", "i1").good("i1")
	s.steps()
	s.pass(time.Hour).steps()
	s.want("a", second)
	if p := s.steps("start a"); p.Steps[0].Former != "i1" {
		t.Fatalf("not beside what runs: %+v", p.Steps)
	}
	return s.next("a", "i2")
}

// next lets a start beside what runs succeed.
func (s *scene) next(name, instance string) *scene {
	s.t.Helper()
	a, st := s.app(name), s.observed(name)
	next := workload.Status{Name: name, Instance: instance, Hash: a.Hash, State: workload.Running, StartedAt: s.in.Now, Mode: a.Want.Mode, Component: a.Want.Component,
		Target: st.Target, TargetInstance: st.TargetInstance}
	s.in.Memory[name] = s.in.Memory[name].Started(next, a.Hash, s.in.Boot)
	st.Next = &next
	return s.observe(st)
}

// retired lets the second of two be the only one, withdrawn the first.
func (s *scene) retired(name string) *scene { return s.observe(*s.observed(name).Next) }

func (s *scene) withdrawn(name string) *scene {
	st := s.observed(name)
	st.Next = nil
	return s.observe(st)
}

// nextEnds lets the second of two end by itself.
func (s *scene) nextEnds(name string, code int) *scene {
	st := s.observed(name)
	next := *st.Next
	next.State, next.ExitCode, next.ExitedAt = workload.Exited, code, s.in.Now
	st.Next = &next
	return s.observe(st)
}

func (s *scene) foundBeside(instance string, state schema.HealthState) *scene {
	if s.in.Health == nil {
		s.in.Health = map[string]Health{}
	}
	s.in.Health[instance] = Health{State: state, Since: s.in.Now, Message: "said so"}
	return s
}

func (s *scene) good(instance string) *scene { return s.foundBeside(instance, schema.HealthHealthy) }

// coded checks that there is a blocker.
func (s *scene) coded(name, code string) *schema.Blocker {
	s.t.Helper()
	for i, b := range s.prev.Views[name].Blockers {
		if b.Code == code {
			return &s.prev.Views[name].Blockers[i]
		}
	}
	s.t.Fatalf("%s: blockers %+v, want %s", name, s.prev.Views[name].Blockers, code)
	return nil
}

func TestHandOver_StartsBeforeItStops(t *testing.T) {
	s := two(t, takes("1"), takes("2"))
	p := s.steps()
	v := s.phase("a", Running)
	if v.Status.Instance != "i1" || v.Next == nil || v.Next.Instance != "i2" || v.Observed != 1 {
		t.Errorf("view %+v", v)
	}
	if due := noon.Add(time.Hour + 10*time.Second); !s.coded("a", schema.BlockedHandOver).Until.Equal(due) || !p.Wake.Equal(due) {
		t.Errorf("until %+v, wake %s", v.Blockers, p.Wake)
	}
	s.pass(9 * time.Second).steps()
	p = s.pass(time.Second).steps("retire a")
	if st := p.Steps[0]; st.Instance != "i1" || st.Grace != 10*time.Second || !strings.Contains(st.Reason, "version 2") {
		t.Errorf("step %+v", st)
	}
	if s.phase("a", Running); s.prev.Views["a"].Observed != 1 {
		t.Error("committed while the former one is there")
	}
	s.retired("a").steps()
	if v := s.phase("a", Running); v.Observed != 2 || v.Next != nil || v.Status.Instance != "i2" || v.Fault != nil || v.Memory.Committed != s.app("a").Content || v.Memory.Restarts != 0 {
		t.Errorf("view %+v", v)
	}
	if p := s.pass(time.Hour).steps(); !p.Wake.IsZero() {
		t.Errorf("no rest: %s", p.Wake)
	}
}

func TestHandOver_WaitsForHealth(t *testing.T) {
	s := two(t, takes("1", withProbe), takes("2", withProbe))
	s.steps()
	s.coded("a", schema.BlockedHandOver)
	s.pass(30 * time.Second).steps() // it has not been found well
	s.good("i2").steps()
	s.pass(5*time.Second).foundBeside("i2", schema.HealthStarting).steps()
	s.pass(time.Second).good("i2").steps()
	s.pass(9 * time.Second).steps()
	s.pass(time.Second).steps("retire a")
}

// What fails beside the one that runs isn't tried again, and what runs goes on.
func TestHandOver_Fails(t *testing.T) {
	for name, fail := range map[string]func(*scene) string{
		"ends":      func(s *scene) string { s.nextEnds("a", 3); return "exit status 3" },
		"unhealthy": func(s *scene) string { s.foundBeside("i2", schema.HealthUnhealthy); return "said so" },
		"too late":  func(s *scene) string { s.pass(time.Hour); return "not well within" },
	} {
		t.Run(name, func(t *testing.T) {
			s := two(t, takes("1", withProbe), takes("2", withProbe))
			s.steps()
			text := fail(s)
			s.decide("withdraw a")
			if st := s.prev.Steps[0]; st.Instance != "i2" {
				t.Errorf("step %+v", st)
			}
			if f := s.faulty("a", codeRolledBack); !strings.Contains(f.Message, text) || f.Retryable {
				t.Errorf("fault %+v", f)
			}
			s.withdrawn("a")
			for range 3 {
				s.pass(time.Hour).decide()
				if v := s.phase("a", Running); v.Status.Instance != "i1" || v.Observed != 2 || v.Memory.Applied.Version != 1 {
					t.Errorf("view %+v", v)
				}
				s.faulty("a", codeRolledBack)
			}
			s.want("a", takes("3", withProbe)).decide("start a")
			if st := s.prev.Steps[0]; st.Former != "i1" {
				t.Errorf("step %+v", st)
			}
			s.faulty("a", "")
		})
	}
}

// decide plans as the loop does, with what follows from what is given up.
func (s *scene) decide(want ...string) Plan {
	s.t.Helper()
	all := s.all()
	s.in.Apps, s.in.Gone = Prepare(all, s.in.Memory)
	apps, p := Decide(all, s.in)
	s.in.Apps, s.in.Memory, s.prev = apps, p.Memory, p
	if got := stepNames(p); !slices.Equal(got, want) {
		s.t.Fatalf("steps %q, want %q; views %+v", got, want, p.Views)
	}
	return p
}

func TestHandOver_WhatStandsAgainstIt(t *testing.T) {
	const volume = `,"volumes":[{"path":"/v","name":"v"}]`
	for _, c := range []struct {
		name, first, second string
		alter               func(*scene)
		says                string
	}{
		{"port", takes("1"), takes("2", `,"ports":[{"host":80}]`), func(s *scene) { s.claims("a", "run.ports tcp 80") }, "run.ports tcp 80"},
		{"serial", takes("1"), takes("2", `,"serial":["/dev/ttyS1"]`), func(s *scene) { s.claims("a", "run.serial /dev/ttyS1") }, "run.serial /dev/ttyS1"},
		{"volume", takes("1"), takes("2", volume), func(s *scene) { s.claims("a", "run.volumes v") }, "update.shared"},
		{"data", takes("1"), takes("2"), func(s *scene) { s.claims("a", workload.ClaimData) }, "both need its data"},
		{"probe", strings.Replace(takes("1", withProbe), "bridge", "host", 1), strings.Replace(takes("2", withProbe), "bridge", "host", 1), nil, "its probe would be answered"},
		{"mode", takes("1"), `{"mode":"host","update":{"strategy":"auto"},"run":{"command":["x"]}}`, nil, "another mode"},
		{"not running", takes("1"), takes("2"), func(s *scene) { st := s.observed("a"); st.State = workload.Starting; s.observe(st) }, "doesn't run yet"},
		{"attached", takes("1"), takes("2"), func(s *scene) {
			s.want("b", `{"mode":"attach","attachTo":"a","dependsOn":["c"],"run":{"command":["x"]}}`)
		}, "attached to it: b"},
		{"memory", takes("1"), takes("2", `,"resources":{"memory":"64Mi"}`), func(s *scene) { s.in.Room = Room{Total: 1 << 30, Free: 100 << 20} }, "too little memory"},
		{"memory in use", takes("1"), takes("2"), func(s *scene) {
			s.in.Room = Room{Total: 1 << 30, Free: 100 << 20, Uses: map[string]int64{"a": 64 << 20}}
		}, "too little memory"},
	} {
		for _, strategy := range []string{"auto", "start-first", "stop-first"} {
			t.Run(c.name+" "+strategy, func(t *testing.T) {
				s := newScene(t).fetched("c@1").want("a", c.first)
				s.runs("a", "i1").good("i1").steps()
				s.pass(time.Hour).steps()
				s.want("a", strings.Replace(c.second, `"auto"`, `"`+strategy+`"`, 1))
				if c.alter != nil {
					c.alter(s)
				}
				switch strategy {
				case "stop-first":
					if p := s.steps("stop a"); strings.Contains(p.Steps[0].Reason, "first") {
						t.Errorf("reason %q", p.Steps[0].Reason)
					}
				case "auto":
					p := s.steps("stop a")
					if text := s.coded("a", schema.BlockedStopFirst).Message; !strings.Contains(text, c.says) || !strings.Contains(p.Steps[0].Reason, c.says) {
						t.Errorf("says %q, reason %q, want %q", text, p.Steps[0].Reason, c.says)
					}
				default:
					s.steps()
					if text := s.coded("a", schema.BlockedBeside).Message; !strings.Contains(text, c.says) {
						t.Errorf("says %q, want %q", text, c.says)
					}
					s.phase("a", Running)
				}
			})
		}
	}
}

func (s *scene) claims(name string, claims ...string) {
	st := s.observed(name)
	st.Claims = claims
	s.observe(st)
}

// What is said to be fit for two doesn't stand against it.
func TestHandOver_Shared(t *testing.T) {
	second := strings.Replace(takes("2", `,"volumes":[{"path":"/v","name":"v"}],"devices":[{"path":"/dev/x"}]`), `"auto"`, `"auto","shared":true`, 1)
	s := newScene(t).fetched("c@1").want("a", takes("1"))
	s.runs("a", "i1").steps()
	s.pass(time.Hour).steps()
	s.want("a", second).claims("a", workload.ClaimData, "run.volumes v", "run.devices /dev/x")
	s.steps("start a")

	// A probe that both may answer proves nothing until there is but one.
	host := func(n string) string {
		return `{"mode":"host","update":{"strategy":"start-first","shared":true},"run":{"command":["x"],"env":{"N":"` + n + `"}` + withProbe + `}}`
	}
	s = two(t, host("1"), host("2"))
	s.good("i2").steps()
	s.pass(10 * time.Second).steps("retire a")
	s.retired("a").steps()
	if s.phase("a", Running); s.coded("a", schema.BlockedCommit) == nil || s.prev.Views["a"].Observed != 1 {
		t.Error("committed on the word of the other")
	}
	s.pass(10 * time.Second).steps()
	if s.prev.Views["a"].Observed != 2 {
		t.Error("not committed")
	}
}

// Desired changes while there are two.
func TestHandOver_IsCancelled(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		steps  []string
		then   []string // once the second is gone
	}{
		"back":      {func(s *scene) { s.want("a", takes("1")) }, []string{"withdraw a"}, nil},
		"other":     {func(s *scene) { s.want("a", takes("3")) }, []string{"withdraw a"}, []string{"start a"}},
		"stopped":   {func(s *scene) { s.want("a", strings.Replace(takes("2"), `"run"`, `"state":"stopped","run"`, 1)) }, []string{"stop a"}, []string{"stop a"}},
		"deleted":   {func(s *scene) { s.delete("a") }, []string{"remove a"}, []string{"remove a"}},
		"invalid":   {func(s *scene) { s.want("a", `{"mode":"nonsense"}`) }, []string{"withdraw a"}, nil},
		"held":      {func(s *scene) { s.in.Holds.Stop = map[string]string{"a": "disk"} }, []string{"stop a"}, []string{"stop a"}},
		"forgotten": {func(s *scene) { delete(s.desired, "a"); s.in.Complete = false }, []string{"withdraw a"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := two(t, takes("1"), takes("2"))
			s.steps()
			c.change(s)
			s.steps(c.steps...)
			s.withdrawn("a").steps(c.then...)
			if f := s.prev.Views["a"].Fault; f != nil && name != "invalid" {
				t.Errorf("fault %+v", f)
			}
		})
	}
}

// The former one ends by itself: then there is the other, still on trial.
func TestHandOver_FormerEnds(t *testing.T) {
	s := two(t, takes("1"), takes("2"))
	s.steps()
	s.pass(5 * time.Second).retired("a").steps()
	s.coded("a", schema.BlockedCommit)
	s.pass(10 * time.Second).steps()
	if v := s.phase("a", Running); v.Observed != 2 {
		t.Errorf("view %+v", v)
	}
}

// An agent that knows nothing but what is on disk goes on where another was killed.
func TestHandOver_WithoutMemory(t *testing.T) {
	s := two(t, takes("1"), takes("2"))
	s.steps()
	s.in.Memory, s.in.Fetched = map[string]Memory{}, map[string]bool{}
	s.steps()
	s.pass(10 * time.Second).steps("retire a")

	// It was killed while it took the second back.
	s = two(t, takes("1"), takes("2"))
	s.want("a", takes("1")).steps("withdraw a")
	s.nextEnds("a", 143)
	s.steps("withdraw a")
	s.want("a", takes("2")).decide("withdraw a")
	s.faulty("a", "")

	// The second never comes up.
	s = two(t, takes("1"), takes("2"))
	st := s.observed("a")
	st.Next.State = workload.Starting
	s.observe(st)
	s.steps()
	s.pass(59 * time.Second).steps()
	s.pass(time.Second).decide("withdraw a")
	s.faulty("a", codeRolledBack)
}

// What runs was never committed: it goes on for as long as it does, and only then
// gives way to what was.
func TestHandOver_FailsBesideWhatIsOnTrial(t *testing.T) {
	slow := func(n string) string {
		return strings.Replace(takes(n), `"auto"`, `"auto","healthy":"2h"`, 1)
	}
	s := two(t, takes("1"), slow("2"))
	s.steps()
	s.pass(schema.MaxBeside).steps("retire a") // it isn't kept for two hours
	s.retired("a").steps()
	s.coded("a", schema.BlockedCommit)
	s.want("a", slow("3")).steps("start a")
	s.next("a", "i3").steps()
	s.nextEnds("a", 1).decide("withdraw a")
	s.faulty("a", codeRolledBack)
	s.withdrawn("a").decide()
	if v := s.phase("a", Running); v.Status.Instance != "i2" {
		t.Errorf("view %+v", v)
	}
	s.pass(time.Hour).decide()
	s.ends("a", 1).decide("start a")
	if s.prev.Steps[0].Hash == s.observed("a").Hash || s.prev.Steps[0].Former != "" {
		t.Errorf("step %+v", s.prev.Steps[0])
	}
	s.runs("a", "i4").decide()
	if v := s.phase("a", Running); v.Memory.Applied.Version != 1 {
		t.Errorf("view %+v", v)
	}

	// And with nothing to go back to it is better to try again than to run nothing.
	s = newScene(t).fetched("c@1").want("a", slow("1"))
	s.runs("a", "i1").steps()
	s.want("a", slow("2")).steps("start a")
	s.next("a", "i2").steps()
	s.nextEnds("a", 1).decide("withdraw a")
	s.faulty("a", codeHandOver)
	s.withdrawn("a").pass(time.Hour).decide()
	s.phase("a", Running)
	s.ends("a", 1).decide("start a")
	s.faulty("a", "")
}

// What was committed before is tried again, in its own time; automatically the one
// that runs then goes first.
func TestHandOver_OfWhatWasCommitted(t *testing.T) {
	for strategy, then := range map[string]string{"auto": "stop a", "start-first": "start a"} {
		t.Run(strategy, func(t *testing.T) {
			doc := func(n, healthy string) string {
				return strings.Replace(takes(n), `"auto"`, `"`+strategy+`","healthy":"`+healthy+`"`, 1)
			}
			s := two(t, doc("1", "10s"), doc("2", "2h"))
			s.steps()
			s.pass(schema.MaxBeside).steps("retire a")
			s.retired("a").steps()
			s.want("a", doc("1", "10s")).steps("start a")
			s.next("a", "i3").steps()
			s.nextEnds("a", 1).decide("withdraw a")
			if f := s.faulty("a", "exited"); !f.Retryable {
				t.Errorf("fault %+v", f)
			}
			s.decide("withdraw a") // and it counts once
			if m := s.in.Memory["a"]; m.Attempts != 1 {
				t.Errorf("memory %+v", m)
			}
			s.withdrawn("a").decide()
			s.coded("a", schema.BlockedBackoff)
			s.pass(time.Second).decide(then)
		})
	}
}

// A step that ends one of two fails, and is tried again after a pause.
func TestHandOver_EndingFails(t *testing.T) {
	s := two(t, takes("1"), takes("2"))
	s.pass(10 * time.Second).steps()
	s.pass(10 * time.Second).steps("retire a")
	s.fails("a", Fault{Code: "retire-failed"}).steps()
	s.faulty("a", "retire-failed")
	s.pass(time.Second).steps("retire a")
	s.retired("a").steps()
	s.faulty("a", "")

	s = two(t, takes("1"), takes("2"))
	s.want("a", takes("1")).steps("withdraw a")
	s.fails("a", Fault{Code: "withdraw-failed"}).steps()
	s.faulty("a", "withdraw-failed")
	s.pass(time.Second).steps("withdraw a")
	s.withdrawn("a").steps()
	s.faulty("a", "")
}

// What runs stands in the way after all: what planning can't know the start says.
func TestHandOver_StartIsRefused(t *testing.T) {
	for strategy, then := range map[string]string{"auto": "stop a", "start-first": "start a"} {
		second := strings.Replace(takes("2"), `"auto"`, `"`+strategy+`","rollback":true`, 1)
		s := newScene(t).fetched("c@1").want("a", takes("1"))
		s.runs("a", "i1").steps()
		s.pass(time.Hour).steps()
		s.want("a", second).steps("start a")
		s.fails("a", Fault{Code: codeBeside, Message: "no", Retryable: true}).decide()
		s.faulty("a", codeBeside)
		s.pass(time.Minute).decide(then)
	}
}

// A program that has done what it had to has taken the other's place.
func TestHandOver_OfAJob(t *testing.T) {
	job := func(n string) string { return takes(n, `,"restart":{"policy":"on-failure"}`) }
	s := two(t, job("1"), job("2"))
	s.nextEnds("a", 0).steps("stop a")
	st := s.observed("a")
	st.Next, st.State, st.ExitCode = nil, workload.Exited, 143
	s.observe(st).steps()
	if v := s.phase("a", Stopped); v.Observed != 2 || v.Fault != nil {
		t.Errorf("view %+v", v)
	}
}

// Nothing joins a container that is about to be another one.
func TestHandOver_NothingJoins(t *testing.T) {
	s := two(t, takes("1"), takes("2"))
	s.want("b", `{"mode":"attach","attachTo":"a","run":{"command":["x"]}}`).steps()
	s.blocked("b", "it is being replaced")
	s.pass(10 * time.Second).steps("retire a")
	s.retired("a").steps("start b")
}

// What was being ended when it became the wanted one again has not failed, however
// late it ends.
func TestHandOver_FormerEndsLate(t *testing.T) {
	never := func(n string) string { return takes(n, `,"restart":{"policy":"never"}`) }
	s := two(t, never("1"), never("2"))
	s.steps()
	s.pass(10 * time.Second).steps("retire a")
	s.fails("a", Fault{Code: "retire-timeout"}).want("a", never("1"))
	s.observe(workload.Status{Name: "a", Instance: "i1", Hash: s.hash("a"), State: workload.Exited, ExitCode: 143, ExitedAt: s.in.Now})
	s.pass(time.Minute).steps("start a")
	s.faulty("a", "")
}

// The second of two is ended while nothing is known of what is wanted. That it is
// found ended when it is wanted again is no failure.
func TestHandOver_WithdrawnUnwanted(t *testing.T) {
	s := two(t, takes("1"), takes("2"))
	s.steps()
	d := s.desired["a"]
	delete(s.desired, "a")
	s.in.Complete = false
	s.steps("withdraw a")
	s.desired["a"] = d
	s.nextEnds("a", 143).steps("withdraw a")
	s.withdrawn("a").steps("start a")
	s.faulty("a", "")
}

// Nor while the other one is only being started.
func TestHandOver_NothingJoinsWhileItBegins(t *testing.T) {
	s := newScene(t).fetched("c@1").want("a", takes("1")).runs("a", "i1")
	s.steps()
	s.want("a", takes("2"))
	s.in.Busy["a"] = s.steps("start a").Steps[0]
	s.want("b", `{"mode":"attach","attachTo":"a","run":{"command":["x"]}}`).steps()
	s.blocked("b", "it is being replaced")
	delete(s.in.Busy, "a")
	s.next("a", "i2").steps()
	s.pass(10 * time.Second).steps("retire a")
	s.retired("a").steps("start b")
}

// What was asked to end by an agent that is gone may end only once another runs
// beside it, and then hasn't failed.
func TestHandOver_FormerWasToEnd(t *testing.T) {
	never := func(n string) string { return takes(n, `,"restart":{"policy":"never"}`) }
	s := newScene(t).fetched("c@1").want("a", never("1")).runs("a", "i1")
	s.steps()
	s.want("a", "").steps("stop a") // and the agent ends
	s.want("a", never("2")).steps("start a")
	s.next("a", "i2").want("a", never("1")).steps("withdraw a")
	s.withdrawn("a").steps()
	s.ends("a", 137).steps("start a")
	s.faulty("a", "")
}

func TestHandOver_IsRehearsed(t *testing.T) {
	s := newScene(t).fetched("c@1").want("a", takes("1", withProbe))
	s.runs("a", "i1").good("i1").steps()
	s.pass(time.Hour).steps()
	s.want("a", takes("2", withProbe))
	r := Rehearse(s.all(), s.in)
	var got []string
	for _, act := range r.Acts {
		got = append(got, string(act.Kind)+" "+act.After.String())
	}
	if want := []string{"start 0s", "retire 10s"}; !slices.Equal(got, want) || !r.Rest || r.Views["a"].Next != nil {
		t.Errorf("acts %q, want %q; %+v", got, want, r)
	}
	if !strings.Contains(r.Acts[0].Reason, "beside the one that runs; another run configuration: run.env.N") {
		t.Errorf("reason %q", r.Acts[0].Reason)
	}
}
