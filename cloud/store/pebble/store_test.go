package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"gnomon/cloud/store"
	"gnomon/cloud/store/storetest"
)

// A store broken on purpose leaves pebble's own goroutines behind, as documented
// at Close; ours must end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2/record.(*LogWriter).flushLoop"),
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2.(*cleanupManager).mainLoop"),
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2.(*ConcurrencyLimitScheduler).periodicGranter"),
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2/internal/genericcache.(*shard[...]).releaseLoop"))
}

// running opens a store and runs it until the test ends.
func running(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := s.Close(); err != nil && s.Err() == nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Run("disk", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return running(t, Config{Dir: t.TempDir()}) })
	})
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return running(t, Config{Dir: "db", FS: vfs.NewMem(), Queue: 4}) })
	})
}

// Whatever was reported done is there after the power goes at any moment, with
// all, some or none of what was not synced.
func TestPowerCut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 8 {
		fs := vfs.NewCrashableMem()
		s := running(t, Config{Dir: "db", FS: fs, MemTable: 64 << 10})
		pad := strings.Repeat(" ", i%2*3000) // so that much is flushed and compacted, and kept apart
		var mu sync.Mutex
		acked := map[string]int{}
		var wg sync.WaitGroup
		const writers, writes = 8, 40
		cut := random.IntN(writers * writes)
		var clone *vfs.MemFS
		var promised map[string]int
		count := 0
		for w := range writers {
			wg.Go(func() {
				for i := range writes {
					thing := fmt.Sprintf("t%d", w)
					done := make(chan error, 1)
					record := store.Record{Key: store.Key{Thing: thing}, Data: fmt.Appendf(nil, "%d%s", i, pad)}
					if err := s.Submit(context.Background(), []store.Record{record}, func(err error) { done <- err }); err != nil {
						t.Error(err)
						return
					}
					if err := <-done; err != nil {
						t.Error(err)
					}
					mu.Lock()
					acked[thing] = i
					if count++; count == cut+1 {
						promised = make(map[string]int)
						for k, v := range acked {
							promised[k] = v
						}
						clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(random.Int64N(101)), RNG: random})
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		checkAfterCut(t, clone, promised)
	}
}

// Large records outlive flushes, compactions and a restart where they are kept,
// which is apart from their keys.
func TestLargeRecords(t *testing.T) {
	fs := vfs.NewMem()
	const things, rounds = 50, 40
	record := func(thing, round int) []byte {
		return bytes.Repeat(fmt.Appendf(nil, "%d in round %d;", thing, round), 100+thing)
	}
	t.Run("write", func(t *testing.T) {
		s := running(t, Config{Dir: "db", FS: fs, MemTable: 64 << 10})
		for round := range rounds {
			for thing := range things {
				done := make(chan error, 1)
				if err := s.Submit(t.Context(), []store.Record{{Key: store.Key{Thing: fmt.Sprint(thing)}, Data: record(thing, round)}}, func(err error) { done <- err }); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.db.Compact(t.Context(), []byte("a"), []byte("z"), false); err != nil {
			t.Fatal(err)
		}
	})
	names, err := fs.List("db")
	if err != nil || !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, ".blob") }) {
		t.Errorf("nothing is kept apart: %v, %v", names, err)
	}
	s := running(t, Config{Dir: "db", FS: fs})
	for thing := range things {
		if data, err := s.Load(t.Context(), store.Key{Thing: fmt.Sprint(thing)}); err != nil || !bytes.Equal(data, record(thing, rounds-1)) {
			t.Errorf("thing %d: %.40q, %v", thing, data, err)
		}
	}
	if all, err := s.Scan(t.Context(), store.Key{}, 1000); err != nil || len(all) != things {
		t.Errorf("%d records, %v", len(all), err)
	}
}

func checkAfterCut(t *testing.T, fs *vfs.MemFS, promised map[string]int) {
	t.Helper()
	s := running(t, Config{Dir: "db", FS: fs})
	for thing, want := range promised {
		data, err := s.Load(context.Background(), store.Key{Thing: thing})
		if err != nil {
			t.Errorf("%s: %v, but %d was reported done", thing, err, want)
			continue
		}
		var got int
		if _, err := fmt.Sscan(string(data), &got); err != nil || got < want {
			t.Errorf("%s: %q after the cut, but %d was reported done", thing, data, want)
		}
	}
	if names, err := s.Things(context.Background(), "", 100); err != nil || len(names) < len(promised) {
		t.Errorf("things %v, %v", names, err)
	}
}

// failing is a disk whose syncs fail once it is told to.
type failing struct {
	mu sync.Mutex
	on bool
}

func (f *failing) MaybeError(op errorfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileWrite) {
		return errors.New("disk failed")
	}
	return nil
}

func (f *failing) String() string { return "failing" }

// A commit that fails is reported, and nothing is accepted after it.
func TestFailedCommit(t *testing.T) {
	f := &failing{}
	s, err := Open(Config{Dir: "db", FS: errorfs.Wrap(vfs.NewMem(), f)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	storetest.Put(t, s, store.Record{Key: store.Key{Thing: "a"}, Data: []byte("1")})
	f.mu.Lock()
	f.on = true
	f.mu.Unlock()
	done := make(chan error, 1)
	err = s.Submit(ctx, []store.Record{{Key: store.Key{Thing: "a"}, Data: []byte("2")}}, func(err error) { done <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, store.ErrBroken) {
		t.Fatalf("a failed sync was reported as %v", err)
	}
	if err := s.Submit(ctx, nil, func(error) {}); !errors.Is(err, store.ErrBroken) {
		t.Errorf("accepted after a failure: %v", err)
	}
	if s.Err() == nil {
		t.Error("a broken store says that it is well")
	}
	cancel()
	if err := <-ended; !errors.Is(err, store.ErrBroken) {
		t.Errorf("Run: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestBackpressure(t *testing.T) {
	s, err := Open(Config{Dir: "db", FS: vfs.NewMem(), Queue: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // nothing drains the queue yet
		if err := s.Submit(context.Background(), nil, func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	blocked := make(chan error, 1)
	go func() { blocked <- s.Submit(ctx, nil, func(error) { t.Error("done of a refused change was called") }) }()
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Errorf("a full queue: %v", err)
	}
	run, stop := context.WithCancel(context.Background())
	stop()
	if err := s.Run(run); err != nil {
		t.Fatal(err)
	}
	if err := s.Submit(context.Background(), nil, func(error) {}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Run has ended: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenExplains(t *testing.T) {
	dir := t.TempDir()
	s := running(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Fatal("opened twice")
	}
	_ = s
	fs := vfs.NewMem()
	first, err := Open(Config{Dir: "db", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.db.Set([]byte(formatKey), []byte("99"), nil); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: "db", FS: fs}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer format: %v", err)
	}
}

// BenchmarkCommit puts our commit group beside pebble's own.
func BenchmarkCommit(b *testing.B) {
	data := make([]byte, 600)
	b.Run("group", func(b *testing.B) {
		s := running(b, Config{Dir: b.TempDir()})
		b.SetParallelism(256)
		b.RunParallel(func(pb *testing.PB) {
			key := store.Key{Thing: fmt.Sprint(rand.Uint64()), Shadow: "x"}
			done := make(chan error, 1)
			for pb.Next() {
				if err := s.Submit(context.Background(), []store.Record{{Key: key, Data: data}}, func(err error) { done <- err }); err != nil {
					b.Error(err)
					return
				}
				<-done
			}
		})
	})
	b.Run("pebble", func(b *testing.B) {
		s := running(b, Config{Dir: b.TempDir()})
		b.SetParallelism(256)
		b.RunParallel(func(pb *testing.PB) {
			key := fmt.Appendf(nil, "x%d", rand.Uint64())
			for pb.Next() {
				if err := s.db.Set(key, data, nil); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// A store of format 1 is brought up to date, and no earlier version opens it then.
func TestOpenUpgrades(t *testing.T) {
	fs := vfs.NewMem()
	old, err := pebble.Open("db", &pebble.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"f": "1", "sa\x00": "1", "sa\x00x": "2", "sb\x00x": "3", "sc\x00": "4", "ta": "", "tc": "", "tghost": ""} {
		if err := old.Set([]byte(key), []byte(value), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		s, err := Open(Config{Dir: "db", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if names, err := s.Things(context.Background(), "", 10); err != nil || fmt.Sprint(names) != "[a c]" {
			t.Errorf("things %v, %v", names, err)
		}
		if records, err := s.Scan(context.Background(), store.Key{}, 10); err != nil || len(records) != 4 {
			t.Errorf("records %v, %v", records, err)
		}
		for _, key := range []string{"ta", "tghost"} {
			if _, _, err := s.db.Get([]byte(key)); !errors.Is(err, pebble.ErrNotFound) {
				t.Errorf("%s is still there: %v", key, err)
			}
		}
		if value, closer, err := s.db.Get([]byte(formatKey)); err != nil || string(value) != "2" {
			t.Errorf("format %s, %v", value, err)
		} else {
			closer.Close()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
