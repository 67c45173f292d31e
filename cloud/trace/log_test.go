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
