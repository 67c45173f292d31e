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

// What is used again and again stays, whatever comes and goes meanwhile.
func TestCache_KeepsWhatIsUsed(t *testing.T) {
	var st stripe
	st.init(10, 1<<20)
	hot, err := st.get(t.Context(), memory{}, store.Key{Thing: "hot"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if _, err := st.get(t.Context(), memory{}, store.Key{Thing: fmt.Sprint("t", i)}); err != nil {
			t.Fatal(err)
		}
		if again, err := st.get(t.Context(), memory{}, store.Key{Thing: "hot"}); err != nil || again != hot {
			t.Fatalf("dropped after %d others: %v", i, err)
		}
	}
	if len(st.ring) > 10 {
		t.Errorf("%d entries", len(st.ring))
	}
}

// What is used from now on takes the place of what was.
func TestCache_FollowsWhatIsUsed(t *testing.T) {
	var st stripe
	st.init(10, 1<<20)
	for _, set := range []string{"a", "b"} {
		for range 3 {
			for i := range 10 {
				if _, err := st.get(t.Context(), memory{}, store.Key{Thing: fmt.Sprint(set, i)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 10 {
			if st.cached(store.Key{Thing: fmt.Sprint(set, i)}) == nil {
				t.Errorf("%s%d is not there", set, i)
			}
		}
	}
}

// audit adds up what a stripe says that it holds. used may be over a bound.
func audit(t *testing.T, st *stripe, used *entry) {
	t.Helper()
	all := 0
	for _, e := range st.ring {
		all += e.size
	}
	for i, e := range st.ring {
		if st.cached(e.key) != e || e.at != i {
			t.Fatalf("%v is in the ring at %d, and not there", e.key, i)
		}
	}
	found := 0
	for _, e := range st.entries {
		for ; e != nil; e = e.next {
			found++
		}
	}
	if st.bytes != all || len(st.ring) != found {
		t.Fatalf("%d bytes, %d in the ring; counted %d, %d", st.bytes, len(st.ring), all, found)
	}
	if st.cached(used.key) != used {
		t.Fatalf("%v was dropped while it was used", used.key)
	}
	if st.bytes-used.size > st.maxBytes || len(st.ring) > st.maxCount {
		t.Fatalf("over a bound: %d bytes of %d, %d of %d", st.bytes, st.maxBytes, len(st.ring), st.maxCount)
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

// Keys with the same hash don't get in each other's way.
func TestCache_SameHash(t *testing.T) {
	for dropped := range 3 {
		var st stripe
		st.init(10, 1<<20)
		var all [3]*entry
		for i := range all {
			e := &entry{key: store.Key{Thing: fmt.Sprint(i)}, hash: 7, next: st.entries[7], at: i}
			st.entries[7], st.ring, all[i] = e, append(st.ring, e), e
		}
		st.drop(all[dropped])
		for i, e := range all {
			if got := st.find(7, e.key); (got == e) != (i != dropped) {
				t.Errorf("%d without %d: %v", i, dropped, got)
			}
		}
		for i, e := range all {
			if i != dropped {
				st.drop(e)
			}
		}
		if len(st.entries) > 0 || len(st.ring) > 0 {
			t.Errorf("%d entries are left", len(st.entries))
		}
	}
}
