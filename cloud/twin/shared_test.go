package twin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// replicas runs n services on one Redis until the test ends.
func replicas(t testing.TB, n int) []*bench {
	t.Helper()
	server := redistest.Start(t)
	all := make([]*bench, n)
	for i := range all {
		all[i] = replica(t, server.URL("g"), nil)
	}
	return all
}

func replica(t testing.TB, url string, change func(*Config)) *bench {
	t.Helper()
	db, err := redis.Open(ctx, redis.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Run(run) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		db.Close()
	})
	b := &bench{out: &recorder{}}
	cfg := Config{Store: db, Shared: true, Publisher: b.out, History: 10, Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}
	if change != nil {
		change(&cfg)
	}
	if b.Service, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

// Writers at three replicas change the same shadows: every accepted update has a
// version of its own, they rise by one, and none is lost.
func TestReplicasVersions(t *testing.T) {
	all := replicas(t, 3)
	const writers, writes, shadows = 18, 40, 2
	var mu sync.Mutex
	seen := make([]map[uint64]bool, shadows)
	for i := range seen {
		seen[i] = map[uint64]bool{}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				n := i % shadows
				d, err := all[w%3].Update(ctx, op, key("t", fmt.Sprint("s", n)), update(t, fmt.Sprintf(`{"state":{"desired":{"w%d":%d}}}`, w, i)))
				if err != nil {
					t.Error(err)
					return
				}
				if got := d.Desired.Get(fmt.Sprint("w", w)).Text(); got != fmt.Sprint(i) {
					t.Errorf("the answer says %s, want %d", got, i)
				}
				mu.Lock()
				if seen[n][d.Version] {
					t.Errorf("version %d was given twice", d.Version)
				}
				seen[n][d.Version] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for n := range shadows {
		const total = writers * writes / shadows
		for v := range uint64(total) {
			if !seen[n][v+1] {
				t.Errorf("s%d: version %d was never given", n, v+1)
			}
		}
		for i, b := range all {
			d, err := b.Get(ctx, op, key("t", fmt.Sprint("s", n)))
			if err != nil || d.Version != total {
				t.Fatalf("s%d at replica %d: %+v, %v", n, i, d, err)
			}
			for w := range writers {
				if got := d.Desired.Get(fmt.Sprint("w", w)).Text(); got != fmt.Sprint(writes-shadows+n) {
					t.Errorf("s%d at replica %d: w%d is %s", n, i, w, got)
				}
			}
		}
	}
}

// A versioned update is accepted only on the version it names, whichever replica
// it reaches: so counting by them misses no step.
func TestReplicasVersioned(t *testing.T) {
	all := replicas(t, 3)
	k := key("t", "")
	all[0].must(t, k, `{"state":{"desired":{"n":0}}}`)
	const writers, steps = 9, 15
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for done := 0; done < steps; {
				d, err := all[(w+done)%3].Get(ctx, op, k)
				if err != nil {
					t.Error(err)
					return
				}
				n, v := int64(0), d.Version
				if _, err := fmt.Sscan(d.Desired.Get("n").Text(), &n); err != nil {
					t.Error(err)
				}
				_, err = all[w%3].Update(ctx, op, k, update(t, fmt.Sprintf(`{"state":{"desired":{"n":%d}},"version":%d}`, n+1, v)))
				if err == nil {
					done++
				} else if !errors.Is(err, shadow.ErrVersionConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	d, err := all[0].Get(ctx, op, k)
	if err != nil || d.Desired.Get("n").Text() != fmt.Sprint(writers*steps) || d.Version != writers*steps+1 {
		t.Errorf("%s at version %d, %v", d.Desired.AppendJSON(nil), d.Version, err)
	}
}

// A client's requests are dealt with in the order it sent them, however often
// other replicas come in between.
func TestReplicasKeepOrder(t *testing.T) {
	all := replicas(t, 2)
	k := key("n", "s")
	all[0].must(t, k, `{"state":{}}`)
	stop := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				all[1].must(t, k, fmt.Sprintf(`{"state":{"desired":{"i":%d}}}`, i))
			}
		}
	})
	topic, _ := wire.ParseTopic("$aws/things/n/shadow/name/s/update")
	const n = 400
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		body := fmt.Sprintf(`{"state":{"reported":{"i":%d}},"origin":{"bootEpoch":1,"seq":%d},"clientToken":"%d"}`, i, i+1, i)
		all[0].Handle(ctx, op, topic, []byte(body), func(err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	close(stop)
	other.Wait()
	if refused := all[0].out.on("$aws/things/n/shadow/name/s/update/rejected"); refused != nil {
		t.Errorf("%d refused, the first: %s", len(refused), refused[0])
	}
	accepted := all[0].out.on("$aws/things/n/shadow/name/s/update/accepted")
	if len(accepted) != n+1 {
		t.Fatalf("%d accepted", len(accepted))
	}
	for i, text := range accepted[1:] {
		if !strings.Contains(text, fmt.Sprintf(`"clientToken":"%d"`, i)) {
			t.Fatalf("answer %d: %s", i, text)
		}
	}
	d, err := all[1].Get(ctx, op, k)
	if err != nil || d.Reported.Get("i").Text() != fmt.Sprint(n-1) {
		t.Errorf("reported %s, %v", d.Reported.AppendJSON(nil), err)
	}
}

// Whatever is asked of any of three replicas, in turn, is answered as one
// service alone would.
func TestReplicasAreOne(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := replicas(t, 3)
	alone := open(t, vfs.NewMem(), nil)
	names := []string{"", "a", "app:x"}
	for i := range 1500 {
		b := all[random.IntN(3)]
		k := key(fmt.Sprint("t", random.IntN(2)), names[random.IntN(3)])
		call := anyCall(t, random, k, i)
		got, err := call(b.Service)
		want, wantErr := call(alone.Service)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("call %d: %v, alone %v", i, err, wantErr)
		}
		if (got == nil) != (want == nil) || got != nil && string(got.AppendRecord(nil)) != string(want.AppendRecord(nil)) {
			t.Fatalf("call %d: %+v, alone %+v", i, got, want)
		}
		if i%50 == 0 {
			sameLists(t, b.Service, alone.Service)
		}
	}
}

type call func(*Service) (*shadow.Document, error)

func anyCall(t *testing.T, random *rand.Rand, k store.Key, i int) call {
	version := uint64(random.IntN(12))
	body := fmt.Sprintf(`{"state":{"desired":{"component":"web@%d"}}}`, random.IntN(3))
	if k.Shadow != "app:x" && random.IntN(2) == 0 {
		body = fmt.Sprintf(`{"state":{"reported":{"k%d":%d}},"origin":{"bootEpoch":1,"seq":%d}}`, random.IntN(3), i, i+3-random.IntN(3))
	}
	if random.IntN(4) == 0 {
		body = strings.TrimSuffix(body, "}") + fmt.Sprintf(`,"version":%d}`, version)
	}
	u := update(t, body)
	desired := value(t, fmt.Sprintf(`{"component":"web@%d"}`, random.IntN(2)))
	switch random.IntN(8) {
	case 0:
		return func(s *Service) (*shadow.Document, error) { return s.Get(ctx, op, k) }
	case 1:
		return func(s *Service) (*shadow.Document, error) { return s.Delete(ctx, op, k, nil) }
	case 2:
		return func(s *Service) (*shadow.Document, error) { return s.Delete(ctx, op, k, &version) }
	case 3:
		return func(s *Service) (*shadow.Document, error) {
			d, changed, err := s.ReplaceDesired(ctx, op, k, desired, nil)
			if err == nil && !changed {
				err = errors.New("unchanged") // to be compared
			}
			return d, err
		}
	default:
		return func(s *Service) (*shadow.Document, error) { return s.Update(ctx, op, k, u) }
	}
}

func sameLists(t *testing.T, s, alone *Service) {
	t.Helper()
	list := func(s *Service) (out []string) {
		for _, thing := range []string{"t0", "t1"} {
			entries, next, err := s.Shadows(ctx, op, thing, Page{Limit: 2})
			out = append(out, fmt.Sprint(next, err))
			for _, e := range entries {
				out = append(out, fmt.Sprint(e.Key, e.Document.Version))
			}
		}
		return out
	}
	if got, want := fmt.Sprint(list(s)), fmt.Sprint(list(alone)); got != want {
		t.Fatalf("lists %s, alone %s", got, want)
	}
}

// contested is a store in which another writer is always faster.
type contested struct{ store.Store }

func (s contested) Submit(_ context.Context, _ []store.Record, done func(error)) error {
	go done(store.ErrConflict)
	return nil
}

// A change that never gets through is told so, and those that wait for it are
// bounded.
func TestContention(t *testing.T) {
	b := open(t, vfs.NewMem(), func(c *Config) { c.Store, c.Shared = contested{c.Store}, true })
	const n = 2 * maxWaiting
	results := make(chan error, n)
	topic, _ := wire.ParseTopic("$aws/things/t/shadow/update")
	if _, err := b.Update(ctx, op, key("t", ""), update(t, `{"state":{}}`)); !errors.Is(err, wire.ErrThrottled) {
		t.Errorf("told %v", err)
	}
	for range n {
		b.Handle(ctx, op, topic, []byte(`{"state":{},"clientToken":"c"}`), func(err error) { results <- err })
	}
	for range n {
		if err := <-results; err != nil {
			t.Errorf("a throttled request is not acknowledged: %v", err)
		}
	}
	refused := b.out.on("$aws/things/t/shadow/update/rejected")
	if len(refused) != n || !strings.Contains(refused[0], `"code":429`) || !strings.Contains(refused[0], `"clientToken":"c"`) {
		t.Errorf("%d refused, the first: %s", len(refused), refused[0])
	}
	b.backlog.mu.Lock()
	defer b.backlog.mu.Unlock()
	if len(b.backlog.waiting) != 0 {
		t.Errorf("%d shadows still wait", len(b.backlog.waiting))
	}
}
