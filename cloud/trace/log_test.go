package trace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	parentA = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	traceA  = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentB = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

var web = store.Key{Thing: "edge-1", Shadow: "app:web"}

// world is a Log with a clock of its own and one document.
type world struct {
	t   testing.TB
	log *Log
	now time.Time
	doc *shadow.Document
	key store.Key

	listeners int
	words     []word
}

func newWorld(t testing.TB, cfg Config) *world {
	w := &world{t: t, now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), key: web}
	cfg.Now = func() time.Time { return w.now }
	cfg.Listeners = func(topic string) (int, int) {
		if topic == (wire.Topic{Thing: w.key.Thing, Shadow: w.key.Shadow}).Desired() {
			return w.listeners, w.listeners
		}
		return 0, 0
	}
	cfg.Tell = func(thing string, b []byte) {
		word, err := parseWord(b)
		if err != nil || word.thing != thing {
			t.Errorf("word %x about %q: %v", b, thing, err)
		}
		w.words = append(w.words, word)
	}
	w.log = New(cfg)
	w.now = w.now.Add(time.Minute)
	return w
}

// update applies an update as the shadow service would, and tells of it.
func (w *world) update(parent, body string) {
	w.t.Helper()
	u, err := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.doc, err = w.doc.Apply(u, w.now.Unix(), shadow.DefaultLimits); err != nil {
		w.t.Fatal(err)
	}
	status := schema.StatusOf(w.key.Shadow, w.doc)
	if w.doc.DesiredVersion == w.doc.Version {
		w.log.Committed(Change{
			Key: w.key, Version: w.doc.Version, Parent: parent, By: "operator local", Door: HTTP,
			Written: w.now.Add(-2 * time.Millisecond), Met: status.Converged, Sent: w.log.SentTo(w.key, true),
		}, Sent{})
	}
	if u.Reported.Present {
		w.log.Reported(w.key, w.doc, status.Phase, status.Converged)
	}
}

func (w *world) acknowledge(client string) {
	t := wire.Topic{Thing: w.key.Thing, Shadow: w.key.Shadow}
	w.log.Acknowledged(client, t.Desired(), fmt.Appendf(nil, `{"version":%d}`, w.doc.DesiredVersion))
}

func (w *world) story(q Question) *Story {
	w.t.Helper()
	q.Key = w.key
	s, _, err := w.log.Story(q, w.doc)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// is compares a story with lines "step state after text".
func (w *world) is(s *Story, want string) {
	w.t.Helper()
	var got strings.Builder
	for _, step := range s.Steps {
		after := "-"
		if step.After != nil {
			after = fmt.Sprintf("%g", *step.After)
		}
		fmt.Fprintf(&got, "%s %s %s%s %s\n", step.Name, step.State, after, step.Clock, step.Text)
	}
	text := strings.TrimSpace(strings.ReplaceAll(got.String(), " \n", "\n"))
	want = strings.TrimSpace(want)
	if text != want {
		w.t.Errorf("the story is\n%s\nwant\n%s", text, want)
	}
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

const desired = `{"state":{"desired":{"mode":"host","run":{"command":["/x"]}}}}`

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

// Two replicas' changes of one shadow may be heard of in the wrong order.
func TestCommitted_OutOfOrder(t *testing.T) {
	l := New(Config{})
	for _, v := range []uint64{1, 4, 2, 3, 4, 1} {
		l.Committed(Change{Key: web, Version: v, Parent: parentA}, Sent{})
	}
	for c, v := l.latest[web], uint64(4); v > 0; c, v = c.older, v-1 {
		if c.Version != v || (c.end == superseded) != (v < 4) {
			t.Errorf("at version %d is %d, ended %d by %d", v, c.Version, c.end, c.by)
		}
	}
	if len(l.versions) != 4 || l.open.Load() != 1 {
		t.Errorf("%d remembered, %d open", len(l.versions), l.open.Load())
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t, Config{Steps: 8})
	sub, err := w.log.Watch("")
	if err != nil {
		t.Fatal(err)
	}
	w.update(parentA, desired)
	var seen []Name
	var last Event
	for range 3 {
		if last, err = sub.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, last.Step)
	}
	if !slices.Equal(seen, []Name{StepWritten, StepCommitted, StepPublished}) || last.Trace != traceA || last.Kind != KindTrace || last.After != 2 {
		t.Errorf("%v, %+v", seen, last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sub.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing more: %v", err)
	}
	again, err := w.log.Watch(last.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.acknowledge("edge-1")
	if e, err := again.Next(t.Context()); err != nil || e.Step != StepDelivered {
		t.Errorf("%+v, %v", e, err)
	}
	for i := range 8 {
		w.update(parentB, fmt.Sprintf(`{"state":{"desired":{"run":{"args":["%d"]}}}}`, i))
	}
	if _, err := again.Next(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("who is too slow hears %v", err)
	}
	for _, id := range []string{last.ID, "x", "t0-1", w.log.steps.id(1 << 40)} {
		if _, err := w.log.Watch(id); !errors.Is(err, ErrGone) {
			t.Errorf("after %q: %v", id, err)
		}
	}
	now, _ := w.log.Watch("")
	w.log.MissedWords()
	if _, err := now.Next(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("after words were lost: %v", err)
	}
	fresh, _ := w.log.Watch("")
	w.update(parentB, desired)
	if e, err := fresh.Next(t.Context()); err != nil || e.Thing != "edge-1" {
		t.Errorf("%+v, %v", e, err)
	}
}

// Whatever happens, what is counted and linked is what is there, within bounds.
func TestLog_Bounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New(Config{Changes: 12, Bytes: 9000, Steps: 4, Clients: 3})
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			key := store.Key{Thing: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "thing"), Shadow: "app:x"}
			version := rapid.Uint64Range(1, 20).Draw(t, "version")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				l.Committed(Change{Key: key, Version: version, Parent: parentA, Deleted: rapid.Bool().Draw(t, "deleted"), Met: rapid.Bool().Draw(t, "met")}, Sent{})
			case 2:
				l.Acknowledged(key.Thing, wire.Topic{Thing: key.Thing, Shadow: key.Shadow}.Desired(), fmt.Appendf(nil, `{"version":%d}`, version))
			case 3:
				text := strings.Repeat("x", rapid.IntRange(0, 2000).Draw(t, "text"))
				d, err := (*shadow.Document)(nil).Apply(mustUpdate(`{"state":{"desired":{"x":1},"reported":{"observedVersion":1,"error":{"code":"c","message":"`+text+`"},"blockers":["`+text+`"],"plan":{"version":`+fmt.Sprint(version)+`,"steps":{"plan":1}}}}}`), 1, shadow.DefaultLimits)
				if err != nil {
					t.Fatal(err)
				}
				d.Version, d.DesiredVersion = 30, version
				l.Reported(key, d, text, rapid.Bool().Draw(t, "converged"))
			}
			check(t, l)
		}
	})
}

func mustUpdate(body string) *shadow.Update {
	u, err := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
	if err != nil {
		panic(err)
	}
	return u
}

func check(t *rapid.T, l *Log) {
	n, bytes, opened, undelivered := 0, 0, int64(0), int64(0)
	for _, c := range l.ring {
		if c == nil {
			continue
		}
		n++
		if c.size != c.measure() {
			t.Fatalf("size %d, is %d", c.size, c.measure())
		}
		bytes += c.size
		if c.end == open {
			opened++
		}
		if c.delivered.IsZero() && (c.end == open || c.end == converged) {
			undelivered++
		}
		if l.versions[id{c.Key, c.Version}] != c {
			t.Fatal("a change can't be found")
		}
		if c.newer == nil != (l.latest[c.Key] == c) {
			t.Fatal("the latest isn't")
		}
		if c.older != nil && (c.older.newer != c || c.older.Version >= c.Version || l.versions[id{c.Key, c.older.Version}] != c.older) {
			t.Fatal("the chain is broken")
		}
	}
	if n != len(l.versions) || n > 12 || bytes != l.bytes || bytes > 9000 || opened != l.open.Load() || undelivered != l.undelivered.Load() {
		t.Fatalf("%d changes, %d found by version; %d bytes, counted %d; %d open, counted %d; %d undelivered, counted %d",
			n, len(l.versions), bytes, l.bytes, opened, l.open.Load(), undelivered, l.undelivered.Load())
	}
}

// Updates of reported alone cost no memory: neither of shadows of which nothing
// is waited for nor of those of which nothing new is said.
func TestReported_AllocatesNothing(t *testing.T) {
	w := newWorld(t, Config{})
	w.update(parentA, desired)
	w.update("", `{"state":{"reported":{"phase":"starting","error":{"code":"x","message":"y"},"blockers":["z"],"plan":{"version":1,"steps":{"plan":1}}}}}`)
	other := store.Key{Thing: "edge-2", Shadow: "app:web"}
	if n := testing.AllocsPerRun(100, func() {
		w.log.Reported(other, w.doc, "running", false)
		w.log.Reported(web, w.doc, "starting", false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPresence_Bounded(t *testing.T) {
	l := New(Config{Clients: 2})
	for _, c := range []string{"a", "b", "c", "not a thing", "a"} {
		l.Connected(c)
	}
	if len(l.presence.clients) != 2 {
		t.Errorf("%v", l.presence.clients)
	}
}

func TestNilLog(t *testing.T) {
	var l *Log
	l.Reported(web, nil, "", true)
	l.Connected("a")
	l.Left("a")
	l.Elsewhere("a")
	l.MissedWords()
	if l.TraceOf(web, 1) != "" {
		t.Error("a trace out of nothing")
	}
}

func TestOrigin(t *testing.T) {
	if o := From(t.Context()); o != (Origin{}) {
		t.Errorf("%+v", o)
	}
	want := Origin{parentA, MQTT}
	if o := From(With(t.Context(), want)); o != want {
		t.Errorf("%+v", o)
	}
	if ParentOr(parentA) != parentA {
		t.Error("a traceparent is replaced")
	}
	seen := map[string]bool{}
	for range 100 {
		p := ParentOr("nonsense")
		id, ok := wire.TraceID(p)
		if !ok || seen[id] {
			t.Fatalf("%q", p)
		}
		seen[id] = true
	}
}

func BenchmarkReported(b *testing.B) {
	w := newWorld(b, Config{})
	w.update(parentA, desired)
	other := store.Key{Thing: "edge-2", Shadow: "app:web"}
	b.Run("nothing waited for", func(b *testing.B) {
		for b.Loop() {
			w.log.Reported(other, w.doc, "running", false)
		}
	})
	b.Run("nothing new", func(b *testing.B) {
		for b.Loop() {
			w.log.Reported(web, w.doc, "running", false)
		}
	})
}
