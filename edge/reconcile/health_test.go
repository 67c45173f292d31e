package reconcile

import (
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

const (
	probed   = `{"component":"web@1","run":{"health":{"tcp":{"port":80}}}}`
	probed2  = `{"component":"web@1","run":{"env":{"A":"2"},"health":{"tcp":{"port":80}}}}`
	careful1 = `{"component":"web@1","run":{"env":{"A":"1"}},"update":{"rollback":true}}`
	careful2 = `{"component":"web@1","run":{"env":{"A":"2"}},"update":{"rollback":true}}`
	careful3 = `{"component":"web@1","run":{"env":{"A":"3"}},"update":{"rollback":true}}`
)

// found sets what the probe of the latest instance says.
func (s *scene) found(name string, state schema.HealthState) *scene {
	s.t.Helper()
	if s.in.Health == nil {
		s.in.Health = map[string]Health{}
	}
	s.in.Health[s.observed(name).Instance] = Health{State: state, Since: s.in.Now, Failures: 3, Message: "connection refused"}
	return s
}

// stopped lets the stop of an instance end it, well by its own account.
func (s *scene) stopped(name string) *scene {
	st := s.observed(name)
	st.State, st.ExitCode, st.ExitedAt = workload.Exited, 0, s.in.Now
	return s.observe(st)
}

func TestHealth_UnhealthyIsStartedAgain(t *testing.T) {
	s := newScene(t).want("web", probed).fetched("web@1")
	s.steps("start web")
	s.runs("web", "i1").steps()
	if v := s.phase("web", Running); v.Health.State != schema.HealthStarting || v.Observed != 1 {
		t.Errorf("%+v", v)
	}
	s.pass(time.Hour).found("web", schema.HealthUnhealthy).steps("stop web")
	s.faulty("web", "unhealthy")
	s.stopped("web").steps()
	s.phase("web", Backoff)
	if f := s.faulty("web", "unhealthy"); f.Message != "its probe failed 3 times in a row: connection refused" || !f.Retryable {
		t.Errorf("%+v", f)
	}
	s.pass(time.Second).steps("start web")
	s.runs("web", "i2").found("web", schema.HealthStarting).steps()
	s.pass(time.Minute).found("web", schema.HealthUnhealthy).steps("stop web")
	s.stopped("web").steps()
	if m := s.in.Memory["web"]; m.Attempts != 2 || m.Restarts != 1 {
		t.Errorf("a time spent unhealthy made up for a failure: %+v", m)
	}
	s.pass(2 * time.Second).steps("start web")
	s.runs("web", "i3").found("web", schema.HealthHealthy).steps()
	s.pass(10 * time.Second).steps()
	if m := s.in.Memory["web"]; m.Attempts != 0 || m.Fault != nil {
		t.Errorf("10 s of health made up for nothing: %+v", m)
	}
}

// What wouldn't be started again goes on: that is better than nothing.
func TestHealth_UnhealthyGoesOnWhereItCannotBeReplaced(t *testing.T) {
	for _, policy := range []string{`{"policy":"never"}`, `{"policy":"on-failure","maxRetries":1}`} {
		s := newScene(t).want("web", `{"component":"web@1","run":{"health":{"tcp":{"port":80}},"restart":`+policy+`}}`).fetched("web@1")
		s.steps("start web")
		s.runs("web", "i1").steps()
		if policy != `{"policy":"never"}` {
			s.found("web", schema.HealthUnhealthy).steps("stop web")
			s.stopped("web").pass(time.Second)
			s.plan()
			s.pass(time.Minute).steps("start web")
			s.runs("web", "i2")
		}
		s.found("web", schema.HealthUnhealthy).steps()
		s.phase("web", Running)
		s.faulty("web", "unhealthy")
		s.found("web", schema.HealthHealthy).steps()
		s.faulty("web", "")
	}
}

func TestHealth_DependentsWaitForIt(t *testing.T) {
	s := newScene(t).want("db", probed).fetched("web@1").
		want("web", `{"mode":"host","run":{"command":["/x"]},"dependsOn":["db"]}`)
	s.steps("start db")
	s.blocked("web", "waiting for db: starting")
	s.runs("db", "i1").steps()
	s.blocked("web", "waiting for db: its health is starting")
	if b := s.prev.Views["web"].Blockers[0]; b.Code != schema.BlockedDependency || b.On != "db" {
		t.Errorf("%+v", b)
	}
	s.found("db", schema.HealthHealthy).steps("start web")
	s.runs("web", "w1").steps()
	s.found("db", schema.HealthUnhealthy).steps("stop db") // what runs isn't disturbed by what it depends on
}

// A changed probe doesn't disturb what runs.
func TestHealth_ProbeMayChange(t *testing.T) {
	s := newScene(t).want("web", probed).fetched("web@1")
	s.steps("start web")
	s.runs("web", "i1").steps()
	s.want("web", `{"component":"web@1","run":{"health":{"http":{"port":81}}},"update":{"rollback":true}}`).steps()
	s.want("web", probed2).steps("stop web")
}
