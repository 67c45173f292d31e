package twin

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// edge is the simplest agent there could be: it holds desired sections and
// versions, takes in some pushes, and syncs.
type edge map[string]*held

type held struct {
	version  uint64
	desired  *shadow.Value
	reported *shadow.Value
}

func (e edge) request() *wire.SyncRequest {
	r := &wire.SyncRequest{BootEpoch: 1, Shadows: map[string]wire.SyncState{}}
	for name, h := range e {
		r.Shadows[name] = wire.SyncState{Desired: h.version, Reported: shadow.Digest(h.reported)}
	}
	return r
}

func (e edge) take(t *testing.T, reply *wire.SyncReply) {
	t.Helper()
	for name, s := range reply.Shadows {
		if s.Deleted {
			delete(e, name)
			continue
		}
		if e[name] == nil {
			e[name] = &held{}
		}
		if !s.Current {
			e[name].version, e[name].desired = s.DesiredVersion, nil
			if s.Desired != nil {
				e[name].desired = value(t, string(s.Desired))
			}
		}
	}
}

func value(t *testing.T, text string) *shadow.Value {
	t.Helper()
	v, err := shadow.Parse([]byte(text), shadow.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// One sync brings an edge that missed everything to exactly what is desired,
// and another says that nothing differs.
func TestSyncConverges(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	b := open(t, vfs.NewMem(), nil)
	names := []string{"", "app:a", "app:b", "app:c", "collect:x"}
	bodies := map[string]string{
		"": `{"node":{"site":"s%d"}}`, "collect:x": `{"source":{"kind":"modbus-tcp","address":"h:%d"},"meters":[{"id":"m","model":"sdm630"}]}`,
	}
	e := edge{}
	for round := range 60 {
		for range random.IntN(6) {
			name := names[random.IntN(len(names))]
			if random.IntN(5) == 0 {
				if _, err := b.Delete(ctx, op, key("n", name), nil); err != nil && !errors.Is(err, shadow.ErrNotFound) {
					t.Fatal(err)
				}
				continue
			}
			body := bodies[name]
			if body == "" {
				body = `{"component":"web@1","run":{"env":{"V":"%d"}}}`
			}
			b.must(t, key("n", name), `{"state":{"desired":`+fmt.Sprintf(body, round+1)+`}}`)
		}
		reply, err := b.Sync(ctx, op, "n", e.request())
		if err != nil {
			t.Fatal(err)
		}
		e.take(t, reply)
		for _, name := range names {
			d, err := b.Get(ctx, op, key("n", name))
			if errors.Is(err, shadow.ErrNotFound) {
				if name != "" && e[name] != nil {
					t.Fatalf("round %d: the edge holds %q, which is gone", round, name)
				}
				delete(e, name)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if e[name] == nil || e[name].version != d.DesiredVersion || !shadow.Equal(e[name].desired, d.Desired) {
				t.Fatalf("round %d: the edge holds %+v of %q, the cloud %+v", round, e[name], name, d)
			}
		}
		again, err := b.Sync(ctx, op, "n", e.request())
		if err != nil || len(again.Shadows) != 0 || again.More {
			t.Fatalf("round %d: a second sync says %+v, %v", round, again, err)
		}
	}
}

// A reply too large for a packet comes in parts, each of which gets further.
func TestSyncInParts(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	big := fmt.Sprintf("%030000d", 0)
	const apps = 20
	for i := range apps {
		b.must(t, key("n", fmt.Sprintf("app:a%02d", i)), `{"state":{"desired":{"component":"web@1","run":{"env":{"BIG":"`+big+`"}}}}}`)
	}
	e := edge{}
	for parts := 1; ; parts++ {
		reply, err := b.Sync(ctx, op, "n", e.request())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(reply.Append(nil)); n > wire.MaxSyncBytes+40_000 {
			t.Fatalf("a reply of %d bytes", n)
		}
		e.take(t, reply)
		if !reply.More {
			break
		}
		if parts > apps {
			t.Fatal("no end")
		}
	}
	if len(e) != apps {
		t.Errorf("the edge holds %d applications, want %d", len(e), apps)
	}
}

// A reported section that differs, whoever lost it, is asked for whole.
func TestSyncAsksForReports(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	k := key("n", "app:a")
	b.must(t, k, `{"state":{"desired":{"component":"web@1"},"reported":{"phase":"running"}}}`)
	e := edge{"app:a": {version: 1, reported: value(t, `{"phase":"running"}`)}}
	reply, err := b.Sync(ctx, op, "n", e.request())
	if err != nil || len(reply.Shadows) != 0 {
		t.Errorf("equal: %+v, %v", reply, err)
	}
	b.must(t, k, `{"state":{"reported":{"phase":"failed"}}}`)
	reply, err = b.Sync(ctx, op, "n", e.request())
	if err != nil || !reply.Shadows["app:a"].ReportFull || !reply.Shadows["app:a"].Current {
		t.Errorf("differing: %+v, %v", reply, err)
	}
}

func TestEventsResume(t *testing.T) {
	b := open(t, vfs.NewMem(), func(c *Config) { c.Events = 8 })
	w, err := b.Watch(op, "")
	if err != nil {
		t.Fatal(err)
	}
	start := w.Position()
	for range 5 {
		b.must(t, key("t", "s"), `{"state":{"desired":{"a":1}}}`)
	}
	for v := uint64(1); v <= 5; v++ {
		e, err := w.Next(ctx)
		if err != nil || e.Version != v || e.Kind != "updated" || !e.Desired || e.Reported || e.Converged {
			t.Fatalf("event %+v, %v", e, err)
		}
	}
	again, err := b.Watch(op, start)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := again.Next(ctx); err != nil || e.Version != 1 {
		t.Errorf("resumed at %+v, %v", e, err)
	}
	for range 10 {
		b.must(t, key("t", "s"), `{"state":{}}`)
	}
	if _, err := again.Next(ctx); !errors.Is(err, ErrEventGone) {
		t.Errorf("a watcher that fell behind: %v", err)
	}
	for _, id := range []string{start, "other-3", "nonsense", w.log.run + "-99"} {
		if _, err := b.Watch(op, id); !errors.Is(err, ErrEventGone) {
			t.Errorf("after %s: %v", id, err)
		}
	}
}

// Of a device, a sync tells of the shadows that the node knows nothing of.
func TestSync_All(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	for _, name := range []string{"", "settings"} {
		b.must(t, key("d1", name), `{"state":{"desired":{"v":1},"reported":{"w":1}}}`)
	}
	reply, err := b.Sync(ctx, op, "d1", &wire.SyncRequest{BootEpoch: 1, All: true, Shadows: map[string]wire.SyncState{"": {Desired: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.Shadows["settings"]; got.Version != 1 || got.Desired != nil || got.Deleted {
		t.Errorf("settings: %+v", got)
	}
	if got := reply.Shadows[""]; string(got.Desired) != `{"v":1}` {
		t.Errorf("the classic one, which is stated: %+v", got)
	}
	reply, err = b.Sync(ctx, op, "d1", &wire.SyncRequest{BootEpoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, told := reply.Shadows["settings"]; told {
		t.Error("a node is told of a shadow that isn't for it")
	}
}

// What a node holds is compared before it is told of what it doesn't, however much
// that is.
func TestSync_HeldFirst(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	for i := range 1500 {
		b.must(t, key("d1", fmt.Sprintf("a%04d", i)), `{"state":{"desired":{"v":1}}}`)
	}
	b.must(t, key("d1", "z"), `{"state":{"desired":{"v":2}}}`)
	reply, err := b.Sync(ctx, op, "d1", &wire.SyncRequest{BootEpoch: 1, All: true, Shadows: map[string]wire.SyncState{"z": {Desired: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.Shadows["z"]; string(got.Desired) != `{"v":2}` || !reply.More || len(reply.Shadows) < 2 {
		t.Errorf("of %d, and more %v: %+v", len(reply.Shadows), reply.More, got)
	}
}
