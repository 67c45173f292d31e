package twin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/changeset"
	"gnomon/cloud/trace"
	"gnomon/shadow/wire"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func traced(c *Config) {
	c.Traces = trace.New(trace.Config{Listeners: func(string) (int, int) { return 1, 1 }})
}

func (b *bench) story(t *testing.T, q trace.Question) *trace.Story {
	t.Helper()
	d, err := b.Get(ctx, op, q.Key)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := b.cfg.Traces.Story(q, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func pushes(t *testing.T, b *bench, topic string) (all []*wire.DesiredPush) {
	t.Helper()
	for _, text := range b.out.on(topic) {
		p, err := wire.ParseDesiredPush([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// The trace that a write comes with goes out with the desired push, and its story
// is told under it; a write without one is given one; a report has none.
func TestTraces(t *testing.T) {
	b := open(t, vfs.NewMem(), traced)
	k := key("t", "")
	with := trace.With(ctx, trace.Origin{Parent: parent, Door: trace.HTTP})
	if _, err := b.Update(with, op, k, update(t, `{"state":{"desired":{"a":1}}}`)); err != nil {
		t.Fatal(err)
	}
	if err := b.request(t, "$aws/things/t/shadow/update", `{"state":{"desired":{"a":2}}}`); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(with, op, k, update(t, `{"state":{"reported":{"a":2}}}`)); err != nil {
		t.Fatal(err)
	}
	all := pushes(t, b, "$aws/things/t/shadow/desired")
	if len(all) != 2 || all[0].Trace != parent || all[1].Trace == parent {
		t.Fatalf("pushes %+v", all)
	}
	if _, ok := wire.TraceID(all[1].Trace); !ok {
		t.Errorf("a write without a trace is given %q", all[1].Trace)
	}
	first, last := b.story(t, trace.Question{Key: k, Version: 1}), b.story(t, trace.Question{Key: k})
	if first.Parent != parent || first.State != trace.StateSuperseded || first.Steps[0].Text != "by operator local, HTTP" {
		t.Errorf("%+v", first)
	}
	if last.Parent != all[1].Trace || last.State != trace.StateConverged || last.Steps[0].Text != "by operator local, MQTT" {
		t.Errorf("%+v", last)
	}
}

// A sync tells the trace of what it brings.
func TestTraces_Sync(t *testing.T) {
	b := open(t, vfs.NewMem(), traced)
	if _, err := b.Update(trace.With(ctx, trace.Origin{Parent: parent}), op, key("t", "app:web"), update(t, `{"state":{"desired":{"mode":"host","run":{"command":["/x"]}}}}`)); err != nil {
		t.Fatal(err)
	}
	for _, held := range []uint64{0, 1} {
		reply, err := b.Sync(ctx, op, "t", &wire.SyncRequest{BootEpoch: 1, Shadows: map[string]wire.SyncState{"app:web": {Desired: held, Reported: "0"}}})
		if err != nil {
			t.Fatal(err)
		}
		want := parent
		if held == 1 {
			want = "" // it holds it
		}
		if got := reply.Shadows["app:web"].Trace; got != want {
			t.Errorf("to one that holds version %d the trace is %q", held, got)
		}
	}
}

// What one replica committed, the other tells with the same trace.
func TestTraces_Replicas(t *testing.T) {
	var other *bench
	one := open(t, vfs.NewMem(), func(c *Config) { traced(c); c.Replicas = direct{t, &other} })
	other = open(t, vfs.NewMem(), func(c *Config) { c.Shared = true; traced(c) })
	k := key("t", "")
	if _, err := one.Update(trace.With(ctx, trace.Origin{Parent: parent, Door: trace.MQTT}), op, k, update(t, `{"state":{"desired":{"a":1}}}`)); err != nil {
		t.Fatal(err)
	}
	if all := pushes(t, other, "$aws/things/t/shadow/desired"); len(all) != 1 || all[0].Trace != parent {
		t.Fatalf("pushes %+v", all)
	}
	d, err := one.Get(ctx, op, k)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := other.cfg.Traces.Story(trace.Question{Key: k}, d)
	if err != nil || s.Parent != parent || s.Steps[0].Text != "by operator local, MQTT" ||
		s.Steps[1].Text != "version 1, at another replica" || !strings.Contains(s.Steps[2].Text, "delta to 4 clients") {
		text, _ := json.Marshal(s)
		t.Errorf("%s, %v", text, err)
	}
	if _, err := one.Update(ctx, op, k, update(t, `{"state":{"reported":{"a":1}}}`)); err != nil {
		t.Fatal(err)
	}
	if d, err = one.Get(ctx, op, k); err != nil {
		t.Fatal(err)
	}
	if s, _, err = other.cfg.Traces.Story(trace.Question{Key: k}, d); err != nil || s.State != trace.StateConverged {
		t.Errorf("%+v, %v", s, err)
	}
}

// Replicas of both versions understand each other: one that knows nothing of
// traces sends notices without, and reads those with one up to there.
func TestTraces_InNotices(t *testing.T) {
	var notice []byte
	one := open(t, vfs.NewMem(), func(c *Config) { traced(c); c.Replicas = kept{&notice} })
	if _, err := one.Update(trace.With(ctx, trace.Origin{Parent: parent, Door: trace.HTTP}), op, key("t", "s"), update(t, `{"state":{"desired":{"a":1}}}`)); err != nil {
		t.Fatal(err)
	}
	n, err := parseNotice(notice)
	if err != nil || n.c.origin.Parent != parent || n.by != "operator local" || !n.elsewhere.Known || n.elsewhere.Push != 2 {
		t.Fatalf("%+v, %v", n, err)
	}
	begins := strings.Index(string(notice), parent) - 1
	if _, err := parseNotice(notice[:begins]); err != nil {
		t.Errorf("without a trace: %v", err)
	}
	if _, err := parseNotice(append(notice[:len(notice):len(notice)], "more"...)); err != nil {
		t.Errorf("with what a later version adds: %v", err)
	}
	for cut := begins + 1; cut < len(notice); cut++ {
		if _, err := parseNotice(notice[:cut]); !errors.Is(err, ErrNotice) {
			t.Errorf("cut at %d of %d: %v", cut, len(notice), err)
		}
	}
	if _, err := one.Update(ctx, op, key("t", "s"), update(t, `{"state":{"reported":{"a":1}}}`)); err != nil {
		t.Fatal(err)
	}
	if n, err = parseNotice(notice); err != nil || n.c.origin.Parent != "" {
		t.Errorf("a report has a trace: %+v, %v", n, err)
	}
}

type kept struct{ last *[]byte }

func (k kept) Send(_ string, notice []byte) { *k.last = notice }

// A service that traces nothing does everything else.
func TestTraces_None(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	for i := range 3 {
		b.must(t, key("t", ""), fmt.Sprintf(`{"state":{"desired":{"a":%d}}}`, i))
	}
	if all := pushes(t, b, "$aws/things/t/shadow/desired"); len(all) != 3 || all[0].Trace != "" {
		t.Errorf("%+v", all)
	}
}

// A change-set is traced on each of its shadows, and the history keeps its trace.
func TestTraces_ChangeSet(t *testing.T) {
	b := open(t, vfs.NewMem(), func(c *Config) { living(newClock())(c); traced(c); c.History = 8 })
	c, err := changeset.ParseRequest([]byte(`{"shadows":{"cfg":{"desired":{"a":1}},"app:web":{"desired":{"component":"web@2"}}}}`), b.ChangeRules())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Change(trace.With(ctx, trace.Origin{Parent: parent, Door: trace.HTTP}), op, "n", c, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cfg", "app:web"} {
		k := key("n", name)
		if s := b.story(t, trace.Question{Key: k}); s.Parent != parent || s.Steps[0].Text != "by operator local, HTTP" {
			t.Errorf("%s: %+v", name, s)
		}
		log, _, err := b.History(ctx, op, k)
		if err != nil || len(log.Entries()) != 1 || log.Entries()[0].Trace != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("%s: history %+v, %v", name, log, err)
		}
	}
}
