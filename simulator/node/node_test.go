package node

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

const web = "app:web"

func converged(name string) func(map[string]*shadow.Document) bool {
	return func(docs map[string]*shadow.Document) bool {
		return schema.StatusOf(name, docs[name]).Converged
	}
}

func TestRegistersAndMirrorsAnApplication(t *testing.T) {
	c := newCloud(t, "n1")
	c.start(Config{Agent: "sim/1", BootEpoch: 7})
	c.await("a node", func(docs map[string]*shadow.Document) bool { return schema.IsNode(docs[""]) })

	c.desire(web, `{"component":"web@1","run":{"env":{"A":"1","B":"2"}}}`, false)
	c.await("convergence", converged(web))
	c.await("the node's list", func(docs map[string]*shadow.Document) bool {
		return docs[""].Reported.At("node", "applications", "web").Text() == "running"
	})

	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.docs[web]
	if got := d.Reported.At("run", "env", "B").Text(); got != "2" {
		t.Errorf("reported run.env.B %q, want it verbatim", got)
	}
	if d.Origin.BootEpoch != 7 || d.Origin.Seq == 0 {
		t.Errorf("origin %+v, want boot epoch 7 and a sequence", d.Origin)
	}
	if got := c.docs[""].Reported.At("node", "agent", "version").Text(); got != "sim/1" {
		t.Errorf("agent %q", got)
	}
}

func TestRemovedMembersLeaveTheReport(t *testing.T) {
	c := newCloud(t, "n1")
	c.start(Config{})
	c.desire(web, `{"component":"web@1","run":{"env":{"A":"1","B":"2"}}}`, false)
	c.await("convergence", converged(web))
	c.desire(web, `{"run":{"env":{"B":null}},"state":"stopped"}`, false)
	c.await("B gone and stopped", func(docs map[string]*shadow.Document) bool {
		d := docs[web]
		return converged(web)(docs) && d.Reported.At("run", "env", "B") == nil && d.Reported.Get("phase").Text() == "stopped"
	})
}

func TestALostPushIsFoundByTheNextOne(t *testing.T) {
	c := newCloud(t, "n1")
	n := c.start(Config{SyncInterval: time.Hour})
	c.desire(web, `{"component":"web@1"}`, false)
	c.await("convergence", converged(web))
	syncs := n.Counters.Syncs.Load()
	c.desire(web, `{"component":"web@2"}`, true)
	c.desire(web, `{"run":{"env":{"A":"1"}}}`, false) // its base is not what the node holds
	c.await("both changes", converged(web))
	if n.Counters.Syncs.Load() != syncs+1 {
		t.Errorf("%d syncs more, want one", n.Counters.Syncs.Load()-syncs)
	}
}

func TestALostPushIsFoundByThePeriodicSync(t *testing.T) {
	c := newCloud(t, "n1")
	c.start(Config{SyncInterval: 50 * time.Millisecond})
	c.desire(web, `{"component":"web@1"}`, true)
	c.await("convergence", converged(web))
}

func TestAnOldPushChangesNothing(t *testing.T) {
	c := newCloud(t, "n1")
	n := c.start(Config{SyncInterval: time.Hour})
	c.desire(web, `{"component":"web@1"}`, false)
	c.desire(web, `{"component":"web@2"}`, false)
	c.await("convergence", converged(web))
	syncs := n.Counters.Syncs.Load()
	topic := "$aws/things/n1/shadow/name/" + web + "/desired"
	c.publish(topic, []byte(`{"version":1,"base":0,"desiredVersion":1,"patch":{"component":"web@1"}}`))
	c.desire("app:other", `{"component":"other@1"}`, false)
	c.await("what came after it", converged("app:other"))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !converged(web)(c.docs) || n.Counters.Syncs.Load() != syncs {
		t.Errorf("an old push was acted on")
	}
}

func TestALostAnswerIsMendedByTheSync(t *testing.T) {
	c := newCloud(t, "n1")
	n := c.start(Config{SyncInterval: 100 * time.Millisecond})
	c.mu.Lock()
	c.mute = 1
	c.mu.Unlock()
	c.desire(web, `{"component":"web@1"}`, false)
	c.await("the report", converged(web))
	c.desire(web, `{"component":"web@2"}`, false) // waits for the answer that was left out
	c.await("convergence", converged(web))
	if n.Counters.Rejected.Load() != 0 {
		t.Errorf("%d reports rejected", n.Counters.Rejected.Load())
	}
}

func TestAnUnansweredSyncGivesTheConnectionUp(t *testing.T) {
	c := newCloud(t, "n1")
	c.deaf = 2
	n := c.start(Config{Timeout: 100 * time.Millisecond})
	if connects, unanswered := n.Counters.Connects.Load(), n.Counters.Unanswered.Load(); connects != 3 || unanswered != 2 {
		t.Errorf("%d connections, %d syncs unanswered; want 3 and 2", connects, unanswered)
	}
	c.desire(web, `{"component":"web@1"}`, false)
	c.await("convergence", converged(web))
}

func TestDeletedApplicationsAreForgotten(t *testing.T) {
	c := newCloud(t, "n1")
	c.start(Config{})
	c.desire(web, `{"component":"web@1"}`, false)
	c.await("the node's list", func(docs map[string]*shadow.Document) bool {
		return docs[""].Reported.At("node", "applications", "web") != nil
	})
	c.forget(web)
	c.await("an empty list", func(docs map[string]*shadow.Document) bool {
		return docs[""].Reported.At("node", "applications", "web") == nil
	})
}

func TestAReportTheCloudLacksIsSentInFull(t *testing.T) {
	c := newCloud(t, "n1")
	c.start(Config{SyncInterval: 50 * time.Millisecond})
	c.desire(web, `{"component":"web@1"}`, false)
	c.await("convergence", converged(web))
	c.mu.Lock() // as if a backup had been restored
	d := *c.docs[web]
	d.Reported = nil
	c.docs[web] = &d
	c.mu.Unlock()
	c.await("it again", converged(web))
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := c.reports[len(c.reports)-1]; !strings.Contains(last, `"full":true`) {
		t.Errorf("last report %s, want a full one", last)
	}
}

func TestFaultsDelayConvergenceAndNothingElse(t *testing.T) {
	c := newCloud(t, "n1")
	n := c.start(Config{FaultRate: 0.6, Delay: func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(2 * time.Millisecond))) }})
	for range 20 {
		c.desire(web, `{"component":"web@1","run":{"env":{"A":"x"}}}`, false)
		c.await("convergence under faults", converged(web))
	}
	k := &n.Counters
	if k.CutBefore.Load() == 0 || k.CutAfter.Load() == 0 || k.FailedApply.Load() == 0 {
		t.Errorf("faults: %d cut before, %d cut after, %d failed; want some of each", k.CutBefore.Load(), k.CutAfter.Load(), k.FailedApply.Load())
	}
	if k.Connects.Load() < 2 {
		t.Error("no reconnect in spite of cuts")
	}
	if k.Errors.Load() != 0 || k.Rejected.Load() != 0 {
		t.Errorf("%d errors, %d rejected, last problem %v", k.Errors.Load(), k.Rejected.Load(), n.Problem())
	}
}

func TestShadowsOfOthersAreLeftAlone(t *testing.T) {
	c := newCloud(t, "n1")
	c.start(Config{SyncInterval: time.Hour})
	c.desire("notes", `{"x":1}`, false)
	c.desire(web, `{"component":"web@1"}`, false)
	c.await("convergence", converged(web))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.docs["notes"].Reported != nil {
		t.Error("a free shadow was reported on")
	}
}
