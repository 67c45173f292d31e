package twin

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/shadow"
)

// direct hands notices to another service at once.
type direct struct {
	t  testing.TB
	to **bench
}

func (d direct) Send(thing string, notice []byte) {
	if err := (*d.to).Deliver(notice); err != nil {
		d.t.Errorf("%s: %v", thing, err)
	}
}

// Whatever one replica publishes about a change, the others do.
func TestNoticesSayItAll(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var other *bench
	one := open(t, vfs.NewMem(), func(c *Config) { c.Replicas = direct{t, &other} })
	other = open(t, vfs.NewMem(), func(c *Config) { c.Shared = true })
	w, err := one.Watch(op, "")
	if err != nil {
		t.Fatal(err)
	}
	w2, err := other.Watch(op, "")
	if err != nil {
		t.Fatal(err)
	}
	bodies := []string{
		`{"state":{"desired":{"a":%d,"b":[1,{"c":null}]}}}`, `{"state":{"desired":{"a":%d,"b":[1,{"c":2}]}}}`, `{"state":{"desired":{"a":null}},"clientToken":"%d"}`,
		`{"state":{"reported":{"a":%d,"x":{"y":"é"}}}}`, `{"state":{"reported":{"a":%d}},"origin":{"bootEpoch":1,"seq":%[1]d}}`,
		`{"state":{"desired":null,"reported":{"n":%d}}}`, `{"state":null,"clientToken":"%d"}`, `{"state":{},"clientToken":"%d"}`,
		`{"state":{"reported":{"a":%d}},"origin":{"bootEpoch":1,"seq":%[1]d,"full":true}}`,
	}
	for i := range 600 {
		k := key("t", []string{"", "s"}[random.IntN(2)])
		prefix := []string{"$aws/", ""}[random.IntN(2)] + "things/t/shadow"
		if k.Shadow != "" {
			prefix += "/name/" + k.Shadow
		}
		body := fmt.Sprintf(bodies[random.IntN(len(bodies))], i+1)
		switch random.IntN(8) {
		case 0:
			_, err = one.Delete(ctx, op, k, nil)
		case 1:
			err = one.request(t, prefix+"/delete", `{"clientToken":"d"}`)
		case 2:
			_, _, err = one.ReplaceDesired(ctx, op, k, value(t, fmt.Sprintf(`{"r":%d}`, random.IntN(3))), nil)
		case 3:
			u, parseErr := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
			if parseErr == nil {
				_, err = one.Update(ctx, op, k, u)
			}
		default:
			err = one.request(t, prefix+"/update", body)
		}
		if err != nil && !errors.Is(err, shadow.ErrNotFound) {
			t.Fatal(err)
		}
	}
	var sent []message
	for _, m := range one.out.sent {
		if !strings.HasSuffix(m.topic, "/rejected") {
			sent = append(sent, m)
		}
	}
	if len(sent) < 1000 || len(sent) != len(other.out.sent) {
		t.Fatalf("%d messages here, %d there", len(sent), len(other.out.sent))
	}
	for i, m := range sent {
		if got := other.out.sent[i]; got.topic != m.topic || string(got.payload) != string(m.payload) {
			t.Fatalf("message %d\n here %s %s\nthere %s %s", i, m.topic, m.payload, got.topic, got.payload)
		}
	}
	for range 100 {
		a, errA := w.Next(ctx)
		b, errB := w2.Next(ctx)
		a.ID, b.ID = "", ""
		if errA != nil || errB != nil || a != b {
			t.Fatalf("event %+v, %v; there %+v, %v", a, errA, b, errB)
		}
	}
	other.MissedNotices()
	if _, err := w2.Next(ctx); !errors.Is(err, ErrEventGone) {
		t.Errorf("a watcher isn't told of lost notices: %v", err)
	}
	latest, err := other.Watch(op, "")
	if err != nil {
		t.Fatal(err)
	}
	other.MissedNotices()
	if _, err := latest.Next(ctx); !errors.Is(err, ErrEventGone) {
		t.Errorf("a watcher that was up to date isn't told of lost notices: %v", err)
	}
}

// Where all replicas publish through one broker, only the one that committed a
// change does; the watchers of the others hear of it all the same.
func TestNoticesArePublishedOnce(t *testing.T) {
	all := replicas(t, 2)
	all[0].cfg.Replicas = direct{t, &all[1]}
	all[1].cfg.ReachesAll = true
	w, err := all[1].Watch(op, "")
	if err != nil {
		t.Fatal(err)
	}
	all[0].must(t, key("t", "s"), `{"state":{"desired":{"i":1}}}`)
	if e, err := w.Next(t.Context()); err != nil || e.Thing != "t" || e.Version != 1 {
		t.Errorf("event %+v, %v", e, err)
	}
	if len(all[0].out.sent) == 0 || len(all[1].out.sent) != 0 {
		t.Errorf("%d messages of the one that committed, %d of the other", len(all[0].out.sent), len(all[1].out.sent))
	}
}

// A replica that hears of another's change builds on it without a conflict.
func TestNoticesKeepHeadsCurrent(t *testing.T) {
	all := replicas(t, 2)
	all[0].cfg.Replicas = direct{t, &all[1]}
	all[1].cfg.Replicas = direct{t, &all[0]}
	k := key("t", "")
	for i := range 40 {
		if d := all[i%2].must(t, k, fmt.Sprintf(`{"state":{"desired":{"i":%d}}}`, i)); d.Version != uint64(i+1) {
			t.Fatalf("version %d, want %d", d.Version, i+1)
		}
	}
	st := all[1].stripeOf(k.Thing)
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.cached(k); e == nil || e.failed.Load() {
		t.Errorf("the last change met a conflict: %+v", e)
	}
}

func FuzzNotice(f *testing.F) {
	next, err := (*shadow.Document)(nil).Apply(&shadow.Update{Desired: shadow.Section{Present: true, Patch: shadow.NewObject()}}, 1, shadow.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendNotice(nil, change{key: key("t", "s")}, next, next.AppendRecord(nil), &shadow.Update{ClientToken: "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseNotice(b)
		if err != nil {
			return
		}
		again := appendNotice(nil, n.c, n.previous, n.record, n.update)
		if _, err := parseNotice(again); err != nil {
			t.Error(err)
		}
	})
}
