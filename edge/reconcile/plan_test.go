package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/workload"
)

const (
	web     = `{"component":"web@1"}`
	webEnv  = `{"component":"web@1","run":{"env":{"A":"1"}}}`
	web2    = `{"component":"web@2"}`
	program = `{"mode":"host","run":{"command":["/bin/p"]}}`
)

// running is a scene in which web runs.
func running(t *testing.T) *scene {
	s := newScene(t).want("web", web).fetched("web@1").runs("web", "i1")
	s.steps()
	s.phase("web", Running)
	return s
}

func TestMake_FetchesThenStarts(t *testing.T) {
	s := newScene(t).want("web", web)
	p := s.steps("fetch web")
	s.phase("web", Fetching)
	if st := p.Steps[0]; st.Component != "web@1" || st.Hash != s.hash("web") {
		t.Errorf("%+v", st)
	}
	s.fetched("web@1").steps("start web")
	s.phase("web", Starting)
	s.runs("web", "i1").steps()
	if v := s.phase("web", Running); v.Observed != 1 || v.Memory.Applied.Version != 1 || v.Fault != nil {
		t.Errorf("%+v", v)
	}
	if !s.prev.Wake.IsZero() {
		t.Error("nothing is waited for, and yet", s.prev.Wake)
	}
}

func TestMake_StartsWhatNeedsNoComponent(t *testing.T) {
	s := newScene(t).want("p", program)
	s.steps("start p")
	if v := s.phase("p", Starting); v.Observed != 0 {
		t.Error("said to be applied before it is:", v.Observed)
	}
}

func TestMake_NeverTouchesWhatRunsAsWanted(t *testing.T) {
	for _, text := range []string{
		web,
		`{"component":"web@1","state":"running","mode":"container"}`,
		`{"component":"web@1","run":{"env":{},"files":[],"ports":[],"serial":[]}}`,
		`{"component":"web@1","run":{"userNamespace":"host"}}`,
		`{"component":"web@1","run":{"stopGrace":"1s"}}`,
		`{"component":"web@1","run":{"restart":{"policy":"never","backoff":"5s"}}}`,
		`{"component":"web@1","run":{"health":{"tcp":{"port":80}}}}`,
		`{"component":"web@1","dependsOn":["other"]}`,
	} {
		s := running(t).want("web", text)
		s.in.Fetched = map[string]bool{} // not even if its component is gone
		s.in.Boot = "boot-2"
		s.steps()
		if v := s.phase("web", Running); v.Observed != 2 {
			t.Errorf("%s: observed %d", text, v.Observed)
		}
	}
}

// An agent that knows more members must find the hashes of one that doesn't.
func TestPrepare_HashesDoNotChangeWithTheAgent(t *testing.T) {
	s := newScene(t).want("a", web).want("b", `{"component":"web@1","run":{"command":["/x"],"env":{"A":"","B":"2"},
		"files":[{"path":"/f","content":"c"}],"ports":[{"host":80}],"resources":{"cpu":"500m","memory":"64Mi"},"user":"1:2"}}`)
	for name, want := range map[string]string{"a": "162bf53047fa44b5", "b": "ec497553118f65cb"} {
		if got := s.hash(name); got != want {
			t.Errorf("%s: %s, want %s: every application on every node would be restarted", name, got, want)
		}
	}
}

func TestPrepare_WhatRunsDifferentlyHasAnotherHash(t *testing.T) {
	seen := map[string]string{}
	for _, text := range []string{
		web, webEnv, web2,
		`{"component":"web@1","run":{"env":{"A":""}}}`,
		`{"component":"web@1","run":{"args":["a"]}}`,
		`{"component":"web@1","run":{"args":["a",""]}}`,
		`{"component":"web@1","run":{"command":["a"]}}`,
		`{"component":"web@1","run":{"files":[{"path":"/f"}]}}`,
		`{"component":"web@1","run":{"ports":[{"host":80}]}}`,
		`{"component":"web@1","run":{"user":"1"}}`,
		`{"component":"web@1","run":{"dir":"/"}}`,
		`{"component":"web@1","run":{"privileged":true}}`,
		`{"component":"web@1","run":{"serial":["/dev/ttyS1"]}}`,
		`{"component":"web@1","run":{"hostname":"h"}}`,
		`{"component":"web@1","run":{"userNamespace":"auto"}}`,
		`{"component":"web@1","run":{"resources":{"memory":"64Mi"}}}`,
		`{"component":"web@1","mode":"host"}`,
	} {
		h := newScene(t).want("web", text).hash("web")
		if other, twice := seen[h]; twice {
			t.Errorf("%s and %s have the same hash", text, other)
		}
		seen[h] = text
	}
}

func TestMake_ReplacesOnceTheNewOneCanStart(t *testing.T) {
	s := running(t).want("web", web2)
	s.steps("fetch web")
	s.fails("web", Fault{Code: "fetch-failed", Retryable: true}).steps()
	s.phase("web", Running)
	s.faulty("web", "fetch-failed")
	if s.prev.Wake != noon.Add(time.Second) {
		t.Error("wake", s.prev.Wake)
	}
	s.pass(time.Second).steps("fetch web")
	p := s.fetched("web@2").steps("stop web")
	if st := p.Steps[0]; st.Grace != 10*time.Second {
		t.Errorf("%+v", st)
	}
	s.phase("web", Stopping)
	s.ends("web", 143).steps("start web")
	s.runs("web", "i2").steps()
	if v := s.phase("web", Running); v.Memory.Restarts != 0 || v.Memory.Attempts != 0 || v.Observed != 2 {
		t.Errorf("%+v", v)
	}
}

func TestMake_ReplacesOnceNothingBlocksTheNewOne(t *testing.T) {
	s := running(t).want("web", `{"component":"web@2","dependsOn":["db"]}`).fetched("web@2", "db@1")
	s.steps()
	s.phase("web", Running)
	s.blocked("web", "dependency db missing")
	s.want("db", `{"component":"db@1"}`).steps("start db")
	s.blocked("web", "waiting for db: starting")
	s.runs("db", "d1").steps("stop web")
}

func TestMake_ChangedEnvIsOneStop(t *testing.T) {
	s := running(t).want("other", program).runs("other", "o1").want("web", webEnv)
	s.steps("stop web")
	s.in.Busy["web"] = s.prev.Steps[0]
	s.steps()
	s.phase("web", Stopping)
}

func TestMake_StateStopped(t *testing.T) {
	s := running(t).want("web", `{"component":"web@1","state":"stopped","run":{"stopGrace":"3s"}}`)
	if p := s.steps("stop web"); p.Steps[0].Grace != 3*time.Second {
		t.Errorf("%+v", p.Steps[0])
	}
	s.ends("web", 1).steps()
	if v := s.phase("web", Stopped); v.Fault != nil || v.Observed != 2 || v.Memory.Exit.Code != 1 {
		t.Errorf("%+v", v)
	}
	// How it ended when it was stopped is no failure later.
	s.want("web", web).steps("start web")
	s.faulty("web", "")
}

func TestMake_NothingDesiredIsStopped(t *testing.T) {
	s := running(t).want("web", "")
	s.steps("stop web")
	s.ends("web", 0).steps()
	s.phase("web", Stopped)
}

func TestMake_DeletedIsRemovedThenGone(t *testing.T) {
	for _, complete := range []bool{false, true} {
		s := running(t).delete("web")
		s.in.Complete = complete
		if p := s.steps("remove web"); len(p.Gone) != 0 || len(p.Views) != 0 {
			t.Errorf("%+v", p)
		}
		s.in.Busy["web"] = s.prev.Steps[0]
		if p := s.steps(); len(p.Gone) != 0 {
			t.Error("gone while it is being removed")
		}
		delete(s.in.Busy, "web")
		if p := s.observe(workload.Status{Name: "web"}).steps(); !slices.Equal(p.Gone, []string{"web"}) || len(p.Memory) != 0 {
			t.Errorf("%+v", p)
		}
	}
}

func TestMake_UnwantedStaysUntilAllIsKnown(t *testing.T) {
	s := running(t)
	delete(s.desired, "web")
	s.in.Complete = false
	if p := s.steps(); p.Memory["web"].Applied.Version != 1 {
		t.Error("what is known of it is forgotten")
	}
	s.in.Complete = true
	s.steps("remove web")
}

func TestMake_RemoveIsTriedAgain(t *testing.T) {
	s := running(t).delete("web")
	s.steps("remove web")
	s.fails("web", Fault{Code: "whatever"}).steps()
	if s.prev.Wake != noon.Add(time.Second) {
		t.Error("wake", s.prev.Wake)
	}
	s.pass(-1000 * time.Hour).steps() // the clock is set
	s.pass(longestOfSteps).steps("remove web")
}

func TestMake_InvalidKeepsWhatWasApplied(t *testing.T) {
	s := running(t).want("web", `{"component":"web@1","run":{"nonsense":1}}`)
	s.steps()
	v := s.phase("web", Running)
	if f := s.faulty("web", "invalid"); !strings.Contains(f.Message, "nonsense") {
		t.Error(f.Message)
	}
	if v.Observed != 2 || v.Memory.Applied.Version != 1 {
		t.Errorf("observed %d, applied %d", v.Observed, v.Memory.Applied.Version)
	}
	// And goes on looking after it.
	s.ends("web", 1).steps()
	s.phase("web", Backoff)
	s.pass(time.Second).steps("start web")
	s.runs("web", "i2").want("web", web).steps()
	s.faulty("web", "")
}

func TestMake_InvalidFromTheBeginning(t *testing.T) {
	s := newScene(t).want("web", `{"component":7}`)
	s.steps()
	s.phase("web", Failed)
	s.faulty("web", "invalid")
	// What runs without anybody knowing why isn't touched either.
	s.observe(workload.Status{Name: "web", Instance: "i0", Hash: "h", State: workload.Running}).steps()
	s.phase("web", Running)
}

func TestMake_DependsOn(t *testing.T) {
	s := newScene(t).want("a", `{"component":"a@1","dependsOn":["z"]}`).fetched("a@1")
	s.steps()
	s.phase("a", Pending)
	s.blocked("a", "dependency z missing")
	s.want("z", `{"component":"z@1","run":{"restart":{"policy":"never"}}}`).steps("fetch z")
	s.blocked("a", "waiting for z")
	s.fetched("z@1").steps("start z")
	s.runs("z", "z1").steps("start a")
	// One that did its work is as good as one that runs, in the same pass.
	s.ends("z", 0).steps("start a")
	s.phase("z", Stopped)
	// One that failed isn't.
	s.runs("z", "z2").ends("z", 3).steps()
	s.blocked("a", "waiting for z")
	s.phase("z", Failed)
}

func TestMake_DependentsAreNotStoppedWithWhatTheyNeed(t *testing.T) {
	s := newScene(t).want("a", `{"component":"a@1","dependsOn":["z"]}`).want("z", program).fetched("a@1").runs("z", "z1").runs("a", "a1")
	s.steps()
	s.ends("z", 1).steps()
	s.phase("a", Running)
}

func TestMake_BusyGetsNoSecondStep(t *testing.T) {
	for _, text := range []string{web, webEnv, web2, `{"component":"web@1","state":"stopped"}`, `{"component":7}`, ""} {
		for _, kind := range []StepKind{Fetch, Start, Stop, Remove} {
			s := running(t).want("web", text)
			s.in.Busy["web"] = Step{Kind: kind, App: "web", Hash: "h", Component: "c@1"}
			s.steps()
			if cancelled := slices.Contains(s.prev.Cancel, "web"); cancelled != (kind == Fetch) {
				t.Errorf("%s, %s: cancel %v", text, kind, s.prev.Cancel)
			}
			s.delete("web").steps()
			delete(s.desired, "web")
			s.steps()
		}
	}
}

func TestMake_CancelsWhatIsSuperseded(t *testing.T) {
	s := newScene(t).want("web", web)
	s.steps("fetch web")
	s.in.Busy["web"] = s.prev.Steps[0]
	for text, want := range map[string]bool{web: false, webEnv: false, web2: true, `{"component":"web@1","state":"stopped"}`: true, "": true} {
		if s.want("web", text).steps(); slices.Contains(s.prev.Cancel, "web") != want {
			t.Errorf("%s: cancel %v", text, s.prev.Cancel)
		}
	}
	if s.delete("web").steps(); !slices.Equal(s.prev.Cancel, []string{"web"}) || len(s.prev.Gone) != 0 {
		t.Errorf("%+v", s.prev)
	}
	delete(s.in.Busy, "web")
	if s.steps(); !slices.Equal(s.prev.Gone, []string{"web"}) {
		t.Errorf("%+v", s.prev)
	}
}

func TestMake_WaitsForAStartOfAnAgentThatIsGone(t *testing.T) {
	s := running(t)
	st := s.observed("web")
	st.State = workload.Starting
	s.observe(st).steps()
	s.phase("web", Starting)
	if s.prev.Wake != noon.Add(time.Second) {
		t.Error("wake", s.prev.Wake)
	}
}

func TestMake_StopThatFails(t *testing.T) {
	s := running(t).want("web", webEnv)
	s.steps("stop web")
	for i, d := range []time.Duration{1, 2, 4, 8} {
		s.fails("web", Fault{Code: "timeout"}).steps()
		s.phase("web", Backoff)
		if s.faulty("web", codeStop); s.prev.Wake != s.in.Now.Add(d*time.Second) {
			t.Errorf("pause %d: %s", i, s.prev.Wake.Sub(s.in.Now))
		}
		s.pass(d * time.Second).steps("stop web")
	}
	// Once it ended after all, nothing of that counts.
	s.ends("web", 137).steps("start web")
	s.faulty("web", "")
	s.runs("web", "i2").steps()
}

func TestMake_StopThatFailsIsForgottenWithTheWish(t *testing.T) {
	s := running(t).want("web", webEnv)
	s.steps("stop web")
	s.fails("web", Fault{}).want("web", web).steps()
	s.phase("web", Running)
	s.faulty("web", "")
}

func TestPrepare_LeavesOtherShadowsAlone(t *testing.T) {
	s := newScene(t).want("web", web)
	for _, n := range []string{"", "collect:p", "free"} {
		d := s.desired["web"]
		d.Name = n
		s.desired["x"+n] = d
	}
	if apps, gone := s.prepare(); len(apps) != 1 || len(gone) != 0 {
		t.Errorf("%v %v", apps, gone)
	}
}

func TestPrepare_ManyReferences(t *testing.T) {
	s := newScene(t)
	const n = 60
	for i := range n {
		var needs []string
		for j := i + 1; j < min(n, i+17); j++ {
			needs = append(needs, fmt.Sprintf(`"a%02d"`, j))
		}
		s.want(fmt.Sprintf("a%02d", i), `{"component":"a@1","dependsOn":[`+strings.Join(needs, ",")+`]}`)
	}
	apps, _ := s.prepare()
	for _, a := range apps {
		if a.Held {
			t.Errorf("%s: %+v", a.Name, a.Fault)
		}
	}
}
