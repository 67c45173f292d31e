package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/workload"
)

const attached = `{"mode":"attach","attachTo":"web","run":{"command":["/x"]}}`

// together is a scene in which a runs within the container of web.
func together(t *testing.T) *scene {
	s := running(t).want("a", attached).runs("a", "a1")
	s.steps()
	s.phase("a", Running)
	return s
}

func TestAttach_WaitsForItsTarget(t *testing.T) {
	s := newScene(t).want("a", attached)
	s.steps()
	s.phase("a", Pending)
	s.blocked("a", "target web missing")
	s.want("web", web).fetched("web@1").steps("start web")
	s.blocked("a", "waiting for web: starting")
	s.runs("web", "i1")
	if p := s.steps("start a"); p.Steps[0].TargetInstance != "i1" {
		t.Errorf("%+v", p.Steps[0])
	}
}

func TestAttach_FollowsItsTarget(t *testing.T) {
	s := together(t).ends("web", 1).ends("a", 137)
	s.steps()
	s.phase("web", Backoff)
	if v := s.phase("a", Pending); v.Fault != nil || v.Memory.Attempts != 0 {
		t.Errorf("it went down with its container, which is no failure of its own: %+v", v)
	}
	s.pass(time.Second).steps("start web")
	if p := s.runs("web", "i2").steps("start a"); p.Steps[0].TargetInstance != "i2" {
		t.Errorf("%+v", p.Steps[0])
	}
	// One that seems to have outlived its container is replaced.
	s.runs("a", "a2").runs("web", "i3").steps("stop a")
	s.ends("a", 137).steps("start a")
	s.faulty("a", "")
}

// The end of a container is often known after those of what is in it.
func TestAttach_EndsBeforeItsTargetIsKnownTo(t *testing.T) {
	s := together(t).ends("a", 137)
	st := s.observed("a")
	st.TargetEnded = true
	s.observe(st).steps()
	if v := s.phase("a", Pending); v.Fault != nil || v.Memory.Attempts != 0 {
		t.Errorf("it went down with its container, which is no failure of its own: %+v", v)
	}
	s.ends("web", 1).steps()
	s.pass(time.Second).steps("start web")
	s.runs("web", "i2").steps("start a")
	s.faulty("a", "")
}

func TestAttach_EndsByItself(t *testing.T) {
	s := together(t).ends("a", 1)
	s.steps()
	s.phase("a", Backoff)
	s.phase("web", Running)
	s.pass(time.Second).steps("start a")
}

func TestAttach_IsStoppedBeforeItsContainer(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*scene)
		step   string
	}{
		"replaced": {func(s *scene) { s.want("web", webEnv) }, "stop web"},
		"stopped":  {func(s *scene) { s.want("web", `{"component":"web@1","state":"stopped"}`) }, "stop web"},
		"deleted":  {func(s *scene) { s.delete("web") }, "remove web"},
	} {
		t.Run(what, func(t *testing.T) {
			s := together(t)
			c.change(s)
			s.steps("stop a")
			s.in.Busy["a"] = s.prev.Steps[0]
			s.steps()
			delete(s.in.Busy, "a")
			s.ends("a", 0).steps(c.step)
			if f := s.prev.Views["a"].Fault; f != nil {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestAttach_StaysOutOfAContainerThatGoes(t *testing.T) {
	s := together(t).want("web", webEnv)
	s.steps("stop a")
	s.ends("a", 0).steps("stop web")
	s.blocked("a", "waiting for web: it is being replaced")
	stop := s.prev.Steps[0]
	s.in.Busy["web"] = stop
	s.steps()
	// Nor does it come back while the container can't be stopped.
	delete(s.in.Busy, "web")
	s.in.Memory["web"] = s.in.Memory["web"].FailedStep(stop, Fault{Code: "timeout"}, "", s.in.Now)
	s.steps()
	s.blocked("a", "waiting for web: it is being replaced")
	s.pass(time.Second).steps("stop web")
}

// A container isn't kept by what can't be stopped.
func TestAttach_CannotBeStopped(t *testing.T) {
	s := together(t).want("web", webEnv)
	s.steps("stop a")
	s.fails("a", Fault{Code: "timeout"}).steps("stop web")
}

func TestAttach_AContainerWaitsForWhoIsAboutToJoin(t *testing.T) {
	s := running(t).want("a", attached)
	s.steps("start a")
	s.in.Busy["a"] = s.prev.Steps[0]
	s.want("web", webEnv).steps()
	s.blocked("web", "first: a")
	delete(s.in.Busy, "a")
	s.steps("stop web")
}

// A long fetch doesn't keep the container of the running instance.
func TestAttach_FetchIsCancelledWhenTheContainerGoes(t *testing.T) {
	s := together(t).want("a", `{"component":"a@2","mode":"attach","attachTo":"web"}`)
	s.steps("fetch a")
	s.in.Busy["a"] = s.prev.Steps[0]
	if s.want("web", webEnv).steps(); !slices.Equal(s.prev.Cancel, []string{"a"}) {
		t.Error(s.prev.Cancel)
	}
	delete(s.in.Busy, "a")
	s.steps("stop a")
}

// What nobody wants is left alone before all is known, but not killed unasked.
func TestAttach_UnwantedInAContainerThatGoes(t *testing.T) {
	s := together(t)
	delete(s.desired, "a")
	s.in.Complete = false
	s.steps()
	s.delete("web").steps("stop a")
	s.ends("a", 0).steps("remove web")
	s.observe(workload.Status{Name: "web"}).steps()
}

func TestAttach_ToWhatIsNoContainer(t *testing.T) {
	s := newScene(t).want("a", attached).want("web", program)
	s.steps("start web")
	s.phase("a", Failed)
	s.faulty("a", "target-invalid")
	// One that is to become a container has to be one first.
	s.runs("web", "i1").want("web", web).steps("fetch web")
	s.phase("a", Pending)
	s.faulty("a", "")
}

func TestAttach_KeepsWhatWasAppliedWhenItsTargetIsRefused(t *testing.T) {
	s := together(t).want("b", program).runs("b", "b1").want("a", `{"mode":"attach","attachTo":"b","run":{"command":["/x"]}}`)
	s.steps()
	s.phase("a", Running)
	s.faulty("a", "target-invalid")
	s.ends("a", 1).steps()
	s.pass(time.Second).steps("start a")
}

func TestPrepare_Cycles(t *testing.T) {
	for what, apps := range map[string]map[string]string{
		"itself":       {"a": `{"component":"a@1","dependsOn":["a"]}`},
		"two":          {"a": `{"component":"a@1","dependsOn":["b"]}`, "b": `{"component":"b@1","dependsOn":["a"]}`},
		"through both": {"web": `{"component":"a@1","dependsOn":["a"]}`, "a": attached},
		"three": {"a": `{"component":"a@1","dependsOn":["x","b"]}`, "b": `{"component":"b@1","dependsOn":["c"]}`,
			"c": `{"component":"b@1","dependsOn":["a"]}`},
	} {
		s := newScene(t).want("after", `{"component":"a@1","dependsOn":["a"]}`).want("apart", program)
		for n, text := range apps {
			s.want(n, text)
		}
		s.steps("start apart")
		for n := range apps {
			s.phase(n, Failed)
			if f := s.faulty(n, "dependency-cycle"); f.Retryable {
				t.Errorf("%s: %+v", what, f)
			}
		}
		s.faulty("after", "")
		s.blocked("after", "waiting for a: failed")
	}
}

func TestPrepare_CycleKeepsWhatWasApplied(t *testing.T) {
	s := running(t).want("b", `{"component":"web@1","dependsOn":["web"]}`).runs("b", "b1")
	s.steps()
	s.want("web", `{"component":"web@2","dependsOn":["b"]}`).fetched("web@2").steps()
	s.phase("web", Running)
	s.faulty("web", "dependency-cycle")
	s.faulty("b", "dependency-cycle")
	// To stop one of them is never refused.
	s.want("web", `{"component":"web@2","dependsOn":["b"],"state":"stopped"}`).steps("stop web")
}

// What is refused goes on in its container, which can't wait for it then.
func TestPrepare_CycleByWhatGoesOn(t *testing.T) {
	s := together(t).want("b", program).runs("b", "b1").fetched("web@2")
	s.steps()
	s.want("a", `{"mode":"attach","attachTo":"b","run":{"command":["/x"]}}`)
	s.want("web", `{"component":"web@2","dependsOn":["a"]}`).steps()
	s.phase("web", Running)
	s.faulty("a", "target-invalid")
	if f := s.faulty("web", "dependency-cycle"); !strings.HasSuffix(f.Message, "web → a → web") || !strings.Contains(f.Message, "goes on") {
		t.Errorf("%+v", f)
	}
	// Once the other is elsewhere, there is none.
	s.want("a", program).steps("stop a")
	s.ends("a", 0).steps("start a")
	s.runs("a", "a2").steps("stop web")
}

func TestPrepare_OptionsRebuildTheContainer(t *testing.T) {
	s := together(t)
	alone, own := s.hash("web"), s.hash("a")
	for _, run := range []string{`"ports":[{"host":80}]`, `"hostname":"h"`, `"privileged":true`, `"serial":["/dev/ttyS1"]`} {
		s.want("a", `{"mode":"attach","attachTo":"web","run":{"command":["/x"],`+run+`}}`)
		if s.hash("web") == alone {
			t.Error(run, "doesn't change the container")
		}
		if s.hash("a") != own {
			t.Error(run, "is part of the attached instance")
		}
	}
	s.steps("stop a")
	s.ends("a", 0).steps("stop web")
	s.ends("web", 0).steps("start web")
	if w := s.app("web").Want.Run; !slices.Equal(w.Serial, []string{"/dev/ttyS1"}) {
		t.Errorf("%+v", w)
	}
	s.runs("web", "i2").steps("start a")
	s.runs("a", "a2").steps()
	// What the container has already needs no other one.
	s.want("web", `{"component":"web@1","run":{"serial":["/dev/ttyS1"]}}`).steps()
}

func TestPrepare_OptionsOfWhatDoesNotRun(t *testing.T) {
	s := newScene(t).want("web", web)
	alone := s.hash("web")
	for _, text := range []string{
		`{"mode":"attach","attachTo":"web","state":"stopped","run":{"command":["/x"],"privileged":true}}`,
		`{"mode":"attach","attachTo":"web","dependsOn":["a"],"run":{"command":["/x"],"privileged":true}}`,
		`{"mode":"attach","attachTo":"other","run":{"command":["/x"],"privileged":true}}`,
	} {
		if s.want("a", text); s.hash("web") != alone {
			t.Error(text)
		}
	}
}

func hostname(h string) string {
	return `{"mode":"attach","attachTo":"web","run":{"command":["/x"],"hostname":"` + h + `"}}`
}

func TestPrepare_Conflict(t *testing.T) {
	s := newScene(t).want("web", web).want("a", hostname("h1")).want("b", hostname("h2")).want("c", hostname("h1"))
	s.steps("fetch web")
	s.faulty("a", "")
	s.phase("b", Failed)
	s.faulty("b", "conflict")
	s.faulty("c", "")
	if h := s.app("web").Want.Run.Hostname; h != "h1" {
		t.Error(h)
	}
}

// Who has nobody's users on the node can't be made privileged by who is attached.
func TestPrepare_PrivilegedInAContainerWithUsersOfItsOwn(t *testing.T) {
	s := newScene(t).want("web", `{"component":"web@1","run":{"userNamespace":"auto"}}`).
		want("a", `{"mode":"attach","attachTo":"web","run":{"command":["/x"],"privileged":true}}`)
	s.steps("fetch web")
	s.faulty("a", "conflict")
	if s.app("web").Want.Run.Privileged {
		t.Error("the container is to be privileged")
	}
}

// An edit that contradicts another application must not rebuild the container.
func TestPrepare_ConflictKeepsWhatWasApplied(t *testing.T) {
	s := newScene(t).want("web", web).want("a", hostname("h1")).
		want("b", `{"mode":"attach","attachTo":"web","run":{"command":["/x"],"privileged":true}}`).
		fetched("web@1").runs("web", "i1").runs("a", "a1").runs("b", "b1")
	s.steps()
	s.want("b", hostname("h2")).steps()
	s.phase("b", Running)
	s.faulty("b", "conflict")
}

func TestPrepare_ManyAttached(t *testing.T) {
	s := newScene(t).want("web", web).fetched("web@1").runs("web", "i1")
	var want []string
	for i := range 9 {
		name := fmt.Sprint("a", i)
		s.want(name, attached)
		want = append(want, "start "+name)
	}
	s.steps(want...)
}

func TestMake_ContainerBecomesAttached(t *testing.T) {
	s := running(t).want("b", `{"component":"web@1"}`).runs("b", "b1").want("x", `{"mode":"attach","attachTo":"b","run":{"command":["/x"]}}`).runs("x", "x1")
	s.steps()
	s.want("b", attached).steps("stop x")
	s.faulty("x", "target-invalid")
	s.ends("x", 0).steps("stop b")
	s.ends("b", 0)
	if p := s.steps("start b"); p.Steps[0].TargetInstance != "i1" {
		t.Errorf("%+v", p.Steps)
	}
	// And back again, with somebody waiting to join whose name comes first.
	s.runs("b", "b2").want("b", `{"component":"web@1"}`).want("a", `{"mode":"attach","attachTo":"b","run":{"command":["/x"]}}`)
	s.steps("stop b")
	s.phase("a", Pending)
}

func TestAttach_StaysOutOfAContainerThatIsBeingRemoved(t *testing.T) {
	s := running(t).delete("web")
	s.steps("remove web")
	s.in.Busy["web"] = s.prev.Steps[0]
	s.want("web", web).want("a", attached).steps()
	s.blocked("a", "waiting for web: it is being replaced")
}

// The options in the container are no reason to restart what is in it.
func TestAttach_TargetIsToBecomeAnotherMode(t *testing.T) {
	s := newScene(t).want("web", web).want("a", hostname("h1")).fetched("web@1").runs("web", "i1").runs("a", "a1")
	s.steps()
	s.want("web", `{"component":"web@2","mode":"host"}`).steps("fetch web")
	s.phase("a", Running)
	s.faulty("a", "target-invalid")
}

func TestAttach_TargetIsToBecomeAttached(t *testing.T) {
	s := running(t).want("b", `{"component":"web@1"}`).want("a", `{"mode":"attach","attachTo":"b","run":{"command":["/x"]}}`).runs("b", "b1").runs("a", "a1")
	s.steps()
	s.want("b", attached).steps("stop a")
	s.ends("a", 0).steps("stop b")
}

// What is to join a container that goes keeps running as it is meanwhile.
func TestAttach_IsToJoinAContainerThatGoes(t *testing.T) {
	s := running(t).want("a", program).runs("a", "a1")
	s.steps()
	s.want("a", attached).want("web", webEnv).steps("stop web")
	s.phase("a", Running)
	s.ends("web", 0).steps("start web")
	s.runs("web", "i2").steps("stop a")
}
