package index

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

// benchThings is how many things the benchmarks have, each with a classic
// shadow and an application.
const benchThings = 100_000

// fleetRecords is a store of many things, whose documents are made as they are read.
type fleetRecords struct{ world }

func fleetKey(i int) store.Key {
	if i%2 == 0 {
		return store.Key{Thing: fmt.Sprintf("edge-%06d", i/2)}
	}
	return store.Key{Thing: fmt.Sprintf("edge-%06d", i/2), Shadow: "app:reader"}
}

func fleetDocument(i int) *shadow.Document {
	thing := i / 2
	state := fmt.Sprintf(`{"state":{"desired":{"node":{"site":"site-%04d","labels":{"zone":"z%d","rack":"%d","serial":"S%08d"}}},"reported":{"node":{"site":"site-%04d","labels":{"zone":"z%d","rack":"%d","serial":"S%08d"},"observedVersion":1,"agent":"1.0.0"}}}}`,
		thing/100, thing%8, thing%40, thing, thing/100, thing%8, thing%40, thing)
	if i%2 == 1 {
		phase := "running"
		if thing%97 == 0 {
			phase = "failed"
		}
		state = fmt.Sprintf(`{"state":{"desired":{"component":"reader@1.%d.0","run":{"env":{"ZONE":"z%d","N":"%d"},"resources":{"memory":"64Mi"}}},"reported":{"component":"reader@1.%d.0","run":{"env":{"ZONE":"z%d","N":"%d"},"resources":{"memory":"64Mi"}},"phase":%q,"observedVersion":1,"pid":%d}}}`,
			thing%5, thing%8, thing, thing%5, thing%8, thing, phase, 1000+thing)
	}
	u, err := shadow.ParseUpdate([]byte(state), shadow.Limits{})
	if err != nil {
		panic(err)
	}
	d, err := (*shadow.Document)(nil).Apply(u, int64(1_000_000+thing), shadow.Limits{})
	if err != nil {
		panic(err)
	}
	return d
}

func (f *fleetRecords) Scan(_ context.Context, from store.Key, limit int) (list []store.Record, err error) {
	first := 0
	if from.Thing != "" {
		first = 2 * benchThings
		for lo, hi := 0, 2*benchThings; lo < hi; { // the first key that isn't before from
			mid := (lo + hi) / 2
			if fleetKey(mid).Compare(from) < 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
			first = hi
		}
	}
	for i := first; i < 2*benchThings && len(list) < limit; i++ {
		list = append(list, store.Record{Key: fleetKey(i), Data: fleetDocument(i).AppendRecord(nil)})
	}
	return list, nil
}

// Peek reads a record as a store without a cache would.
func (f *fleetRecords) Peek(_ context.Context, _ identity.Principal, key store.Key) (*shadow.Document, error) {
	i := 0
	if _, err := fmt.Sscanf(key.Thing, "edge-%d", &i); err != nil {
		return nil, err
	}
	i *= 2
	if key.Shadow != "" {
		i++
	}
	return shadow.ParseRecord(f.world.stored[i])
}

func benchIndex(b *testing.B) (*Index, *fleetRecords) {
	b.Helper()
	f := &fleetRecords{world: *newWorld()}
	ix := New(Config{Store: f, Now: func() time.Time { return time.Unix(1_200_000, 0) }})
	ix.SetDocuments(f)
	before := heap()
	started := time.Now()
	if err := ix.build(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d shadows, built in %s (making them up included), %d bytes each", ix.Len(), time.Since(started).Round(time.Millisecond), (heap()-before)/uint64(ix.Len()))
	return ix, f
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // texts that nobody has go at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// quantiles reports how long the questions took.
func quantiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[min(len(took)-1, len(took)*99/100)].Microseconds()), "p99-µs")
}

// BenchmarkList asks for a page of 100: what is found at once, what is rare, so
// that all rows are passed, and what isn't there.
func BenchmarkList(b *testing.B) {
	ix, _ := benchIndex(b)
	for _, bench := range []struct {
		name, selector string
		sort           Sort
	}{
		{"first page", "", ByName},
		{"one zone", "zone=z3", ByName},
		{"rare, 100 of all", "phase=failed,zone=z3,rack>20", ByName},
		{"none", "site=nowhere", ByName},
		{"one serial", "serial=S00099999", ByName},
		{"pending for long", "pendingFor>10m", ByName},
		{"pending longest", "kind=application", ByPending},
		{"name prefix", "node^=edge-0999", ByName},
	} {
		b.Run(bench.name, func(b *testing.B) {
			q := Query{Kind: schema.KindApplication, Selector: sel(b, bench.selector), Sort: bench.sort, Limit: 100}
			var took []time.Duration
			for b.Loop() {
				started := time.Now()
				if _, err := ix.List(context.Background(), identity.LocalOperator, q); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(started))
			}
			quantiles(b, took)
		})
	}
}

// BenchmarkList_DuringWrites asks for what isn't there, so that all rows are
// passed, while 20,000 changes a second come in.
func BenchmarkList_DuringWrites(b *testing.B) {
	ix, _ := benchIndex(b)
	docs := make([]*shadow.Document, 10_000)
	for i := range docs {
		docs[i] = fleetDocument(2*i + 1)
		docs[i].Version = 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int)
	go func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		n := 0
		for {
			select {
			case <-ticker.C:
				for range 20 {
					ix.Committed(fleetKey(2*(n%len(docs))+1), docs[n%len(docs)], uint64(n))
					n++
				}
			case <-ctx.Done():
				ended <- n
				return
			}
		}
	}()
	q := Query{Kind: schema.KindApplication, Selector: sel(b, "site=nowhere"), Limit: 100}
	var took []time.Duration
	for b.Loop() {
		started := time.Now()
		if _, err := ix.List(ctx, identity.LocalOperator, q); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(started))
	}
	cancel()
	b.ReportMetric(float64(<-ended)/b.Elapsed().Seconds(), "changes/s")
	quantiles(b, took)
}

func BenchmarkCount(b *testing.B) {
	ix, _ := benchIndex(b)
	for _, by := range []string{"component", "site", "label.serial", "phase"} {
		b.Run(by, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				started := time.Now()
				if _, err := ix.Count(context.Background(), identity.LocalOperator, Counting{Kind: schema.KindApplication, By: by, Limit: 100}); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(started))
			}
			quantiles(b, took)
		})
	}
}

// BenchmarkDocuments reads every application's document, part by part, for a
// path that none or one has.
func BenchmarkDocuments(b *testing.B) {
	ix, f := benchIndex(b)
	f.world.stored = make([][]byte, 2*benchThings)
	for i := range f.world.stored {
		f.world.stored[i] = fleetDocument(i).AppendRecord(nil)
	}
	for _, selector := range []string{"desired.run.env.N=99999", "zone=z3,rack=3,desired.run.env.N=99999"} {
		b.Run(selector, func(b *testing.B) {
			for b.Loop() {
				q := Query{Kind: schema.KindApplication, Selector: sel(b, selector), Limit: 100}
				all(b, ix, q)
			}
		})
	}
}

// BenchmarkCommitted is what a commit costs, its share of the index's work
// included.
func BenchmarkCommitted(b *testing.B) {
	ix, _ := benchIndex(b)
	docs := make([]*shadow.Document, 10_000)
	for i := range docs {
		docs[i] = fleetDocument(2*i + 1)
		docs[i].Version = 2
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		ix.Committed(fleetKey(2*(i%len(docs))+1), docs[i%len(docs)], uint64(i))
		i++
	}
	ix.drain()
}
