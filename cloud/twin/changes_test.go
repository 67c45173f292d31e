package twin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/changeset"
	"gnomon/cloud/index"
	"gnomon/cloud/store"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []alarm
}

type alarm struct {
	at time.Time
	c  chan time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := alarm{c.now.Add(d), make(chan time.Time, 1)}
	c.alarms = append(c.alarms, a)
	return a.c
}

// move sets the clock and lets go off what is due by then.
func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.alarms = slices.DeleteFunc(c.alarms, func(a alarm) bool {
		if a.at.After(c.now) {
			return false
		}
		a.c <- c.now
		return true
	})
}

// living makes a service with a clock of its own, preconditions, and a scheduler
// that runs until the test ends.
func living(c *clock) func(*Config) {
	return func(cfg *Config) {
		cfg.Now, cfg.After = c.Now, c.After
		cfg.Condition = func(selector string) (Condition, error) {
			holds, err := index.ParseCondition(selector)
			return Condition(holds), err
		}
	}
}

// scheduled runs what happens at a time, until the function it returns is called
// or the test ends.
func (b *bench) scheduled(t testing.TB) (stop func()) {
	t.Helper()
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(run) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (b *bench) change(t testing.TB, thing, body string) (*ChangeSet, error) {
	t.Helper()
	c, err := changeset.ParseRequest([]byte(body), b.ChangeRules())
	if err != nil {
		return nil, err
	}
	return b.Change(ctx, op, thing, c, false)
}

func (b *bench) mustChange(t testing.TB, thing, body string) *ChangeSet {
	t.Helper()
	c, err := b.change(t, thing, body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// until waits for a change-set to have a status, for good or by what is reported.
func (b *bench) until(t testing.TB, thing string, generation uint64, want changeset.Status) *ChangeSet {
	t.Helper()
	var c *ChangeSet
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		if c, err = b.ChangeOf(ctx, op, thing, generation); err != nil {
			t.Fatal(err)
		}
		if c.Change.Status == want {
			return c
		}
	}
	t.Fatalf("change-set %d is %s (%s), want %s", generation, c.Change.Status, c.Change.Reason, want)
	return nil
}

func (b *bench) desired(t testing.TB, k store.Key) string {
	t.Helper()
	d, err := b.Get(ctx, op, k)
	if errors.Is(err, shadow.ErrNotFound) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	if d.Desired == nil {
		return "nothing"
	}
	return string(d.Desired.AppendJSON(nil))
}

// in is a moment from now in the text of requests.
func (c *clock) in(d time.Duration) string { return c.Now().Add(d).UTC().Format(time.RFC3339) }

func TestChange_OneGeneration(t *testing.T) {
	c := newClock()
	b := open(t, vfs.NewMem(), living(c))
	b.must(t, key("n", "app:web"), `{"state":{"desired":{"component":"web@1"}}}`)
	got := b.mustChange(t, "n", `{"shadows":{"app:web":{"desired":{"component":"web@2"},"version":1},"":{"desired":{"node":{"site":"s"}}},"cfg":{"desired":{"a":{"b":1}}}},"note":"up"}`)
	if got.Change.Generation != 1 || got.Status != changeset.Applied || got.Change.Shadows["app:web"].Version != 2 || got.Change.Shadows[""].Version != 1 || got.Change.By != "operator local" {
		t.Fatalf("%+v", got.Change)
	}
	for name, want := range map[string]string{"app:web": `{"component":"web@2"}`, "": `{"node":{"site":"s"}}`, "cfg": `{"a":{"b":1}}`} {
		if got := b.desired(t, key("n", name)); got != want {
			t.Errorf("%q desires %s", name, got)
		}
	}
	if n := len(b.out.on("$aws/things/n/shadow/name/app:web/update/accepted")); n != 2 {
		t.Errorf("%d answers on the topic of the application, want one for each change", n)
	}
	if versions(t, b, key("n", "app:web")) != "1 http, 2 change-set" {
		t.Errorf("history %s", versions(t, b, key("n", "app:web")))
	}
	// All or nothing: one bad share, or one wrong version, keeps all from being written.
	for body, want := range map[string]string{
		`{"shadows":{"app:web":{"desired":{"mode":"vm"}},"cfg":{"desired":{"a":2}}}}`:                                           `shadows."app:web".desired.mode: must be container, attach or host`,
		`{"shadows":{"app:web":{"desired":{"component":"web@3"},"version":1},"cfg":{"desired":{"a":2}}}}`:                       `shadows."app:web": version is 2, and 1 was expected`,
		`{"shadows":{"cfg":{"desired":{"a":2},"version":0}}}`:                                                                   `shadows."cfg": version is 1, and 0 was expected`,
		`{"shadows":{"cfg":{"desired":{"a":"` + strings.Repeat("x", 70_000) + `"}}}}`:                                           `state is 70`,
		`{"shadows":{"cfg":{"desired":{"a":2}}},"precondition":"reported.x=1","wait":false}`:                                    "precondition: it does not hold at present",
		`{"shadows":{"cfg":{"desired":{"a":2}}},"precondition":"reported.x"}`:                                                   "expiresAt: is missing",
		`{"shadows":{"cfg":{"desired":{"a":2}}},"precondition":"=x"}`:                                                           "precondition: selector, character 1",
		`{"shadows":{"cfg":{"desired":{"a":2}}},"expiresAt":"` + c.in(-time.Second) + `"}`:                                      "expiresAt: is in the past",
		`{"shadows":{"cfg":{"desired":{"a":2}}},"notBefore":"` + c.in(400*24*time.Hour) + `"}`:                                  "notBefore: is more than 366 days from now",
		`{"shadows":{"cfg":{"desired":{"a":2}}},"notBefore":"tomorrow"}`:                                                        "notBefore: must be a time as RFC 3339 has it",
		`{"shadows":{"cfg":{"desired":{"a":2}}},"notBefore":"` + c.in(time.Hour) + `","expiresAt":"` + c.in(time.Minute) + `"}`: "expiresAt: comes before it could be applied",
		`{"shadows":{"#changes":{"desired":{"a":2}}}}`:                                                                          `shadows."#changes": is no shadow's name`,
		`{"shadows":{"cfg":{"desired":null}}}`:                                                                                  `shadows."cfg".desired: must be an object`,
		`{"shadows":{"cfg":{}}}`:                                                                                                `shadows."cfg".desired: is missing`,
		`{"shadows":{}}`:                                                                                                        "shadows: names 1 to 32 shadows (value 0, limit 32)",
		`{"shadows":{"cfg":{"desired":{"a":[null]}}}}`:                                                                          `shadows."cfg".desired: State contains an invalid node`,
		`{"shadows":{"app:web":{"desired":{"run":{}}}},"clearWhenReached":true}`:                                                "clearWhenReached: is for what is done once",
		`{"shadows":{"cfg":{"desired":{}}},"until":1}`:                                                                          `unknown field "until"`,
		`{"shadows":{"cfg":{"desired":{}}},"note":"` + strings.Repeat("x", 1025) + `"}`:                                         "note: has at most 1024 bytes (value 1025, limit 1024)",
		`{"shadows":{"cfg":{"desired":{}}},"windows":["25:00-26:00"]}`:                                                          `windows: times are written 15:04; got "25:00"`,
		`{"shadows":{"app:new":{"desired":{"mode":"vm"}}},"notBefore":"` + c.in(time.Hour) + `"}`:                               `shadows."app:new".desired.mode`,
		`{"shadows":{"cfg":{"desired":{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":1}}}}}}}}}}}}`:                               `shadows."cfg".desired: `,
		`{"shadows":{"cfg":{"desired":{}}},"windows":["mon 10:00-11:00"],"expiresAt":"` + time.Unix(1_700_000_000, 0).Add(time.Hour).UTC().Format(time.RFC3339) + `"}`: "expiresAt: comes before it could be applied",
	} {
		_, err := b.change(t, "n", body)
		text := fmt.Sprint(err)
		if err != nil {
			text = err.Error() + " " + wire.Detail(err)
		}
		if err == nil || !strings.Contains(text, want) {
			t.Errorf("%.90s: %v, want %s", body, text, want)
		}
	}
	for name, want := range map[string]string{"app:web": `{"component":"web@2"}`, "cfg": `{"a":{"b":1}}`} {
		if got := b.desired(t, key("n", name)); got != want {
			t.Errorf("after refusals %q desires %s", name, got)
		}
	}
	if next := b.mustChange(t, "n", `{"shadows":{"cfg":{"desired":{"a":null}}}}`); next.Change.Generation != 2 {
		t.Errorf("refused ones took generations: the next is %d", next.Change.Generation)
	}
}

// A change-set is reached when all of it is reported, and superseded when it can't
// be any more.
func TestChange_Progress(t *testing.T) {
	c := newClock()
	b := open(t, vfs.NewMem(), living(c))
	b.scheduled(t)
	got := b.mustChange(t, "n", `{"shadows":{"app:web":{"desired":{"component":"web@2"}},"x":{"desired":{"a":1,"b":{"c":2}}}}}`)
	b.must(t, key("n", "x"), `{"state":{"reported":{"a":1}}}`)
	got, err := b.ChangeOf(ctx, op, "n", got.Change.Generation)
	if err != nil {
		t.Fatal(err)
	}
	if r := got.Receipts["x"]; len(r) != 2 || r[0].Path != "a" || r[0].Status != "applied" || r[1].Path != "b.c" || r[1].Status != "pending" {
		t.Errorf("receipts %+v", r)
	}
	b.must(t, key("n", "x"), `{"state":{"reported":{"b":{"c":2}}}}`)
	b.must(t, key("n", "app:web"), `{"state":{"reported":{"component":"web@2"}}}`)
	if got, _ := b.ChangeOf(ctx, op, "n", 1); got.Status != changeset.Applied {
		t.Errorf("the agent hasn't said that it has acted on it, and it is %s", got.Status)
	}
	b.must(t, key("n", "app:web"), `{"state":{"reported":{"observedVersion":1}}}`)
	b.until(t, "n", 1, changeset.Reached)

	b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"a":5,"b":{"c":6}}}}}`)
	b.must(t, key("n", "x"), `{"state":{"reported":{"a":5}}}`)
	b.must(t, key("n", "x"), `{"state":{"desired":{"b":{"c":7}}}}`)
	got = b.until(t, "n", 2, changeset.Superseded)
	if r := got.Receipts["x"]; len(r) != 2 || r[0].Status != "applied" || r[1].Status != "superseded" || r[1].SupersededBy != 6 {
		t.Errorf("receipts %+v", r)
	}
	if got := b.desired(t, key("n", "x")); got != `{"a":5,"b":{"c":7}}` {
		t.Errorf("desired %s", got)
	}
}

// Nothing happens before its time, and then it does: also after a restart.
func TestChange_NotBefore(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	t.Run("before", func(t *testing.T) {
		b := open(t, fs, living(c))
		b.scheduled(t)
		got := b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"a":1}}},"notBefore":"`+c.in(time.Hour)+`"}`)
		if got.Status != changeset.Scheduled || b.desired(t, key("n", "x")) != "none" {
			t.Errorf("%s, and desired is %s", got.Status, b.desired(t, key("n", "x")))
		}
		c.move(59 * time.Minute)
		if got, err := b.ChangeOf(ctx, op, "n", 1); err != nil || got.Status != changeset.Scheduled {
			t.Errorf("a minute before: %s, %v", got.Status, err)
		}
		later := b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"b":1}}},"windows":["mon-sun 00:00-24:00 Europe/Berlin"],"notBefore":"`+c.in(2*time.Minute)+`"}`)
		if _, err := b.CancelChange(ctx, op, "n", later.Change.Generation); err != nil {
			t.Error(err)
		}
		if _, err := b.CancelChange(ctx, op, "n", later.Change.Generation); err == nil || !strings.Contains(err.Error(), "is cancelled; only a scheduled one") {
			t.Errorf("cancelled again: %v", err)
		}
		if _, err := b.CancelChange(ctx, op, "n", 9); err == nil || !strings.Contains(err.Error(), "no change-set 9") {
			t.Errorf("cancelled what never was: %v", err)
		}
	})
	c.move(10 * time.Minute)
	b := open(t, fs, living(c))
	b.scheduled(t)
	scan(t, b)
	b.until(t, "n", 1, changeset.Applied)
	if got := b.desired(t, key("n", "x")); got != `{"a":1}` {
		t.Errorf("desired %s", got)
	}
	if got, err := b.ChangeOf(ctx, op, "n", 2); err != nil || got.Status != changeset.Cancelled {
		t.Errorf("the cancelled one: %+v, %v", got, err)
	}
}

// scan hands a service the internal records, as the index does when it reads the
// store.
func scan(t testing.TB, b *bench) {
	t.Helper()
	records, err := b.cfg.Store.Scan(ctx, store.Key{}, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Key.Internal() {
			b.Internal(r)
		}
	}
}

func TestChange_Precondition(t *testing.T) {
	c := newClock()
	b := open(t, vfs.NewMem(), living(c))
	b.scheduled(t)
	b.must(t, key("n", ""), `{"state":{"desired":{"node":{"labels":{"zone":"east"}}},"reported":{"battery":20}}}`)
	b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"a":1}}},"precondition":"reported.battery>50,zone=east","expiresAt":"`+c.in(time.Hour)+`"}`)
	b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"b":1}}},"precondition":{"app:web":"phase=stopped"},"expiresAt":"`+c.in(time.Hour)+`"}`)
	b.must(t, key("n", ""), `{"state":{"reported":{"battery":40}}}`)
	b.must(t, key("n", ""), `{"state":{"reported":{"battery":60}}}`)
	b.until(t, "n", 1, changeset.Applied)
	if got := b.desired(t, key("n", "x")); got != `{"a":1}` {
		t.Errorf("desired %s", got)
	}
	c.move(time.Hour)
	got := b.until(t, "n", 2, changeset.Expired)
	if got.Change.Reason != "it could not be applied in time" || b.desired(t, key("n", "x")) != "none" {
		t.Errorf("%+v, desired %s", got.Change, b.desired(t, key("n", "x"))) // the first, too, wasn't reached, and is taken back
	}
}

// What isn't reached in time is taken back, but for what others wrote since.
func TestChange_Expires(t *testing.T) {
	for _, versions := range []int{10, 0} { // without a history the stamps tell
		t.Run(fmt.Sprint("history ", versions), func(t *testing.T) { expires(t, versions) })
	}
}

func expires(t *testing.T, versions int) {
	c := newClock()
	b := open(t, vfs.NewMem(), func(cfg *Config) {
		living(c)(cfg)
		cfg.History = versions
	})
	b.scheduled(t)
	expires := func() string { return `"expiresAt":"` + c.in(time.Minute) + `"` }
	x := key("n", "x")
	b.must(t, x, `{"state":{"desired":{"keep":1,"was":{"a":1},"gone":true,"list":[1]}}}`)
	for _, tt := range []struct{ name, patch, meanwhile, want string }{
		{"all of it", `{"was":{"a":2,"b":3},"gone":null,"new":{"x":{"y":1}},"list":{"now":"an object"}}`, ``, `{"gone":true,"keep":1,"list":[1],"was":{"a":1}}`},
		{"but for another value", `{"was":{"a":2,"b":3}}`, `{"was":{"b":4}}`, `{"gone":true,"keep":1,"list":[1],"was":{"a":1,"b":4}}`},
		{"but for what was said again", `{"was":{"a":5,"b":6}}`, `{"was":{"a":5}}`, `{"gone":true,"keep":1,"list":[1],"was":{"a":5,"b":4}}`},
		{"but for what lies within it", `{"list":{"a":1}}`, `{"list":{"b":2}}`, `{"gone":true,"keep":1,"list":{"b":2},"was":{"a":5,"b":4}}`},
		{"but for what was removed", `{"was":{"a":7}}`, `{"was":null}`, `{"gone":true,"keep":1,"list":{"b":2}}`},
	} {
		got := b.mustChange(t, "n", `{"shadows":{"x":{"desired":`+tt.patch+`}},`+expires()+`}`)
		if tt.meanwhile != "" {
			c.move(time.Second)
			b.must(t, x, `{"state":{"desired":`+tt.meanwhile+`}}`)
		}
		c.move(time.Minute)
		done := b.until(t, "n", got.Change.Generation, expiredOr(tt.name))
		if got := b.desired(t, x); got != tt.want {
			t.Errorf("%s: desired %s, want %s (%s)", tt.name, got, tt.want, done.Change.Reason)
		}
	}
	// What was made for it goes; what was reached stays.
	b.mustChange(t, "n", `{"shadows":{"app:tmp":{"desired":{"component":"t@1"}}},`+expires()+`}`)
	b.mustChange(t, "n", `{"shadows":{"y":{"desired":{"a":1}}},`+expires()+`}`)
	b.must(t, key("n", "y"), `{"state":{"reported":{"a":1}}}`)
	b.until(t, "n", 7, changeset.Reached)
	c.move(time.Minute)
	b.until(t, "n", 6, changeset.Expired)
	if tmp, y := b.desired(t, key("n", "app:tmp")), b.desired(t, key("n", "y")); tmp != "none" || y != `{"a":1}` {
		t.Errorf("app:tmp %s, y %s", tmp, y)
	}
}

// What one that ends wrote over another that ends, the same or something else, is
// no more to stay than the other's.
func TestChange_ExpiresOverAnother(t *testing.T) {
	for _, versions := range []int{10, 0} {
		c := newClock()
		b := open(t, vfs.NewMem(), func(cfg *Config) {
			living(c)(cfg)
			cfg.History = versions
		})
		b.scheduled(t)
		x := key("n", "x")
		b.must(t, x, `{"state":{"desired":{"keep":1,"was":0,"deep":5}}}`)
		for i, patch := range []string{`{"same":1,"other":1,"was":1,"deep":{"a":1}}`, `{"same":1,"other":2,"was":2,"deep":6}`, `{"same":1,"other":3}`} {
			c.move(time.Second)
			b.mustChange(t, "n", fmt.Sprintf(`{"shadows":{"x":{"desired":%s}},"expiresAt":"%s"}`, patch, c.in(time.Duration(i+1)*time.Minute)))
		}
		c.move(time.Hour)
		b.until(t, "n", 3, changeset.Expired)
		b.until(t, "n", 2, changeset.Expired)
		if got := b.desired(t, x); got != `{"deep":5,"keep":1,"was":0}` {
			t.Errorf("with %d versions kept: desired %s", versions, got)
		}
	}
}

// Who says that it is desired, in whatever way, has it stay.
func TestChange_ExpiresNotWhatOthersWant(t *testing.T) {
	for name, claim := range map[string]func(b *bench) error{
		"PUT": func(b *bench) error {
			_, _, err := b.ReplaceDesired(ctx, op, key("n", "app:web"), update(t, `{"state":{"desired":{"component":"web@2"}}}`).Desired.Patch, nil)
			return err
		},
		"change-set": func(b *bench) error {
			_, err := b.change(t, "n", `{"shadows":{"app:web":{"desired":{"component":"web@2"},"replace":true}}}`)
			return err
		},
		"longer": func(b *bench) error {
			_, err := b.change(t, "n", `{"shadows":{"app:web":{"desired":{"component":"web@2"},"replace":true}},"expiresAt":"2024-10-01T00:00:00Z"}`)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			b := open(t, vfs.NewMem(), living(c))
			b.scheduled(t)
			b.mustChange(t, "n", `{"shadows":{"app:web":{"desired":{"component":"web@2"},"replace":true}},"expiresAt":"`+c.in(time.Minute)+`"}`)
			c.move(time.Second)
			if err := claim(b); err != nil {
				t.Fatal(err)
			}
			c.move(time.Minute)
			b.until(t, "n", 1, changeset.Expired)
			if got := b.desired(t, key("n", "app:web")); got != `{"component":"web@2"}` {
				t.Errorf("desired %s", got)
			}
			if name == "longer" { // and goes with the longer one, which took it over
				c.move(366 * 24 * time.Hour)
				b.until(t, "n", 2, changeset.Expired)
				if got := b.desired(t, key("n", "app:web")); got != "none" {
					t.Errorf("after the longer one: desired %s", got)
				}
			}
		})
	}
}

// expiredOr is how a change-set ends: one of which nothing is left is superseded.
func expiredOr(name string) changeset.Status {
	if name == "but for what was removed" {
		return changeset.Superseded
	}
	return changeset.Expired
}

func TestChange_ClearWhenReached(t *testing.T) {
	c := newClock()
	b := open(t, vfs.NewMem(), living(c))
	b.scheduled(t)
	x := key("n", "x")
	b.must(t, x, `{"state":{"desired":{"keep":1}}}`)
	b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"do":{"reboot":"now","wipe":true}}}},"clearWhenReached":true}`)
	b.must(t, x, `{"state":{"reported":{"do":{"reboot":"now"}}}}`)
	if got := b.desired(t, x); got != `{"do":{"reboot":"now","wipe":true},"keep":1}` {
		t.Errorf("before it is reached: %s", got)
	}
	b.must(t, x, `{"state":{"reported":{"do":{"wipe":true}}}}`)
	got := b.until(t, "n", 1, changeset.Reached)
	if desired := b.desired(t, x); desired != `{"keep":1}` {
		t.Errorf("after: %s", desired)
	}
	if r := got.Receipts["x"]; len(r) != 2 || r[0].Status != "applied" {
		t.Errorf("receipts %+v", r)
	}
	log, _, err := b.History(ctx, op, x)
	if last := log.Entries()[len(log.Entries())-1]; err != nil || last.Via != "change-set" || last.Generation != 1 || last.By != "operator local" {
		t.Errorf("%+v, %v", last, err)
	}
}

// When it is to be applied and can't be, it has failed, and says why.
func TestChange_Fails(t *testing.T) {
	c := newClock()
	b := open(t, vfs.NewMem(), living(c))
	b.scheduled(t)
	later := `"notBefore":"` + c.in(time.Hour) + `"`
	b.must(t, key("n", "x"), `{"state":{"desired":{"a":1}}}`)
	b.must(t, key("n", "y"), `{"state":{"desired":{"a":1}}}`)
	b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"b":1},"version":1},"z":{"desired":{"b":1}}},`+later+`}`)
	b.mustChange(t, "n", `{"shadows":{"y":{"desired":{"b":1}}},`+later+`}`)
	b.must(t, key("n", "x"), `{"state":{"desired":{"c":1}}}`)
	if _, err := b.Delete(ctx, op, key("n", "y"), nil); err != nil {
		t.Fatal(err)
	}
	c.move(time.Hour)
	for generation, want := range map[uint64]string{1: `shadows."x": version is 2, and 1 was expected`, 2: `shadows."y": it was deleted since the change-set was accepted`} {
		if got := b.until(t, "n", generation, changeset.Failed); got.Change.Reason != want {
			t.Errorf("%d: %s", generation, got.Change.Reason)
		}
	}
	if got := b.desired(t, key("n", "z")); got != "none" {
		t.Errorf("a part of it was applied: %s", got)
	}
}

func TestChange_Bounded(t *testing.T) {
	c := newClock()
	b := open(t, vfs.NewMem(), living(c))
	later := `"notBefore":"` + c.in(time.Hour) + `"`
	for range changeset.DefaultBounds.Open {
		b.mustChange(t, "n", `{"shadows":{"x":{"desired":{"a":1}}},`+later+`}`)
	}
	if _, err := b.change(t, "n", `{"shadows":{"x":{"desired":{"a":1}}},`+later+`}`); err == nil || !strings.Contains(err.Error(), "open change-sets of this thing: 33, the limit is 32") {
		t.Errorf("one too many: %v", err)
	}
	for i := range 100 { // those without a life take no place
		b.mustChange(t, "n", fmt.Sprintf(`{"shadows":{"x":{"desired":{"a":%d}}}}`, i))
	}
	all, err := b.Changes(ctx, op, "n")
	if err != nil || len(all) != changeset.DefaultBounds.Open+changeset.DefaultBounds.Ended || all[0].Change.Generation != 132 {
		t.Errorf("%d are kept, the newest %d, %v", len(all), all[0].Change.Generation, err)
	}
	if _, err := b.ChangeOf(ctx, op, "n", 40); err == nil || !strings.Contains(err.Error(), "any more") {
		t.Errorf("an old one: %v", err)
	}
	large, _ := json.Marshal(strings.Repeat("x", 50_000))
	var refused error
	for range 7 {
		if _, refused = b.change(t, "m", `{"shadows":{"x":{"desired":{"a":`+string(large)+`}}},`+later+`}`); refused != nil {
			break
		}
	}
	if refused == nil || !strings.Contains(refused.Error(), "bytes in the open change-sets of this thing") {
		t.Errorf("too many bytes: %v", refused)
	}
}
