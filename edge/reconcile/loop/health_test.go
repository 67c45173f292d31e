package loop

import (
	"slices"
	"testing"
	"testing/synctest"

	"gnomon/edge/reconcile"
	"gnomon/shadow"
)

func (w *watcher) Application(name string) []shadow.Member {
	return []shadow.Member{{Key: "usage", Value: shadow.Text("of " + name)}}
}

func (w *watcher) Node() []shadow.Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []shadow.Member{{Key: "usage", Value: shadow.Text("of the node")}, {Key: "held", Value: shadow.Int(int64(len(w.holds.Stop)))}}
}

// hold changes what the node has against what is desired, and says so.
func (w *watcher) hold(h reconcile.Holds) {
	w.mu.Lock()
	w.holds = h
	w.mu.Unlock()
	w.wake <- struct{}{}
}

// What the node has against what is desired takes effect at once, without any
// change of desired, and what was measured is part of the reports.
func TestLoop_WhatTheNodeHasAgainstIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("", 1, `{"node":{"sampling":{"interval":"3s"}}}`)
		w.want("app:web", 1, `{"component":"web@1"}`)
		w.says("app:web", map[string]string{"phase": `"running"`, "usage": `"of web"`})
		w.says("", map[string]string{"node.usage": `"of the node"`, "node.held": "0"})
		w.told.mu.Lock()
		last := w.told.last
		w.told.mu.Unlock()
		if last.Node.Sampling.Interval.String() != "3s" || !last.Complete || !slices.Equal(last.Components, []string{"web@1"}) ||
			len(last.Apps) != 1 || last.Apps[0].Version != 1 || len(last.Observed) != 1 {
			t.Errorf("%+v", last)
		}
		w.runner.took()

		w.told.hold(reconcile.Holds{Stop: map[string]string{"web": "held by alarm hot"}})
		w.says("app:web", map[string]string{"phase": `"pending"`, "blockers": `[{"code":"held","message":"held by alarm hot"}]`, "error": ""})
		w.says("", map[string]string{"node.held": "1"})
		w.told.hold(reconcile.Holds{})
		w.says("app:web", map[string]string{"phase": `"running"`, "blockers": ""})
		w.says("", map[string]string{"node.held": "0"})

		w.want("", 2, `{"node":{"sampling":{"interval":"1ns"}}}`) // refused: the one before stays
		w.told.mu.Lock()
		interval := w.told.last.Node.Sampling.Interval
		w.told.mu.Unlock()
		if interval.String() != "3s" {
			t.Error(interval)
		}
	})
}
