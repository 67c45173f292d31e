package reconcile

import (
	"testing"
	"time"
)

// withFile is an application with a file; more is what else run has.
func withFile(content, more string) string {
	return `{"component":"web@1","run":{"files":[{"path":"/etc/web","content":"` + content + `"}]` + more + `}}`
}

const hup = `,"reload":"SIGHUP"`

func reloading(t *testing.T) *scene {
	s := newScene(t).want("web", withFile("1", hup)).fetched("web@1").runs("web", "i1")
	s.steps()
	s.want("a", attached).runs("a", "a1").steps()
	return s
}

func TestReload_ContentOfFilesRestartsNothing(t *testing.T) {
	s := reloading(t)
	s.want("web", withFile("2", hup))
	if p := s.steps("reload web"); p.Steps[0].Hash != s.hash("web") {
		t.Errorf("%+v", p.Steps)
	}
	s.phase("web", Running)
	s.in.Busy["web"] = s.prev.Steps[0]
	s.steps()
	if v := s.phase("web", Running); v.Observed == s.version {
		t.Error("it is told to have taken effect before it has")
	}
	delete(s.in.Busy, "web")
	st := s.observed("web")
	st.Hash = s.hash("web")
	s.observe(st).steps()
	if v := s.phase("web", Running); v.Observed != s.desired["web"].DesiredVersion || v.Fault != nil {
		t.Errorf("%+v", v)
	}
	// How to reload is no reason for anything by itself.
	s.want("web", withFile("2", `,"reload":"none"`)).steps()
}

func TestReload_NeedsNothingElseToDiffer(t *testing.T) {
	for what, next := range map[string]string{
		"another option":   withFile("2", hup+`,"env":{"A":"1"}`),
		"another path":     `{"component":"web@1","run":{"reload":"SIGHUP","files":[{"path":"/etc/other","content":"2"}]}}`,
		"another mode":     `{"component":"web@1","run":{"reload":"SIGHUP","files":[{"path":"/etc/web","content":"2","mode":"0600"}]}}`,
		"one file more":    `{"component":"web@1","run":{"reload":"SIGHUP","files":[{"path":"/etc/web","content":"1"},{"path":"/x"}]}}`,
		"no reload wanted": withFile("2", ""),
	} {
		t.Run(what, func(t *testing.T) {
			s := reloading(t)
			s.want("web", next).steps("stop a")
			s.ends("a", 0).steps("stop web")
		})
	}
}

// A reload that fails is made up for by another instance.
func TestReload_FailureIsFollowedByAnotherInstance(t *testing.T) {
	s := reloading(t)
	s.want("web", withFile("2", hup)).steps("reload web")
	s.fails("web", Fault{Code: codeReload, Retryable: true}).steps()
	s.phase("web", Running)
	s.faulty("web", codeReload)
	s.pass(time.Second).steps("stop a")
	s.ends("a", 0).steps("stop web")
	s.ends("web", 0).steps("start web")
	s.runs("web", "i2").steps("start a")
	s.faulty("web", "")
	// The next change has its own chance.
	s.runs("a", "a2").want("web", withFile("3", hup)).steps("reload web")
}

// After a restart of the agent nothing is fetched; what runs goes on meanwhile.
func TestReload_FetchesFirst(t *testing.T) {
	s := reloading(t)
	s.in.Fetched = map[string]bool{}
	s.want("web", withFile("2", hup)).steps("fetch web")
	s.phase("web", Fetching)
}

func TestHash_WithoutReloadIsWhatItWas(t *testing.T) {
	s := newScene(t).want("web", withFile("1", "")).want("again", withFile("2", ""))
	if a, b := s.hash("web"), s.hash("again"); a == b || len(a) != 16 {
		t.Errorf("%s %s", a, b)
	}
}
