package trace

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/cloud/store"
	"gnomon/shadow/wire"
)

func TestStory_AllSteps(t *testing.T) {
	w := newWorld(t, Config{})
	w.listeners = 1
	w.update(parentA, desired)
	w.pass(8 * time.Millisecond)
	w.acknowledge("onlooker")
	w.acknowledge("edge-1")
	w.pass(10 * time.Millisecond)
	w.update("", `{"state":{"reported":{"phase":"starting","plan":{"version":1,"at":"2001-01-01T00:00:00Z","steps":{"plan":1,"start":3}}}}}`)
	s := w.story(Question{})
	w.is(s, `
written done 0 by operator local, HTTP
committed done 2 version 1
published done 2 desired push to 1 client
delivered done 10 edge-1 has it on its disk
planned done 11 start +3ms
reported missing - the node is at it: starting; it last acted on version 0
converged missing -`)
	if s.State != StateOpen || s.Trace != traceA || s.Parent != parentA || s.Version != 1 {
		t.Errorf("%+v", s)
	}
	w.pass(10 * time.Millisecond)
	w.update("", `{"state":{"reported":{"phase":"running","observedVersion":1,"mode":"host","run":{"command":["/x"]}}}}`)
	s = w.story(Question{Trace: traceA})
	w.is(s, `
written done 0 by operator local, HTTP
committed done 2 version 1
published done 2 desired push to 1 client
delivered done 10 edge-1 has it on its disk
planned done 11 start +3ms
reported done 30 running
converged done 30`)
	if s.State != StateConverged {
		t.Errorf("state %s", s.State)
	}
	if kinds := string(kindsOf(w.words)); kinds != "d" {
		t.Errorf("the others hear %q", kinds)
	}
}

func kindsOf(words []word) (kinds []byte) {
	for _, w := range words {
		kinds = append(kinds, w.kind)
	}
	return kinds
}

func TestStory_WhyNotDelivered(t *testing.T) {
	w := newWorld(t, Config{})
	why := func() string {
		t.Helper()
		for _, s := range w.story(Question{}).Steps {
			if s.Name == StepDelivered {
				if s.State != Missing {
					t.Errorf("delivered is %s", s.State)
				}
				return s.Text
			}
		}
		return ""
	}
	w.update(parentA, desired)
	if got := why(); got != "edge-1 has not been connected since this server started at 2026-11-21T10:00:00Z" {
		t.Error(got)
	}
	w.log.Connected("edge-1")
	if got := why(); got != "edge-1 is connected since 2026-11-21T10:01:00Z and gets it with its next sync" {
		t.Error(got)
	}
	w.pass(time.Minute)
	w.log.Left("edge-1")
	if got := why(); got != "edge-1 is offline since 2026-11-21T10:02:00Z" {
		t.Error(got)
	}
	w.pass(time.Minute)
	w.log.Elsewhere("edge-1")
	if got := why(); got != "edge-1 is connected to another replica since 2026-11-21T10:03:00Z and gets it with its next sync" {
		t.Error(got)
	}
	w.log.Left("edge-1") // the connection here, which it replaced
	if got := why(); !strings.Contains(got, "another replica") {
		t.Error(got)
	}
	hear(t, w.log, word{kind: wordLeft, thing: "edge-1", client: "edge-1", at: w.now})
	if got := why(); got != "edge-1 is offline since 2026-11-21T10:03:00Z" {
		t.Error(got)
	}
	w.listeners = 1
	w.log.Connected("edge-1")
	w.update(parentB, `{"state":{"desired":{"run":{"args":["a"]}}}}`)
	if got := why(); got != "edge-1 is connected and has not acknowledged it" {
		t.Error(got)
	}
	if got := string(kindsOf(w.words)); got != "l" {
		t.Errorf("the others hear %q", got)
	}
}

func hear(t *testing.T, l *Log, w word) {
	t.Helper()
	if err := l.Hear(w.append(nil)); err != nil {
		t.Fatal(err)
	}
}

func TestStory_Superseded(t *testing.T) {
	w := newWorld(t, Config{})
	w.update(parentA, desired)
	w.pass(time.Second)
	w.update(parentB, `{"state":{"desired":{"run":{"args":["a"]}}}}`)
	first := w.story(Question{Version: 1})
	w.is(first, `
written done 0 by operator local, HTTP
committed done 2 version 1
published done 2 nobody was listening
superseded done 1002 by version 2`)
	last := w.story(Question{})
	if first.State != StateSuperseded || last.Version != 2 || !slices.Equal(last.Superseded, []Earlier{{1, traceA, StepPublished}}) {
		t.Errorf("%+v\n%+v", first, last)
	}
	// A node that was away for both gets the last with its sync, and the answer
	// may carry an acknowledgement of either.
	reply := wire.SyncReply{BootEpoch: 1, Shadows: map[string]wire.SyncShadow{
		"app:web": {Version: 2, DesiredVersion: 2}, "app:same": {Version: 9, DesiredVersion: 9, Current: true}}}
	sync := wire.Topic{Thing: "edge-1", Op: wire.OpSync}
	w.log.Acknowledged("somebody", sync.Accepted(), reply.Append(nil))
	if s := w.story(Question{}).Steps[3]; s.State != Missing {
		t.Errorf("somebody else's acknowledgement counts: %+v", s)
	}
	w.log.Acknowledged("edge-1", sync.Accepted(), reply.Append(nil))
	if s := w.story(Question{}).Steps[3]; s.State != Done || s.Text != "edge-1 has it on its disk" {
		t.Errorf("%+v", s)
	}
}

// A push that was acknowledged because the node missed the one before it counts
// from the answer to the sync it then asked for.
func TestDelivered_WithTheSyncAfterAGap(t *testing.T) {
	w := newWorld(t, Config{})
	w.listeners = 1
	w.update(parentA, desired)
	w.acknowledge("edge-1")
	w.pass(5 * time.Millisecond)
	reply := wire.SyncReply{BootEpoch: 1, Shadows: map[string]wire.SyncShadow{"app:web": {Version: 1, DesiredVersion: 1}}}
	answer := wire.Topic{Thing: "edge-1", Op: wire.OpSync}.Accepted()
	w.log.Acknowledged("edge-1", answer, reply.Append(nil))
	if s := w.story(Question{}).Steps[3]; *s.After != 7 {
		t.Errorf("%+v", s)
	}
	w.update("", `{"state":{"reported":{"plan":{"version":1,"steps":{"plan":0}}}}}`)
	w.pass(5 * time.Millisecond)
	w.log.Acknowledged("edge-1", answer, reply.Append(nil)) // it was on its way when the push came
	if s := w.story(Question{}).Steps[3]; *s.After != 7 {
		t.Errorf("after it has been planned it is on the disk: %+v", s)
	}
}

// A report may overtake the acknowledgement. Then the change was on the disk at
// the latest when that came.
func TestDelivered_OvertakenByTheReport(t *testing.T) {
	w := newWorld(t, Config{})
	w.listeners = 1
	w.update(parentA, desired)
	w.pass(time.Millisecond)
	w.update("", `{"state":{"reported":{"phase":"running","observedVersion":1,"mode":"host","run":{"command":["/x"]},"plan":{"version":1,"steps":{"plan":0}}}}}`)
	w.pass(time.Second)
	if !w.log.Expects() {
		t.Error("what has converged unacknowledged isn't listened for")
	}
	w.acknowledge("edge-1")
	if s := w.story(Question{}).Steps[3]; s.State != Done || *s.After != 3 {
		t.Errorf("%+v", s)
	}
	if w.log.Expects() {
		t.Error("acknowledgements are listened for though nothing is waited for")
	}
}

func TestStory_Failed(t *testing.T) {
	w := newWorld(t, Config{})
	w.update(parentA, desired)
	w.update("", `{"state":{"reported":{"phase":"failed","observedVersion":1,"error":{"code":"invalid","message":"run.user: 7","retryable":false},"plan":{"version":1,"steps":{"plan":0}}}}}`)
	s := w.story(Question{})
	last := s.Steps[len(s.Steps)-2:]
	if s.State != StateFailed || last[0].Name != StepFailed || last[0].Text != "invalid: run.user: 7; it is not tried again" || last[1].State != Missing {
		t.Errorf("%s %+v", s.State, s.Steps)
	}
	if d := s.Steps[3]; d.State != Done || d.Text != "edge-1 has acted on it" { // nobody has acknowledged anything
		t.Errorf("%+v", d)
	}
}

func TestStory_PlainDevice(t *testing.T) {
	w := newWorld(t, Config{})
	w.key = store.Key{Thing: "lamp", Shadow: "light"}
	w.update(parentA, `{"state":{"desired":{"on":true}}}`)
	w.pass(time.Millisecond)
	w.update("", `{"state":{"reported":{"battery":3}}}`) // the delta goes out again
	topic := wire.Topic{Thing: "lamp", Shadow: "light"}.Delta()
	w.log.Acknowledged("lamp-client", topic, []byte(`{"version":2}`))
	w.pass(time.Millisecond)
	w.update("", `{"state":{"reported":{"on":true}}}`)
	w.is(w.story(Question{}), `
written done 0 by operator local, HTTP
committed done 2 version 1
published done 2 nobody was listening
delivered done 3 acknowledged by client lamp-client
reported done 3
converged done 4`)
	w.update(parentB, `{"state":{"desired":{"battery":3}}}`)
	if s := w.story(Question{}); s.State != StateConverged {
		t.Errorf("what is reported already: %s", s.State)
	}
}

// What is not remembered is derived from the document, and the rest is unknown.
func TestStory_AfterARestart(t *testing.T) {
	w := newWorld(t, Config{})
	w.update(parentA, desired)
	w.pass(time.Hour)
	w.log = New(w.log.cfg)
	w.is(w.story(Question{}), `
written done -seconds by whom is not known
committed done - version 1
published unknown - before this server started at 2026-11-21T11:01:00Z
delivered unknown - edge-1 has not been connected since this server started at 2026-11-21T11:01:00Z
planned missing -
reported missing -
converged missing -`)
	past := &Past{Version: 1, Trace: traceA, By: "operator local", Door: MQTT}
	for _, q := range []Question{{Past: past}, {Past: past, Trace: traceA}, {Past: past, Version: 1}} {
		if s := w.story(q); s.Trace != traceA || s.Steps[0].Text != "by operator local, MQTT" || s.Steps[0].Clock != ClockSeconds {
			t.Errorf("with what the history keeps: %+v", s)
		}
	}
	past.Version = 7 // it is behind
	if s := w.story(Question{Past: past}); s.Trace != "" || s.Steps[0].Text != "by whom is not known" {
		t.Errorf("with the history of another version: %+v", s)
	}
	w.update("", `{"state":{"reported":{"phase":"running","observedVersion":1,"mode":"host","run":{"command":["/x"]},"plan":{"version":1,"trace":"`+traceA+`","at":"2026-11-21T10:59:00Z","steps":{"plan":0,"start":9}}}}}`)
	s := w.story(Question{Trace: traceA})
	w.is(s, `
written done -seconds by whom is not known
committed done - version 1
published unknown - before this server started at 2026-11-21T11:01:00Z
delivered done -node edge-1 has it on its disk
planned done -node start +9ms
reported done -seconds running
converged done -`)
	if s.Trace != traceA || s.State != StateConverged {
		t.Errorf("%+v", s)
	}
	if _, _, err := w.log.Story(Question{Key: web, Version: 7}, w.doc); !errors.Is(err, ErrUnknown) {
		t.Errorf("version 7: %v", err)
	}
	if _, _, err := w.log.Story(Question{Key: web, Trace: strings.Repeat("1", 32)}, w.doc); !errors.Is(err, ErrUnknown) {
		t.Errorf("another trace: %v", err)
	}
}

func TestStory_Deleted(t *testing.T) {
	w := newWorld(t, Config{})
	w.update(parentA, desired)
	w.log.Committed(Change{Key: web, Version: 2, Parent: parentB, Deleted: true, Written: w.now}, Sent{})
	w.doc = nil
	if s := w.story(Question{}); s.State != StateOpen || s.Steps[len(s.Steps)-1].Name != StepDelivered {
		t.Errorf("%+v", s)
	}
	w.log.Acknowledged("edge-1", wire.Topic{Thing: "edge-1", Shadow: "app:web"}.Desired(), []byte(`{"version":2,"deleted":true}`))
	if s := w.story(Question{}); s.State != StateDeleted {
		t.Errorf("%+v", s)
	}
	if s := w.story(Question{Version: 1}); s.State != StateSuperseded {
		t.Errorf("%+v", s)
	}
}
