package reconcile

import (
	"slices"
	"testing"
	"time"

	"gnomon/edge/workload"
)

const overQuota = "alarm disk-quota: over 1Mi"

func hold(name string) Holds { return Holds{Stop: map[string]string{name: overQuota}} }

func TestMake_HeldIsStoppedAndNotStartedUntilReleased(t *testing.T) {
	s := running(t)
	s.in.Holds = hold("web")
	s.steps("stop web")
	s.phase("web", Stopping)
	s.ends("web", 137).steps()
	if v := s.phase("web", Pending); !slices.Equal(v.Blockers.Messages(), []string{overQuota}) || v.Fault != nil {
		t.Errorf("%+v", v)
	}
	s.pass(time.Hour).steps()
	s.in.Holds = Holds{}
	s.steps("start web") // at once: being ended by us was no failure
	if m := s.in.Memory["web"]; m.Attempts != 0 {
		t.Errorf("%d failures are counted", m.Attempts)
	}
}

func TestMake_HeldBeforeItEverRan(t *testing.T) {
	s := newScene(t).want("web", web).fetched("web@1")
	s.in.Holds = hold("web")
	s.steps()
	s.phase("web", Pending)
	s.want("web", `{"component":"web@1","state":"stopped"}`).steps()
	s.in.Holds = Holds{}
	s.steps()
	s.phase("web", Stopped)
}

func TestMake_WhatIsAttachedIsStoppedBeforeWhatIsHeld(t *testing.T) {
	s := running(t).want("side", `{"mode":"attach","attachTo":"web","run":{"command":["/bin/s"]}}`).runs("side", "s1")
	s.steps()
	s.in.Holds = hold("web")
	s.steps("stop side")
	s.ends("side", 0).steps("stop web")
	s.ends("web", 0).steps()
}

func TestMake_RestartsAnInstanceOnce(t *testing.T) {
	s := running(t)
	s.in.Holds = Holds{Restart: map[string]string{"web": "i1"}}
	s.steps("stop web")
	s.ends("web", 143).steps("start web")
	s.runs("web", "i2").steps() // the one that was meant is gone
	s.phase("web", Running)
	if m := s.in.Memory["web"]; m.Attempts != 0 || m.Fault != nil {
		t.Errorf("counted as a failure: %+v", m)
	}
}

func TestMake_DeferredUpdates(t *testing.T) {
	s := running(t)
	s.in.Holds = Holds{Updates: "updates are deferred: the disk is full"}
	s.want("web", web2).steps()
	if v := s.phase("web", Running); !slices.Equal(v.Blockers.Messages(), []string{"updates are deferred: the disk is full"}) {
		t.Errorf("%+v", v.Blockers)
	}
	s.want("new", program).steps("start new") // nothing of it runs yet
	s.runs("new", "n1")
	s.in.Holds = Holds{}
	s.steps("fetch web")
}

func TestMake_DeferredUpdatesLeaveStoppingAlone(t *testing.T) {
	s := running(t)
	s.in.Holds = Holds{Updates: "no updates now"}
	s.want("web", `{"component":"web@1","state":"stopped"}`).steps("stop web")
	s.observe(workload.Status{Name: "web"}).steps()
	s.delete("web").steps()
}

func TestPrepare_QuotaOfDiskIsNoReasonForAnotherInstance(t *testing.T) {
	s := running(t).want("web", `{"component":"web@1","run":{"resources":{"disk":"5Mi"}}}`)
	s.steps()
	s.phase("web", Running)
}
