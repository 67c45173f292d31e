package twin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/cloud/store/pebble"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx = context.Background()
	op  = identity.LocalOperator
)

// recorder is a publisher that everybody subscribed to.
type recorder struct {
	mu   sync.Mutex
	sent []message
}

func (r *recorder) Publish(topic string, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, message{topic, payload})
}

func (r *recorder) Subscribed(string) bool { return true }

// on returns what was published on a topic.
func (r *recorder) on(topic string) (payloads []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sent {
		if m.topic == topic {
			payloads = append(payloads, string(m.payload))
		}
	}
	return payloads
}

type bench struct {
	*Service
	out *recorder
	fs  *vfs.MemFS
}

// open runs a service on a file system until the test ends.
func open(t testing.TB, fs *vfs.MemFS, change func(*Config)) *bench {
	t.Helper()
	db, err := pebble.Open(pebble.Config{Dir: "db", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(run) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		db.Close()
	})
	b := &bench{out: &recorder{}, fs: fs}
	cfg := Config{Store: db, Publisher: b.out, History: 10, Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}
	if change != nil {
		change(&cfg)
	}
	if b.Service, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

func update(t testing.TB, body string) *shadow.Update {
	t.Helper()
	u, err := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func key(thing, name string) store.Key { return store.Key{Thing: thing, Shadow: name} }

func (b *bench) must(t testing.TB, k store.Key, body string) *shadow.Document {
	t.Helper()
	d, err := b.Update(ctx, op, k, update(t, body))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// request sends an MQTT request and waits until it is dealt with.
func (b *bench) request(t testing.TB, topic, body string) error {
	t.Helper()
	parsed, ok := wire.ParseTopic(topic)
	if !ok {
		t.Fatalf("%s is no request", topic)
	}
	done := make(chan error, 1)
	b.Handle(ctx, op, parsed, []byte(body), func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("done is not called")
		return nil
	}
}

func TestUpdatePublishes(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	p := "$aws/things/t/shadow/name/s"
	if err := b.request(t, p+"/update", `{"state":{"desired":{"a":1,"b":2},"reported":{"a":1.0}},"clientToken":"x"}`); err != nil {
		t.Fatal(err)
	}
	const ts = `{"timestamp":1700000000}`
	want := map[string]string{
		p + "/update/accepted":  `{"state":{"desired":{"a":1,"b":2},"reported":{"a":1.0}},"metadata":{"desired":{"a":` + ts + `,"b":` + ts + `},"reported":{"a":` + ts + `}},"version":1,"timestamp":1700000000,"clientToken":"x"}`,
		p + "/update/delta":     `{"version":1,"timestamp":1700000000,"state":{"b":2},"metadata":{"b":` + ts + `},"clientToken":"x"}`,
		p + "/desired":          `{"version":1,"base":0,"desiredVersion":1,"patch":{"a":1,"b":2},"timestamp":1700000000}`,
		p + "/update/documents": `{"current":{"state":{"desired":{"a":1,"b":2},"reported":{"a":1.0}},"metadata":{"desired":{"a":` + ts + `,"b":` + ts + `},"reported":{"a":` + ts + `}},"version":1},"timestamp":1700000000,"clientToken":"x"}`,
	}
	for topic, payload := range want {
		if got := b.out.on(topic); len(got) != 1 || got[0] != payload {
			t.Errorf("%s\n got %s\nwant %s", topic, got, payload)
		}
	}
	if got := b.out.on("things/t/shadow/name/s/update/accepted"); got != nil {
		t.Errorf("answered on the other prefix: %s", got)
	}
	if got := b.out.on("things/t/shadow/name/s/update/delta"); len(got) != 1 {
		t.Errorf("delta without the prefix: %s", got)
	}
	// Reached: no delta, and since desired is untouched no push.
	if err := b.request(t, p+"/update", `{"state":{"reported":{"b":2}}}`); err != nil {
		t.Fatal(err)
	}
	if n := len(b.out.on(p + "/update/delta")); n != 1 {
		t.Errorf("%d deltas, want none for an empty one", n)
	}
	if n := len(b.out.on(p + "/desired")); n != 1 {
		t.Errorf("%d pushes, want none for a report", n)
	}
	// A key leaves desired: no delta says so, the push does.
	if err := b.request(t, p+"/update", `{"state":{"desired":{"b":null}}}`); err != nil {
		t.Fatal(err)
	}
	if got := b.out.on(p + "/desired"); got[len(got)-1] != `{"version":3,"base":1,"desiredVersion":3,"patch":{"b":null},"timestamp":1700000000}` {
		t.Errorf("push %s", got)
	}
}

func TestRejections(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	b.must(t, key("t", ""), `{"state":{}}`)
	for _, tt := range []struct{ topic, body, want string }{
		{"update", `{"state":{"desired":{"a":1}},"version":9,"clientToken":"c"}`, `{"code":409,"message":"Version conflict","timestamp":1700000000,"clientToken":"c"}`},
		{"update", `{"clientToken":"c"}`, `{"code":400,"message":"Missing required node: state","timestamp":1700000000,"clientToken":"c"}`},
		{"name/x/get", ``, `{"code":404,"message":"No shadow exists with name: 'x'","timestamp":1700000000}`},
		{"name/x/delete", `{"clientToken":"d"}`, `{"code":404,"message":"No shadow exists with name: 'x'","timestamp":1700000000,"clientToken":"d"}`},
		{"name/app:web/update", `{"state":{"reported":{"phase":"running"}}}`, `{"code":404,"message":"No shadow exists with name: 'app:web'","timestamp":1700000000}`},
		{"sync", `{}`, `{"code":400,"message":"Invalid sync","timestamp":1700000000,"detail":"bootEpoch must be 1 or more"}`},
	} {
		topic := "$aws/things/t/shadow/" + tt.topic
		if err := b.request(t, topic, tt.body); err != nil {
			t.Errorf("%s: %v: a bad request is acknowledged", tt.topic, err)
		}
		got := b.out.on(topic + "/rejected")
		if len(got) == 0 || got[len(got)-1] != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.topic, got, tt.want)
		}
	}
	if _, err := b.Update(ctx, op, key("t", "app:web"), update(t, `{"state":{"desired":{"mode":"vm"}}}`)); err == nil || !strings.Contains(err.Error(), "mode: must be container, attach or host") {
		t.Errorf("an invalid application: %v", err)
	}
	if _, err := b.Get(ctx, op, key("t", "app:web")); !errors.Is(err, shadow.ErrNotFound) {
		t.Errorf("a refused application is there: %v", err)
	}
}

// Reports are taken in the order they were made, and not from the dead.
// What somebody installed on a node is told of by its report alone.
func TestInstalledOnTheNode(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	k := key("n", "app:own")
	b.must(t, k, `{"state":{"reported":{"phase":"running","override":{"kind":"installed"}}}}`)
	d := b.must(t, k, `{"state":{"reported":{"override":{"reason":"trial"}}}}`)
	if d.Version != 2 || d.DesiredVersion != 0 || d.Desired != nil {
		t.Errorf("%+v", d)
	}
	if _, err := b.Update(ctx, op, key("n", "app:web"), update(t, `{"state":{"reported":{"override":{"kind":"changed"}}}}`)); err == nil {
		t.Error("a late report brings back what was deleted")
	}
}

func TestOrderOfReports(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	k := key("n", "app:web")
	b.must(t, k, `{"state":{"desired":{"component":"web@1"}}}`)
	report := func(epoch, seq int) error {
		_, err := b.Update(ctx, op, k, update(t, fmt.Sprintf(`{"state":{"reported":{"at":"%d-%d"}},"origin":{"bootEpoch":%d,"seq":%d}}`, epoch, seq, epoch, seq)))
		return err
	}
	for _, tt := range []struct {
		epoch, seq int
		want       error
	}{{2, 1, nil}, {2, 2, nil}, {2, 2, shadow.ErrStaleReport}, {2, 1, shadow.ErrStaleReport}, {1, 9, shadow.ErrStaleReport}, {3, 1, nil}, {2, 3, shadow.ErrStaleReport}} {
		if err := report(tt.epoch, tt.seq); !errors.Is(err, tt.want) {
			t.Errorf("report %d-%d: %v, want %v", tt.epoch, tt.seq, err, tt.want)
		}
	}
	d, err := b.Get(ctx, op, k)
	if err != nil || d.Reported.Get("at").Text() != "3-1" {
		t.Errorf("reported %s, %v", d.Reported.AppendJSON(nil), err)
	}
}

// Every accepted update raises the version by exactly one, whoever sends it, and
// what is published about a shadow is in the order of its versions.
func TestConcurrentVersions(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	k := key("t", "s")
	const writers, writes = 32, 50
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				d := b.must(t, k, fmt.Sprintf(`{"state":{"desired":{"w%d":%d}}}`, w, i))
				mu.Lock()
				if seen[d.Version] {
					t.Errorf("version %d was given twice", d.Version)
				}
				seen[d.Version] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for v := range uint64(writers * writes) {
		if !seen[v+1] {
			t.Errorf("version %d was never given", v+1)
		}
	}
	last := uint64(0)
	for _, text := range b.out.on("$aws/things/t/shadow/name/s/update/accepted") {
		var a struct{ Version uint64 }
		if err := json.Unmarshal([]byte(text), &a); err != nil || a.Version != last+1 {
			t.Fatalf("version %d was published after %d (%v)", a.Version, last, err)
		}
		last = a.Version
	}
}

// What was acknowledged is there after a power cut, and its version isn't given
// to anything else.
func TestRestartKeepsVersions(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := open(t, fs, nil)
	k := key("t", "s")
	for range 5 {
		b.must(t, k, `{"state":{"desired":{"a":1}}}`)
	}
	if _, err := b.Delete(ctx, op, k, nil); err != nil {
		t.Fatal(err)
	}
	after := open(t, fs.CrashClone(vfs.CrashCloneCfg{}), nil)
	if _, err := after.Get(ctx, op, k); !errors.Is(err, shadow.ErrNotFound) {
		t.Fatalf("a deleted shadow is back: %v", err)
	}
	if d := after.must(t, k, `{"state":{"desired":{"a":1}}}`); d.Version != 7 {
		t.Errorf("version %d after delete and restart, want 7", d.Version)
	}
}

// stuck is a store whose commits a test decides.
type stuck struct {
	store.Store
	mu      sync.Mutex
	waiting []func(error)
}

func (s *stuck) Submit(_ context.Context, _ []store.Record, done func(error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, done)
	return nil
}

// Readers see committed documents only, and nothing is said of a change whose
// commit failed, nor of what was built on it.
func TestUncommittedIsInvisible(t *testing.T) {
	var s *stuck
	b := open(t, vfs.NewMem(), func(c *Config) {
		s = &stuck{Store: c.Store}
		c.Store = s
	})
	k := key("t", "s")
	results := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := b.Update(ctx, op, k, update(t, fmt.Sprintf(`{"state":{"desired":{"i":%d}}}`, i)))
			results <- err
		}()
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n := len(s.waiting)
		s.mu.Unlock()
		if n == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the changes do not arrive")
		}
	}
	if d, err := b.Get(ctx, op, k); !errors.Is(err, shadow.ErrNotFound) {
		t.Errorf("an uncommitted document is visible: %v, %v", d, err)
	}
	for _, done := range s.waiting {
		done(store.ErrBroken)
	}
	for range 2 {
		if err := <-results; !errors.Is(err, store.ErrBroken) {
			t.Errorf("told %v", err)
		}
	}
	if len(b.out.sent) != 0 {
		t.Errorf("published %v", b.out.sent)
	}
	if d, err := b.Get(ctx, op, k); !errors.Is(err, shadow.ErrNotFound) {
		t.Errorf("what was never committed is visible: %v, %v", d, err)
	}
}

func TestAuthorize(t *testing.T) {
	b := open(t, vfs.NewMem(), nil)
	b.must(t, key("n1", ""), `{"state":{"desired":{"a":1}}}`)
	n1, n2 := identity.Principal{Kind: identity.Thing, Name: "n1"}, identity.Principal{Kind: identity.Thing, Name: "n2"}
	calls := map[string]func(p identity.Principal) error{
		"get": func(p identity.Principal) error { _, err := b.Get(ctx, p, key("n1", "")); return err },
		"update": func(p identity.Principal) error {
			_, err := b.Update(ctx, p, key("n1", ""), update(t, `{"state":{}}`))
			return err
		},
		"shadows": func(p identity.Principal) error { _, _, err := b.Shadows(ctx, p, "n1", Page{Limit: 1}); return err },
		"named":   func(p identity.Principal) error { _, _, err := b.Named(ctx, p, "n1", Page{Limit: 1}); return err },
		"sync": func(p identity.Principal) error {
			_, err := b.Sync(ctx, p, "n1", &wire.SyncRequest{BootEpoch: 1})
			return err
		},
		"replace": func(p identity.Principal) error {
			_, _, err := b.ReplaceDesired(ctx, p, key("n1", ""), shadow.NewObject(), nil)
			return err
		},
		"delete": func(p identity.Principal) error { _, err := b.Delete(ctx, p, key("n1", "gone"), nil); return err },
	}
	for name, call := range calls {
		for _, p := range []identity.Principal{n2, {}, {Kind: identity.Thing}} {
			if err := call(p); !errors.Is(err, ErrForbidden) {
				t.Errorf("%s by %s: %v", name, p, err)
			}
		}
		if err := call(n1); errors.Is(err, ErrForbidden) {
			t.Errorf("%s by its own thing: %v", name, err)
		}
	}
	for _, p := range []identity.Principal{n1, {}} {
		if _, _, err := b.Nodes(ctx, p, Page{Limit: 1}); !errors.Is(err, ErrForbidden) {
			t.Errorf("nodes by %s: %v", p, err)
		}
		if _, err := b.Watch(p, ""); !errors.Is(err, ErrForbidden) {
			t.Errorf("watch by %s: %v", p, err)
		}
	}
}

// A cache of a few entries changes nothing but the time it takes.
func TestSmallCache(t *testing.T) {
	b := open(t, vfs.NewMem(), func(c *Config) { c.CacheCount, c.CacheBytes = 1, 1 })
	for i := range 2000 {
		b.must(t, key(fmt.Sprintf("t%d", i%500), ""), fmt.Sprintf(`{"state":{"reported":{"i":%d}}}`, i))
	}
	for i := range 500 {
		d, err := b.Get(ctx, op, key(fmt.Sprintf("t%d", i), ""))
		if err != nil || d.Version != 4 {
			t.Fatalf("t%d: %+v, %v", i, d, err)
		}
	}
	if n := b.cached(); n > stripes {
		t.Errorf("%v shadows cached", n)
	}
}

// An application that was stored when more was allowed can be stopped, and made
// smaller in steps.
func TestUpdate_TooLargeBefore(t *testing.T) {
	var db store.Store
	before := open(t, vfs.NewMem(), func(c *Config) {
		db, c.Limits = c.Store, shadow.Limits{StateBytes: 128 << 10, Depth: 8, BodyBytes: 256 << 10}
	})
	k := key("n", "app:web")
	env := func(bytes int) string { return strings.Repeat("a", bytes) }
	before.must(t, k, fmt.Sprintf(`{"state":{"desired":{"component":"web@1","run":{"command":["web"],"env":{"A":%q,"B":%q}}}}}`, env(20_000), env(20_000)))
	b := open(t, vfs.NewMem(), func(c *Config) { c.Store = db })
	if _, err := b.Update(ctx, op, k, update(t, fmt.Sprintf(`{"state":{"desired":{"run":{"env":{"C":%q}}}}}`, env(1000)))); err == nil {
		t.Error("it grows further")
	}
	b.must(t, k, `{"state":{"desired":{"state":"stopped"}}}`)
	b.must(t, k, `{"state":{"desired":{"run":{"env":{"B":"b"}}}}}`)
	if d := b.must(t, k, `{"state":{"desired":{"state":"running"}}}`); d.StateBytes() > 21_000 {
		t.Errorf("%d bytes", d.StateBytes())
	}
}
