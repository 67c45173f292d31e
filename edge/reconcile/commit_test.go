package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
)

// decided is plan, in as many rounds as it takes.
func (s *scene) decided(want ...string) Plan {
	s.t.Helper()
	var all []state.Desired
	for _, n := range []string{"db", "web"} {
		if d, there := s.desired[n]; there {
			all = append(all, d)
		}
	}
	s.in.Apps, s.in.Gone = Prepare(all, s.in.Memory)
	apps, p := Decide(all, s.in)
	s.in.Apps, s.in.Memory, s.prev = apps, p.Memory, p
	if got := stepNames(p); !slices.Equal(got, want) {
		s.t.Fatalf("steps %q, want %q; views %+v", got, want, p.Views)
	}
	return p
}

// committed is a scene in which web runs by its first careful configuration.
func committed(t *testing.T) *scene {
	s := newScene(t).want("web", careful1).fetched("web@1")
	s.decided("start web")
	s.runs("web", "i1").decided()
	s.pass(30 * time.Second).decided()
	if m := s.in.Memory["web"]; m.Applied.Version != 1 || m.Good != m.Applied {
		t.Fatalf("%+v", m)
	}
	return s
}

// replaced lets the second configuration take the place of the first.
func replaced(t *testing.T) *scene {
	s := committed(t).want("web", careful2)
	s.decided("stop web")
	s.stopped("web").decided("start web")
	return s
}

func TestCommit_OnceItRanForLongEnough(t *testing.T) {
	s := replaced(t)
	s.runs("web", "i2").decided()
	v := s.phase("web", Running)
	if v.Observed != 1 || v.Memory.Applied.Version != 1 || v.Fault != nil {
		t.Errorf("committed at once: %+v", v)
	}
	if b := v.Blockers[0]; b.Code != schema.BlockedCommit || !b.Until.Equal(s.in.Now.Add(30*time.Second)) || !s.prev.Wake.Equal(b.Until) {
		t.Errorf("%+v, wake %s", v.Blockers, s.prev.Wake)
	}
	s.pass(29 * time.Second).decided()
	if v := s.phase("web", Running); v.Observed != 1 {
		t.Errorf("committed early: %+v", v)
	}
	s.pass(time.Second).decided()
	if v := s.phase("web", Running); v.Observed != 2 || v.Memory.Good.Version != 2 || len(v.Blockers) != 0 || !s.prev.Wake.IsZero() {
		t.Errorf("%+v", v)
	}
	// What fails from now on isn't rolled back.
	s.ends("web", 1).decided()
	s.phase("web", Backoff)
	s.faulty("web", "exited")
}

func TestCommit_RollsBack(t *testing.T) {
	for name, fail := range map[string]func(s *scene){
		"exit":     func(s *scene) { s.runs("web", "i2").decided(); s.ends("web", 3) },
		"start":    func(s *scene) { s.fails("web", Fault{Code: "start-failed", Retryable: true}) },
		"terminal": func(s *scene) { s.fails("web", Fault{Code: "invalid", Message: "no such program"}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := replaced(t)
			fail(s)
			s.decided("start web")
			f := s.faulty("web", "rolled-back")
			if f.Retryable || !strings.HasPrefix(f.Message, "version 2 gave way to version 1: ") {
				t.Errorf("%+v", f)
			}
			s.runs("web", "i3").decided()
			v := s.phase("web", Running)
			if v.Observed != 2 || v.Memory.Applied.Version != 1 || v.Fault == nil {
				t.Errorf("%+v", v)
			}
			s.pass(24 * time.Hour).decided() // the same isn't tried again
			s.want("web", strings.Replace(careful2, `"run"`, `"dependsOn":[],"run"`, 1)).decided()
			s.faulty("web", "rolled-back")
			s.want("web", careful3).decided("stop web")
			s.faulty("web", "")
		})
	}
}

func TestCommit_UnhealthyRollsBack(t *testing.T) {
	careful := `,"update":{"rollback":true,"healthy":"10s"}}`
	s := newScene(t).want("web", strings.TrimSuffix(probed, "}")+careful).fetched("web@1")
	s.decided("start web")
	s.runs("web", "i1").decided()
	s.blocked("web", "its probe has not succeeded yet")
	s.found("web", schema.HealthHealthy).decided()
	s.pass(10 * time.Second).decided()
	s.want("web", strings.TrimSuffix(probed2, "}")+careful).decided("stop web")
	s.stopped("web").decided("start web")
	s.runs("web", "i2").decided()
	s.pass(time.Minute).decided() // nothing is known yet
	s.found("web", schema.HealthHealthy).decided()
	s.pass(9*time.Second).found("web", schema.HealthUnhealthy).decided("stop web")
	s.faulty("web", "rolled-back")
	s.stopped("web").decided("start web")
	if s.prev.Steps[0].Hash != s.app("web").Hash || !s.app("web").LastOK {
		t.Errorf("%+v", s.prev.Steps)
	}
}

// A configuration that was found unhealthy has another chance with another probe.
func TestCommit_ProbeIsMended(t *testing.T) {
	with := func(env, port string) string {
		return `{"component":"web@1","run":{"env":{"A":"` + env + `"},"health":{"tcp":{"port":` + port + `}}},"update":{"rollback":true,"healthy":"10s"}}`
	}
	s := newScene(t).want("web", with("1", "80")).fetched("web@1")
	s.decided("start web")
	s.runs("web", "i1").found("web", schema.HealthHealthy).decided()
	s.pass(10 * time.Second).decided()
	s.want("web", with("2", "80")).decided("stop web")
	s.stopped("web").decided("start web")
	s.runs("web", "i2").found("web", schema.HealthUnhealthy).decided("stop web")
	s.stopped("web").decided("start web")
	s.runs("web", "i3").found("web", schema.HealthHealthy).decided()
	s.want("web", with("2", "81")).decided("stop web")
	s.faulty("web", "")
}

// That something else is wrong with it for a while gives it no second chance.
func TestCommit_RejectedStaysSo(t *testing.T) {
	const needy = `{"component":"web@1","run":{"env":{"A":"2"}},"dependsOn":["db"],"update":{"rollback":true}}`
	s := committed(t).want("db", program).runs("db", "d1").want("web", needy)
	s.decided("stop web")
	s.stopped("web").decided("start web")
	s.fails("web", Fault{Code: "invalid"}).decided("start web")
	s.runs("web", "i3").decided()
	s.want("db", `{"mode":"host","run":{"command":["/x"]},"dependsOn":["web"]}`).decided()
	s.faulty("web", "dependency-cycle")
	s.want("db", program).decided()
	s.faulty("web", "rolled-back")
}

// Nothing speaks against a configuration that a reboot, another's stop or a lost
// shim interrupted.
func TestCommit_MisfortuneIsNoFailure(t *testing.T) {
	for name, befall := range map[string]func(s *scene){
		"reboot": func(s *scene) { s.lost("web").in.Boot = "boot-2" },
		"lost":   func(s *scene) { s.lost("web") },
		"full": func(s *scene) {
			s.observe(workload.Status{Name: "web"}).plan()
			s.fails("web", Fault{Code: "disk-full", Retryable: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := replaced(t)
			s.runs("web", "i2").decided()
			befall(s)
			s.plan()
			s.pass(time.Minute)
			if p := s.plan(); len(p.Steps) > 1 || s.in.Memory["web"].Rejected.Whole != "" {
				t.Errorf("%+v", p)
			}
		})
	}
}

// The first configuration has nothing to give way to: the restart policy has it.
func TestCommit_NothingToGoBackTo(t *testing.T) {
	s := newScene(t).want("web", careful1).fetched("web@1")
	s.decided("start web")
	s.runs("web", "i1").decided()
	s.ends("web", 1).decided()
	s.phase("web", Backoff)
	s.faulty("web", "exited")
}

// A job that ended as it should is committed by that.
func TestCommit_JobsAreDone(t *testing.T) {
	job := `"run":{"restart":{"policy":"never"}},"update":{"rollback":true}}`
	s := newScene(t).want("web", `{"component":"web@1",`+job).fetched("web@1", "web@2")
	s.decided("start web")
	s.runs("web", "i1").decided()
	s.ends("web", 0).decided()
	if v := s.phase("web", Stopped); v.Observed != 1 || v.Memory.Good.Version != 1 {
		t.Errorf("%+v", v)
	}
	s.want("web", `{"component":"web@2",`+job).decided("start web")
	s.runs("web", "i2").decided()
	s.ends("web", 1).decided("start web")
	s.faulty("web", "rolled-back")
}

// What was rolled back can be stopped, and be tried once more after that; the last
// good one stays the one to go back to.
func TestCommit_StoppedMeanwhile(t *testing.T) {
	s := replaced(t)
	s.fails("web", Fault{Code: "invalid"}).decided("start web")
	s.runs("web", "i3").decided()
	s.want("web", strings.Replace(careful2, "{", `{"state":"stopped",`, 1)).decided("stop web")
	s.stopped("web").decided()
	if v := s.phase("web", Stopped); v.Observed != 3 || v.Memory.Good.Version != 1 {
		t.Errorf("%+v", v)
	}
	s.want("web", careful2).decided("start web")
	s.fails("web", Fault{Code: "invalid"}).decided("start web")
	s.runs("web", "i4").decided()
	if v := s.phase("web", Running); v.Observed != 4 || v.Memory.Applied.Version != 1 {
		t.Errorf("%+v", v)
	}
}

func TestComponents_KeepsWhatMayBeGoneBackTo(t *testing.T) {
	s := committed(t).want("web", strings.Replace(careful2, "web@1", "web@2", 1)).fetched("web@2").
		want("db", `{"component":"db@1","state":"stopped"}`)
	s.observe(workload.Status{Name: "old", Instance: "o", Component: "old@1", State: workload.Running})
	s.decided("remove old", "stop web")
	if got := Components(s.in.Apps, s.in.Observed); !slices.Equal(got, []string{"db@1", "old@1", "web@1", "web@2"}) {
		t.Errorf("%q", got)
	}
}

// An application whose options break the container it is attached to is left out
// of it: the applications that were there run as before.
func TestCommit_RebuildFails(t *testing.T) {
	const sideIs = `{"mode":"attach","attachTo":"web","run":{"command":["/s"]`
	for name, first := range map[string]string{"new": "", "changed": sideIs + `}}`} {
		t.Run(name, func(t *testing.T) {
			s := running(t)
			if first != "" {
				s.want("side", first).runs("side", "s1").steps()
			}
			s.want("side", sideIs+`,"serial":["/dev/ttyS9"]}}`)
			if first != "" {
				s.steps("stop side")
				s.ends("side", 0)
			}
			s.steps("stop web")
			s.ends("web", 0).steps("start web")
			s.fails("web", Fault{Code: "invalid", Message: "/dev/ttyS9: no such device"})
			all := []state.Desired{s.desired["side"], s.desired["web"]}
			s.in.Apps, s.in.Gone = Prepare(all, s.in.Memory)
			apps, p := Decide(all, s.in)
			if got := stepNames(p); !slices.Equal(got, []string{"start web"}) || len(apps[1].Want.Run.Serial) > 0 || p.Views["web"].Fault != nil {
				t.Fatalf("%q %+v", got, p.Views["web"])
			}
			s.in.Memory, s.prev = p.Memory, p
			f := s.faulty("side", "rebuild-failed")
			if f.Retryable || !strings.Contains(f.Message, "container of web") || !strings.Contains(f.Message, "no such device") {
				t.Errorf("%+v", f)
			}
			s.runs("web", "i3")
			if first == "" {
				s.steps()
				s.phase("side", Failed)
			} else {
				s.steps("start side")
			}
			s.pass(time.Hour)
			if first == "" {
				s.steps()
			}
			s.want("side", sideIs+`,"serial":["/dev/ttyS1"]}}`).steps("stop web") // its next change has its own chance
		})
	}
}

// What an attached application adds is in effect once its container has it.
func TestCommit_AttachedOptionsTakeARebuild(t *testing.T) {
	s := running(t).want("side", `{"mode":"attach","attachTo":"web","run":{"command":["/s"]}}`).runs("side", "s1")
	s.steps()
	s.want("side", `{"mode":"attach","attachTo":"web","run":{"command":["/s"],"hostname":"other"}}`)
	s.in.Holds = Holds{Updates: "not now"}
	s.steps()
	s.blocked("side", "waiting for web: it doesn't run with what this adds to it yet")
	if v := s.phase("side", Running); v.Observed == s.version {
		t.Errorf("%+v", v)
	}
}
