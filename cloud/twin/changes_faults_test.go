package twin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"gnomon/cloud/changeset"
	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// judge is a store that looks at every change set on its way: versions rise by
// one, a shadow is written with its history, and an applied change-set with all of
// its shadows and no other time.
type judge struct {
	store.Store
	mu       sync.Mutex
	versions map[store.Key]uint64
	applied  map[uint64]bool
	errs     []string
}

func (j *judge) Submit(ctx context.Context, records []store.Record, done func(error)) error {
	j.mu.Lock()
	j.look(records)
	j.mu.Unlock()
	return j.Store.Submit(ctx, records, done)
}

func (j *judge) fail(format string, args ...any) {
	j.errs = append(j.errs, fmt.Sprintf(format, args...))
}

func (j *judge) look(records []store.Record) {
	docs := make(map[store.Key]*shadow.Document)
	for _, r := range records {
		d, err := shadow.ParseRecord(r.Data)
		if err != nil {
			j.fail("%v: %v", r.Key, err)
			continue
		}
		docs[r.Key] = d
		if d.Version != j.versions[r.Key]+1 {
			j.fail("%v: version %d after %d", r.Key, d.Version, j.versions[r.Key])
		}
		j.versions[r.Key] = d.Version
	}
	for k, d := range docs {
		if h := docs[history.Key(k)]; !k.Internal() && (h != nil) != (d.DesiredVersion == d.Version) {
			j.fail("%v version %d: with its history %v", k, d.Version, h != nil)
		}
		if k.Shadow != changeset.Record {
			continue
		}
		set, err := changeset.Parse(d)
		if err != nil {
			j.fail("%v", err)
			continue
		}
		for _, c := range set.Changes {
			if c.Applied == 0 || j.applied[c.Generation] {
				continue
			}
			j.applied[c.Generation] = true
			for name, share := range c.Shadows {
				if s := docs[store.Key{Thing: k.Thing, Shadow: name}]; (s == nil || s.Version != share.Version) && !(s == nil && share.Replace) {
					j.fail("change-set %d is applied without version %d of %q", c.Generation, share.Version, name)
				}
			}
		}
	}
}

// settle does what is due, on the caller's goroutine.
func (b *bench) settle() {
	for {
		thing, _ := b.lives.take(b.now())
		if thing == "" {
			return
		}
		ended := make(chan struct{})
		b.advance(ctx, thing, func() { close(ended) })
		<-ended
	}
}

// Whatever comes in whatever order, versions rise by one, change-sets are written
// whole, generations by one, and none is open that is over.
func TestChange_AnyInterleaving(t *testing.T) {
	c := newClock()
	base := open(t, vfs.NewMem(), living(c))
	things := 0
	rapid.Check(t, func(rt *rapid.T) {
		things++
		thing := fmt.Sprint("t", things)
		cfg := base.cfg
		j := &judge{Store: cfg.Store, versions: map[store.Key]uint64{}, applied: map[uint64]bool{}}
		cfg.Store, cfg.History = j, rapid.IntRange(1, 4).Draw(rt, "history")
		service, err := New(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		b := &bench{Service: service, out: base.out}
		must := func(k store.Key, body string) {
			if _, err := b.Update(ctx, op, k, update(t, body)); err != nil {
				rt.Fatal(err)
			}
		}
		names := []string{"", "x", "y"}
		value := rapid.SampledFrom([]string{`1`, `2`, `null`, `{"b":1}`, `{"b":null,"c":2}`, `{}`})
		patch := func() string {
			return fmt.Sprintf(`{%q:%s}`, rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "key"), value.Draw(rt, "value"))
		}
		generations := uint64(0)
		for range rapid.IntRange(5, 25).Draw(rt, "steps") {
			k := key(thing, rapid.SampledFrom(names).Draw(rt, "shadow"))
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0, 1:
				must(k, `{"state":{"desired":`+patch()+`}}`)
			case 2:
				must(k, `{"state":{"reported":`+patch()+`}}`)
			case 3:
				_, _ = b.Delete(ctx, op, k, nil) // there may be none
			case 4: // what is desired is reported
				if d, err := b.Get(ctx, op, k); err == nil && d.Desired != nil {
					must(k, `{"state":{"reported":`+string(d.Desired.AppendJSON(nil))+`}}`)
				}
			case 5:
				c.move(time.Duration(rapid.IntRange(1, 100).Draw(rt, "seconds")) * time.Second)
				b.settle()
			case 6:
				_, _ = b.CancelChange(ctx, op, thing, generations)
			default:
				body := `{"shadows":{`
				for i, name := range names[:rapid.IntRange(1, 3).Draw(rt, "shadows")] {
					if i > 0 {
						body += ","
					}
					body += fmt.Sprintf(`%q:{"desired":%s,"replace":%v}`, name, patch(), rapid.Bool().Draw(rt, "replace"))
				}
				body += `}`
				if rapid.Bool().Draw(rt, "later") {
					body += `,"notBefore":"` + c.in(30*time.Second) + `"`
				}
				if rapid.Bool().Draw(rt, "ends") {
					body += `,"expiresAt":"` + c.in(60*time.Second) + `"`
				}
				if rapid.Bool().Draw(rt, "clear") {
					body += `,"clearWhenReached":true`
				}
				got, err := b.change(t, thing, body+`}`)
				if err != nil {
					rt.Fatal(err)
				}
				if generations++; got.Change.Generation != generations {
					rt.Fatalf("generation %d after %d", got.Change.Generation, generations-1)
				}
			}
		}
		c.move(time.Hour)
		b.settle()
		all, err := b.Changes(ctx, op, thing)
		if err != nil {
			rt.Fatal(err)
		}
		for _, s := range all {
			if s.Change.Status == changeset.Scheduled || s.Change.Status == changeset.Applied && s.Change.ExpiresAt > 0 {
				rt.Errorf("an hour later change-set %d is %s", s.Change.Generation, s.Change.Status)
			}
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, e := range j.errs {
			rt.Error(e)
		}
	})
}

// After a power cut at any moment a change-set is there whole or not at all, its
// status says which, and what was acknowledged is there.
func TestChange_Crash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	names := []string{"x", "y", "z"}
	c := newClock()
	fs := vfs.NewCrashableMem()
	b := open(t, fs, living(c))
	var acknowledged atomic.Uint64
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			body := `{"shadows":{`
			for n, name := range names {
				body += fmt.Sprintf(`%.*s%q:{"desired":{"g":%d}}`, min(n, 1), ",", name, i)
			}
			b.mustChange(t, "t", body+`}}`)
			acknowledged.Store(uint64(i))
		}
	})
	for i := range 30 {
		for before := acknowledged.Load(); acknowledged.Load() == before; {
			time.Sleep(50 * time.Microsecond) // until it has gone on
		}
		least := acknowledged.Load()
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			after := open(t, clone, living(c))
			set, _, err := after.view(ctx, "t", nil)
			if err != nil {
				t.Fatal(err)
			}
			if set.Generation < least {
				t.Errorf("generation %d, and %d was acknowledged", set.Generation, least)
			}
			last := set.Changes[len(set.Changes)-1]
			if last.Generation != set.Generation || last.Status != changeset.Applied {
				t.Errorf("the last is %+v", last)
			}
			for _, name := range names {
				d, err := after.Get(ctx, op, key("t", name))
				if err != nil {
					t.Fatal(err)
				}
				if got := d.Desired.Get("g").Text(); got != fmt.Sprint(set.Generation) || last.Shadows[name].Version != d.Version || d.Version != set.Generation {
					t.Errorf("%s says %s at version %d, the change-sets generation %d with %+v", name, got, d.Version, set.Generation, last.Shadows[name])
				}
				log, _, err := after.History(ctx, op, key("t", name))
				if err != nil {
					t.Fatal(err)
				}
				if all := log.Entries(); len(all) == 0 || all[len(all)-1].Generation != set.Generation {
					t.Errorf("the history of %s ends with %+v", name, all)
				}
			}
		})
	}
	close(stop)
	writer.Wait()
}

// hears passes notices on to other services, as the fan-out does.
type hears struct{ others func() []*bench }

func (h hears) Send(_ string, notice []byte) {
	for _, b := range h.others() {
		go func() { _ = b.Deliver(notice) }()
	}
}

// Of replicas on one Redis each tries what is due, and one does it; also when
// shadows of the thing are written at all of them meanwhile.
func TestReplicasChange(t *testing.T) {
	c := newClock()
	server := redistest.Start(t)
	const n = 3
	all := make([]*bench, n)
	var mu sync.Mutex
	for i := range n {
		b := replica(t, server.URL("g"), func(cfg *Config) {
			living(c)(cfg)
			cfg.Replicas = hears{func() []*bench {
				mu.Lock()
				defer mu.Unlock()
				return slices.DeleteFunc(slices.Clone(all), func(b *bench) bool { return b == nil || b == all[i] })
			}}
		})
		mu.Lock()
		all[i] = b
		mu.Unlock()
		b.scheduled(t)
	}
	const sets = 12
	for i := range sets {
		all[i%n].mustChange(t, "t", fmt.Sprintf(`{"shadows":{"x":{"desired":{"s%d":1}},"y":{"desired":{"s%d":1}}},"notBefore":"%s"}`, i, i, c.in(time.Duration(i/4+1)*time.Minute)))
	}
	writes := 0
	for range 3 {
		c.move(time.Minute)
		for w, b := range all {
			for range 3 {
				b.must(t, key("t", "x"), fmt.Sprintf(`{"state":{"desired":{"w%d":%d}}}`, w, writes))
				writes++
			}
		}
	}
	for i := range sets {
		all[(i+1)%n].until(t, "t", uint64(i+1), changeset.Applied)
	}
	for i, b := range all {
		x, err := b.Get(ctx, op, key("t", "x"))
		if err != nil || x.Version != uint64(sets+writes) {
			t.Errorf("replica %d: x has version %d after %d change-sets and %d writes, %v", i, x.Version, sets, writes, err)
		}
		y, err := b.Get(ctx, op, key("t", "y"))
		if err != nil || y.Version != sets {
			t.Errorf("replica %d: y has version %d after %d change-sets, %v", i, y.Version, sets, err)
		}
	}
}

// A notice that was lost only delays: whoever reads the store again finds what
// is due.
func TestReplicasChange_WithoutNotices(t *testing.T) {
	c := newClock()
	server := redistest.Start(t)
	a, b := replica(t, server.URL("g"), living(c)), replica(t, server.URL("g"), living(c))
	b.scheduled(t)
	a.mustChange(t, "t", `{"shadows":{"x":{"desired":{"a":1}}},"notBefore":"`+c.in(time.Minute)+`"}`)
	c.move(time.Minute)
	scan(t, b)
	b.until(t, "t", 1, changeset.Applied)
}

// Replicas that hear nothing of each other write the same shadows, one by one and
// as change-sets: whatever is answered has happened, once, and whole.
func TestReplicasChange_Contended(t *testing.T) {
	c := newClock()
	server := redistest.Start(t)
	all := make([]*bench, 3)
	for i := range all {
		all[i] = replica(t, server.URL("g"), living(c))
	}
	names := []string{"x", "y"}
	var versions [2]atomic.Int64
	var sets atomic.Int64
	var wg sync.WaitGroup
	for w := range 6 {
		b, n := all[w%3], w%2
		wg.Go(func() {
			for i := range 25 {
				_, err := b.Update(ctx, op, key("t", names[n]), update(t, fmt.Sprintf(`{"state":{"desired":{"w%d":%d}}}`, w, i)))
				if errors.Is(err, wire.ErrThrottled) {
					continue // it lost too often, and hasn't happened
				}
				if err != nil {
					t.Error(err)
					return
				}
				versions[n].Add(1)
			}
		})
		wg.Go(func() {
			for i := range 8 {
				_, err := b.change(t, "t", fmt.Sprintf(`{"shadows":{"x":{"desired":{"s%d":%d}},"y":{"desired":{"s%d":%d}}}}`, w, i, w, i))
				if errors.Is(err, wire.ErrThrottled) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				sets.Add(1)
			}
		})
	}
	wg.Wait()
	if sets.Load() < 6*8/2 {
		t.Errorf("only %d change-sets of 48 got through", sets.Load())
	}
	for n, name := range names {
		d, err := all[n].Get(ctx, op, key("t", name))
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(versions[n].Load() + sets.Load()); d.Version != want {
			t.Errorf("%s has version %d after %d writes and %d change-sets", name, d.Version, versions[n].Load(), sets.Load())
		}
		for w := range 6 {
			x, _ := all[0].Get(ctx, op, key("t", "x"))
			if a, b := x.Desired.Get(fmt.Sprint("s", w)).Text(), d.Desired.Get(fmt.Sprint("s", w)).Text(); a != b {
				t.Errorf("of writer %d's change-sets x has %s and %s has %s", w, a, name, b)
			}
		}
		log, _, err := all[0].History(ctx, op, key("t", name))
		if entries := log.Entries(); err != nil || len(entries) != 10 || entries[9].Version != d.DesiredVersion {
			t.Errorf("the history of %s: %+v, %v", name, entries, err)
		}
	}
	set, _, err := all[0].view(ctx, "t", nil)
	if err != nil || set.Generation != uint64(sets.Load()) {
		t.Errorf("generation %d after %d change-sets, %v", set.Generation, sets.Load(), err)
	}
}
