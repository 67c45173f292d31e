package reconcile

import (
	"fmt"
	"testing"
	"time"

	"gnomon/edge/workload"
)

// restarts is an application that has run for a while under a restart policy.
func restarts(t *testing.T, restart string) *scene {
	s := newScene(t).want("p", hostRestart(restart)).runs("p", "i1")
	s.steps()
	return s.pass(time.Second)
}

func hostRestart(restart string) string {
	return `{"mode":"host","run":{"command":["/bin/p"],"restart":` + restart + `}}`
}

func TestMake_RestartPolicies(t *testing.T) {
	for _, c := range []struct {
		policy string
		code   int
		phase  Phase
		fault  string
	}{
		{"always", 0, Backoff, "exited"},
		{"always", 1, Backoff, "exited"},
		{"on-failure", 0, Stopped, ""},
		{"on-failure", 1, Backoff, "exited"},
		{"never", 0, Stopped, ""},
		{"never", 1, Failed, "exited"},
	} {
		t.Run(fmt.Sprint(c.policy, c.code), func(t *testing.T) {
			s := restarts(t, `{"policy":"`+c.policy+`"}`).ends("p", c.code)
			for range 3 { // however often it is looked at, it ended once
				s.steps()
			}
			v := s.phase("p", c.phase)
			f := s.faulty("p", c.fault)
			if v.Memory.Exit == nil || v.Memory.Exit.Code != c.code || v.Memory.Exit.At != s.in.Now {
				t.Errorf("%+v", v.Memory.Exit)
			}
			if f != nil && f.Retryable != (c.phase == Backoff) {
				t.Errorf("%+v", f)
			}
			if c.phase != Backoff {
				if s.pass(1000 * time.Hour).steps(); !s.prev.Wake.IsZero() {
					t.Error("nothing will happen, and yet", s.prev.Wake)
				}
				return
			}
			if v.Memory.Attempts != 1 || s.prev.Wake != s.in.Now.Add(time.Second) {
				t.Errorf("%d, wake %s", v.Memory.Attempts, s.prev.Wake)
			}
			s.pass(time.Second).steps("start p")
			s.runs("p", "i2").steps()
			if v := s.phase("p", Running); v.Memory.Restarts != 1 || v.Fault != nil {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestMake_KilledIsNoCleanEnd(t *testing.T) {
	s := restarts(t, `{"policy":"on-failure"}`)
	st := s.ends("p", 137).observed("p")
	st.Signal, st.OOM = "SIGKILL", true
	s.observe(st).steps()
	s.phase("p", Backoff)
	s.faulty("p", "out-of-memory")
	if e := s.prev.Memory["p"].Exit; e.Signal != "SIGKILL" || !e.OOM {
		t.Errorf("%+v", e)
	}
}

// crash ends the instance and returns the pause that follows.
func (s *scene) crash(n int, up time.Duration) time.Duration {
	s.t.Helper()
	s.pass(up).ends("p", 1).steps()
	s.phase("p", Backoff)
	d := s.prev.Wake.Sub(s.in.Now)
	s.pass(d - 1).steps()
	s.pass(1).steps("start p")
	s.runs("p", fmt.Sprint("n", n)).steps()
	return d
}

func TestMake_BackoffDoublesAndResets(t *testing.T) {
	s := restarts(t, `{"backoff":"3s","backoffMax":"20s","backoffReset":"30s"}`)
	for i, want := range []time.Duration{3, 6, 12, 20, 20, 20} {
		if d := s.crash(i, time.Second); d != want*time.Second {
			t.Errorf("pause %d: %s, want %ds", i, d, want)
		}
	}
	if d := s.crash(10, 30*time.Second-1); d != 20*time.Second {
		t.Error("just not up long enough:", d)
	}
	if d := s.crash(11, 30*time.Second); d != 3*time.Second {
		t.Error("after it stayed up:", d)
	}
	if r := s.prev.Memory["p"].Restarts; r != 8 {
		t.Error(r, "restarts")
	}
}

func TestMake_MaxRetries(t *testing.T) {
	restart := `{"maxRetries":2,"policy":"on-failure"}`
	s := restarts(t, restart)
	s.crash(1, time.Second)
	s.crash(2, time.Second)
	s.ends("p", 1).steps()
	s.phase("p", Failed)
	if f := s.faulty("p", "retries-exhausted"); f.Retryable || !s.prev.Wake.IsZero() {
		t.Errorf("%+v", s.prev)
	}
	s.want("p", hostRestart(restart)).pass(time.Hour).steps()
	s.phase("p", Failed)
	// Another limit is asked again, another program too.
	more := *s
	more.want("p", hostRestart(`{"maxRetries":3,"policy":"on-failure"}`)).steps("start p")
	s.want("p", web).fetched("web@1").steps("start p")
}

// Steps that failed are no ends of the application.
func TestMake_FailedStepsAreNoRetries(t *testing.T) {
	s := newScene(t).want("web", `{"component":"web@1","run":{"restart":{"maxRetries":1}}}`)
	for range 5 {
		s.steps("fetch web")
		s.fails("web", Fault{Code: "fetch-failed", Retryable: true}).pass(time.Hour)
	}
	s.fetched("web@1").steps("start web")
	s.runs("web", "i1").steps()
	s.ends("web", 1).steps()
	s.phase("web", Backoff)
	s.faulty("web", "exited")
	if d := s.prev.Wake.Sub(s.in.Now); d != time.Second {
		t.Error("pause", d)
	}
}

func TestMake_StartsThatFail(t *testing.T) {
	s := newScene(t).want("p", program)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		s.steps("start p")
		s.fails("p", Fault{Code: "start-failed", Retryable: true}).steps()
		s.phase("p", Backoff)
		s.faulty("p", "start-failed")
		if d := s.prev.Wake.Sub(s.in.Now); d != want*time.Second {
			t.Errorf("pause %d: %s", i, d)
		}
		s.pass(want * time.Second)
	}
}

func TestMake_AnInstanceMadeInVainIsOneFailure(t *testing.T) {
	s := newScene(t).want("p", program)
	s.steps("start p")
	s.in.Memory["p"] = s.in.Memory["p"].FailedStep(s.prev.Steps[0], Fault{Code: "start-failed", Retryable: true}, "i1", s.in.Now)
	s.observe(workload.Status{Name: "p", Instance: "i1", Hash: s.hash("p"), State: workload.Failed, Error: "x"})
	s.in.Memory["p"] = func(m Memory) Memory { m.Boot = s.in.Boot; return m }(s.in.Memory["p"])
	s.steps()
	if m := s.prev.Memory["p"]; m.Tries != 1 || m.Attempts != 0 || m.Fault.Code != "start-failed" {
		t.Errorf("%+v", m)
	}
}

func TestMake_FailuresAreRememberedByContent(t *testing.T) {
	s := newScene(t).want("p", program)
	s.steps("start p")
	s.fails("p", Fault{Code: "unsupported"}).steps()
	s.phase("p", Failed)
	s.want("p", program).pass(time.Hour).steps()
	if v := s.phase("p", Failed); v.Observed != 2 {
		t.Error("the outcome is that of the new version too:", v.Observed)
	}
	s.want("p", web).fetched("web@1").steps("start p")
	s.faulty("p", "")

	s = newScene(t).want("p", program)
	s.steps("start p")
	s.fails("p", Fault{Code: "start-failed", Retryable: true}).want("p", program).steps()
	until := s.prev.Wake
	s.want("p", program).steps()
	if s.prev.Wake != until {
		t.Error("another version of the same changed the pause")
	}
	s.want("p", web).steps("fetch p")
}

// A step may fail after desired went on.
func TestMake_FailureOfWhatIsNotWantedAnyMore(t *testing.T) {
	s := newScene(t).want("p", program)
	s.steps("start p")
	start := s.prev.Steps[0]
	s.in.Busy["p"] = start
	s.want("p", web).fetched("web@1").steps()
	s.in.Memory["p"] = s.in.Memory["p"].FailedStep(start, Fault{Code: "unsupported"}, "", s.in.Now)
	delete(s.in.Busy, "p")
	s.steps("start p")
}

func TestMake_InterruptedByAReboot(t *testing.T) {
	for _, policy := range []string{"always", "on-failure", "never"} {
		for what, end := range map[string]func(*scene){
			"power loss":         func(s *scene) { s.lost("p") },
			"shutdown":           func(s *scene) { s.ends("p", 0) },
			"shutdown by signal": func(s *scene) { s.ends("p", 143) },
		} {
			s := restarts(t, `{"policy":"`+policy+`"}`)
			end(s)
			s.in.Boot = "boot-2"
			s.steps("start p")
			s.runs("p", "i2").steps()
			if m := s.prev.Memory["p"]; m.Attempts != 0 || m.Restarts != 0 || m.Fault != nil {
				t.Errorf("%s, %s: %+v", policy, what, m)
			}
		}
	}
}

func TestMake_WhatEndedBeforeARebootStaysEnded(t *testing.T) {
	s := restarts(t, `{"policy":"never"}`).ends("p", 0)
	s.steps()
	s.in.Boot = "boot-2"
	s.steps()
	s.phase("p", Stopped)
}

func TestMake_LostInTheSameBootIsAFailure(t *testing.T) {
	s := restarts(t, `{}`).lost("p")
	s.steps()
	s.phase("p", Backoff)
	if f := s.faulty("p", "lost"); f.Message != "shim lost" {
		t.Errorf("%+v", f)
	}
}

// The instance of a start whose outcome was never noted counts like any other.
func TestMake_AdoptsWhatItFinds(t *testing.T) {
	s := restarts(t, `{}`).ends("p", 1)
	s.steps()
	s.pass(time.Second).steps("start p")
	s.observe(workload.Status{Name: "p", Instance: "i2", Hash: s.hash("p"), State: workload.Running, StartedAt: s.in.Now}).steps()
	if v := s.phase("p", Running); v.Memory.Restarts != 1 || v.Memory.Boot != "boot-1" || v.Fault != nil {
		t.Errorf("%+v", v)
	}
	s.ends("p", 1).steps()
	if v := s.phase("p", Backoff); v.Memory.Attempts != 2 {
		t.Errorf("%+v", v)
	}
}

func TestMake_LostMemoryCostsNoProcess(t *testing.T) {
	s := restarts(t, `{"policy":"never"}`)
	s.in.Memory = map[string]Memory{}
	s.steps()
	s.phase("p", Running)
	s.ends("p", 0)
	s.in.Memory = map[string]Memory{}
	s.steps()
	s.phase("p", Stopped)
}

func TestMake_PolicyChangesAfterTheEnd(t *testing.T) {
	for _, c := range []struct {
		from string
		code int
		to   string
		runs bool
	}{
		{`{"policy":"never"}`, 0, `{"policy":"always"}`, true},
		{`{"policy":"never"}`, 1, `{"policy":"always"}`, true},
		{`{"policy":"never"}`, 0, `{"policy":"on-failure"}`, false},
		{`{"policy":"never"}`, 1, `{"policy":"on-failure"}`, true},
		{`{"policy":"on-failure"}`, 0, `{"policy":"never"}`, false},
		{`{"policy":"on-failure"}`, 0, `{"policy":"on-failure","backoff":"2s"}`, false},
	} {
		s := restarts(t, c.from).ends("p", c.code)
		s.steps()
		s.want("p", hostRestart(c.to))
		if got := len(s.plan().Steps) == 1; got != c.runs {
			t.Errorf("%+v: starts %v", c, got)
		}
	}
}

func TestMake_StoppedAndWantedAgainRunsAgain(t *testing.T) {
	s := restarts(t, `{"policy":"never"}`).ends("p", 0)
	s.steps()
	s.want("p", `{"mode":"host","state":"stopped","run":{"command":["/bin/p"]}}`).steps()
	s.want("p", hostRestart(`{"policy":"never"}`)).steps("start p")
}

func TestMake_ClockSetBack(t *testing.T) {
	for restart, longest := range map[string]time.Duration{`{}`: 5 * time.Minute, `{"backoffMax":"2h"}`: 2 * time.Hour} {
		s := restarts(t, restart).ends("p", 1)
		s.steps()
		s.pass(-10000 * time.Hour).steps()
		s.phase("p", Backoff)
		if d := s.prev.Wake.Sub(s.in.Now); d > longest {
			t.Errorf("%s: waits %s", restart, d)
		}
		s.pass(longest).steps("start p")
	}
}

func TestMake_Wake(t *testing.T) {
	s := newScene(t)
	for i, d := range []string{"9s", "3s", "7s"} {
		name := fmt.Sprint("p", i)
		s.want(name, hostRestart(`{"backoff":"`+d+`"}`)).runs(name, name)
	}
	s.steps()
	for i := range 3 {
		s.ends(fmt.Sprint("p", i), 1)
	}
	s.steps()
	if s.prev.Wake != noon.Add(3*time.Second) {
		t.Error("not the first of them:", s.prev.Wake)
	}
}

func TestPause(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 4: 5, 1000: 5} {
		if d := pause(n, 1, 5); d != want {
			t.Errorf("%d: %d, want %d", n, d, want)
		}
	}
	if d := pause(1, 9, 5); d != 5 {
		t.Error(d)
	}
}

// The error that says that an instance runs names that one.
func TestMake_AlreadyRunning(t *testing.T) {
	s := newScene(t).want("p", hostRestart(`{"policy":"never"}`))
	p := s.steps("start p")
	s.in.Memory["p"] = s.in.Memory["p"].FailedStep(p.Steps[0], Fault{Code: "already-running", Retryable: true}, "i1", s.in.Now)
	s.observe(workload.Status{Name: "p", Instance: "i1", Hash: s.hash("p"), State: workload.Running}).steps()
	s.phase("p", Running)
	s.faulty("p", "")
	s.ends("p", 0).steps()
	s.phase("p", Stopped)
}

func TestMake_EndedUnseenBeforeItWasStopped(t *testing.T) {
	s := restarts(t, `{"policy":"never"}`).ends("p", 1).want("p", `{"mode":"host","state":"stopped","run":{"command":["/bin/p"]}}`)
	s.steps()
	s.phase("p", Stopped)
	s.want("p", hostRestart(`{"policy":"never"}`)).steps("start p")
}

// The boot is that of the instance, whoever started it.
func TestMake_RebootAfterAStartThatWasNotNoted(t *testing.T) {
	s := newScene(t).want("p", program)
	s.steps("start p")
	s.observe(workload.Status{Name: "p", Instance: "i1", Hash: s.hash("p"), State: workload.Running}).steps()
	s.in.Boot = "boot-2"
	s.ends("p", 0).steps("start p")
}
