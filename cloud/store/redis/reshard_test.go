package redis

import (
	"errors"
	"fmt"
	"testing"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/cloud/store/storetest"
)

// While a slot moves, half of it here and half there, its records are read and
// replaced as ever; only what needs two keys that lie apart, a new shadow or a
// change of several, is refused until the move has ended. Versions rise by one throughout:
// the change that was built on what is there is never refused.
func TestSlotMoves(t *testing.T) {
	cluster := redistest.StartCluster(t)
	url := empty(cluster.URL)
	s := running(t, Config{URL: url})
	other := running(t, Config{URL: url})
	const shadows = 9
	key := func(i int) store.Key { return store.Key{Thing: "mover", Shadow: fmt.Sprint("s", i)} }
	version, base := [shadows]int{}, [shadows]store.Sum{}
	next := func(s *Store, i int) {
		t.Helper()
		version[i]++
		data := fmt.Append(nil, i, "@", version[i])
		r := store.Record{Key: key(i), Data: data, Base: base[i]}
		if base[i] == 0 {
			r.Base = store.None
		}
		if err := submitAll(t, s, []store.Record{r})()[0]; err != nil {
			t.Fatalf("version %d of shadow %d: %v", version[i], i, err)
		}
		base[i] = store.SumOf(data)
	}
	check := func(when string) {
		t.Helper()
		for i := range shadows {
			want := fmt.Sprint(i, "@", version[i])
			for _, s := range []*Store{s, other} {
				if data, err := s.Load(ctx, key(i)); err != nil || string(data) != want {
					t.Errorf("%s: shadow %d is %q, %v, want %q", when, i, data, err, want)
				}
			}
		}
		records, err := other.ScanThing(ctx, store.Key{Thing: "mover"}, 100)
		if err != nil || len(records) < shadows {
			t.Errorf("%s: %d records, %v", when, len(records), err)
		}
	}
	for i := range shadows {
		next(s, i)
	}
	slot := cluster.Slot(s.keys.names("mover"))
	for round := range 3 {
		from := cluster.Owner(slot)
		var to *redistest.Server
		for _, m := range cluster.Masters() {
			if m != from {
				to = m
			}
		}
		made := store.Record{Key: store.Key{Thing: "mover", Shadow: fmt.Sprint("new", round)}, Data: []byte("1"), Base: store.None}
		cluster.Move(slot, to, func() {
			for range 3 {
				for i := range shadows {
					next(s, i)
					next(other, i)
				}
				check("half way")
			}
			stale := store.Record{Key: key(0), Data: []byte("stale"), Base: store.SumOf([]byte("no such"))}
			if err := submitAll(t, other, []store.Record{stale})()[0]; !errors.Is(err, store.ErrConflict) {
				t.Errorf("onto what isn't there, half way: %v", err)
			}
			// A new one needs the set of shadows, too, and is refused for the time being.
			if err := submitAll(t, s, []store.Record{made})()[0]; err == nil || errors.Is(err, store.ErrConflict) {
				t.Errorf("a new shadow, half way: %v", err)
			}
		})
		if err := submitAll(t, s, []store.Record{made})()[0]; err != nil {
			t.Errorf("a new shadow, after the move: %v", err)
		}
		for i := range shadows {
			next(other, i)
			next(s, i)
		}
		check("after")
		storetest.Put(t, s, store.Record{Key: store.Key{Thing: "elsewhere"}, Data: fmt.Append(nil, round)})
	}
}
