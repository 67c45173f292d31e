package redis

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/cloud/store/storetest"
)

// One call of a script carries changes of many things. What is wrong with one of
// them stays with that one.
func TestNeighboursInABatch(t *testing.T) {
	server := redistest.Start(t)
	s := running(t, Config{URL: empty(server.URL)})
	const things = 40
	key := func(i int) store.Key { return store.Key{Thing: fmt.Sprint("t", i), Shadow: "s"} }
	for i := range things {
		storetest.Put(t, s, store.Record{Key: key(i), Data: []byte("1")})
	}
	if err := s.client.Del(ctx, s.keys.record(key(7))).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.client.RPush(ctx, s.keys.record(key(7)), "foreign").Err(); err != nil {
		t.Fatal(err)
	}
	storetest.Put(t, s, store.Record{Key: key(8), Data: []byte("another's")})
	changes := make([]*change, things)
	for i := range changes {
		changes[i] = s.prepare([]store.Record{{Key: key(i), Data: []byte("2"), Base: store.SumOf([]byte("1"))}}, func(error) {})
	}
	lane := committer{Store: s, queue: make(chan *change)}
	if n := len(s.plan(changes)); n != 1 {
		t.Fatalf("%d calls for %d plain changes", n, things)
	}
	lane.commit(ctx, changes)
	for i, c := range changes {
		switch {
		case i == 7:
			if c.err == nil || errors.Is(c.err, store.ErrConflict) {
				t.Errorf("onto a key of another type: %v", c.err)
			}
		case i == 8:
			if !errors.Is(c.err, store.ErrConflict) {
				t.Errorf("onto another's: %v", c.err)
			}
		case c.err != nil:
			t.Errorf("t%d: %v", i, c.err)
		default:
			if data, err := s.Load(ctx, key(i)); err != nil || string(data) != "2" {
				t.Errorf("t%d: %q, %v", i, data, err)
			}
		}
	}
}

// However changes are put into calls, each is in one, and those of one thing are
// in the order they came.
func TestPlanKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Store{keys: keys{"g"}, batch: rapid.SampledFrom([]int{1, 2, 5, batchRecords}).Draw(t, "batch")}
		var group []*change
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			thing := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "thing")
			base := rapid.SampledFrom([]store.Sum{store.Any, store.None, 77}).Draw(t, "base")
			records := []store.Record{{Key: store.Key{Thing: thing}, Data: []byte("1"), Base: base}}
			if rapid.Bool().Draw(t, "two") {
				records = append(records, store.Record{Key: store.Key{Thing: thing, Shadow: "s"}, Data: []byte("1")})
			}
			group = append(group, s.prepare(records, nil))
		}
		sent := make(map[string][]*change)
		total := 0
		for _, command := range s.plan(group) {
			if len(command.changes) > s.batch {
				t.Fatalf("%d changes in a call, at most %d", len(command.changes), s.batch)
			}
			for _, c := range command.changes {
				sent[c.thing] = append(sent[c.thing], c)
				total++
			}
		}
		if total != len(group) {
			t.Fatalf("%d changes are sent, %d came", total, len(group))
		}
		for thing, got := range sent {
			var want []*change
			for _, c := range group {
				if c.thing == thing {
					want = append(want, c)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("changes of %s are out of order", thing)
			}
		}
	})
}

// Changes of many things and shadows from many writers, plain ones and others
// mixed: each chain of a record comes to its end, and nothing is lost on the way.
func TestMixedTraffic(t *testing.T) {
	server := redistest.Start(t)
	s := running(t, Config{URL: empty(server.URL)})
	const writers, steps = 24, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			a := store.Key{Thing: fmt.Sprint("t", w%7), Shadow: fmt.Sprint("a", w)}
			b := store.Key{Thing: a.Thing, Shadow: fmt.Sprint("b", w)}
			base := store.None
			for i := range steps {
				data := fmt.Append(nil, w, "/", i)
				records := []store.Record{{Key: a, Data: data, Base: base}}
				if i%5 == 0 {
					records = append(records, store.Record{Key: b, Data: data, Base: store.Any})
				}
				done := make(chan error, 1)
				if err := s.Submit(ctx, records, func(err error) { done <- err }); err != nil {
					t.Error(err)
					return
				}
				if err := <-done; err != nil {
					t.Errorf("%v step %d: %v", a, i, err)
					return
				}
				base = store.SumOf(data)
			}
			for key, want := range map[store.Key]string{a: fmt.Sprint(w, "/", steps-1), b: fmt.Sprint(w, "/", steps-5)} {
				if data, err := s.Load(ctx, key); err != nil || string(data) != want {
					t.Errorf("%v is %q, %v, want %q", key, data, err, want)
				}
			}
		})
	}
	wg.Wait()
}
