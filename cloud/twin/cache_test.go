package twin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// What is dropped and loaded again is the same document every time, and the
// accounts of the room it takes are right.
func TestCache_DropsAndLoads(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for name, bounds := range map[string]func(*stripe){
		"all":        func(st *stripe) { st.init(1000, 1<<20) },
		"one":        func(st *stripe) { st.init(1, 1<<20) },
		"few at all": func(st *stripe) { st.init(10, 1<<20) },
		"few bytes":  func(st *stripe) { st.init(1000, 8<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			var st stripe
			bounds(&st)
			disk := memory{}
			for range 2000 {
				key := store.Key{Thing: fmt.Sprint("t", random.IntN(60))}
				e, err := st.get(t.Context(), disk, key)
				if err != nil {
					t.Fatal(err)
				}
				if want := disk[key]; string(want) != "" && string(e.head.AppendRecord(nil)) != string(want) {
					t.Fatalf("%v came back as another", key)
				}
				record, next := grown(t, e.head, random.IntN(100)).Pack()
				e.head = next
				e.committed.Store(next)
				disk[key] = record
				st.resize(e, len(record))
				audit(t, &st, e)
			}
		})
	}
}

// grown changes a document, and its size.
func grown(t *testing.T, d *shadow.Document, n int) *shadow.Document {
	t.Helper()
	u, err := shadow.ParseUpdate(fmt.Appendf(nil, `{"state":{"reported":{"k%d":"%0*d"}}}`, n%7, n, n), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	next, err := d.Apply(u, int64(n), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// audit adds up what a stripe says that it holds. used may be over a bound.
func audit(t *testing.T, st *stripe, used *entry) {
	t.Helper()
	all := 0
	for _, e := range st.shadows {
		all += e.size
	}
	listed := 0
	for e := st.order.oldest(); e != nil; e = st.order.after(e) {
		if st.shadows[e.key] != e {
			t.Fatalf("%v is listed and not there", e.key)
		}
		listed++
	}
	if st.bytes != all || listed != len(st.shadows) {
		t.Fatalf("%d bytes, %d listed; counted %d, %d", st.bytes, listed, all, len(st.shadows))
	}
	if newest := st.order.end.older; newest != used {
		t.Fatalf("%v was used last, not %v", newest.key, used.key)
	}
	if st.bytes-used.size > st.maxBytes || len(st.shadows) > st.maxCount {
		t.Fatalf("over a bound: %d bytes of %d, %d of %d", st.bytes, st.maxBytes, len(st.shadows), st.maxCount)
	}
}

// memory is a store for reading.
type memory map[store.Key][]byte

func (m memory) Load(_ context.Context, key store.Key) ([]byte, error) {
	if data, ok := m[key]; ok {
		return data, nil
	}
	return nil, store.ErrNotFound
}

func (memory) Submit(context.Context, []store.Record, func(error)) error { panic("not used") }
func (memory) Scan(context.Context, store.Key, int) ([]store.Record, error) {
	panic("not used")
}
func (memory) Things(context.Context, string, int) ([]string, error) { panic("not used") }
