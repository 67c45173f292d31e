package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gnomon/cloud/store"
)

// OpenShared returns two running stores on the same, empty data. They are
// stopped at the end of the test.
type OpenShared func(t *testing.T) (a, b store.Store)

// RunShared runs what shared stores promise beyond Run: that a change is written
// only onto what it was built on. Stores with a single writer don't call it.
func RunShared(t *testing.T, open OpenShared) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, a, b store.Store)
	}{
		{"Conflict", conflict},
		{"ConflictWritesNothing", conflictWritesNothing},
		{"BuiltOnWhatFailed", builtOnWhatFailed},
		{"Compare", compare},
		{"ReadTheOthersWrites", readTheOthersWrites},
		{"Counters", counters},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := open(t)
			tt.test(t, a, b)
		})
	}
}

func based(thing, shadow, data string, base store.Sum) store.Record {
	r := record(thing, shadow, data)
	r.Base = base
	return r
}

func sum(data string) store.Sum { return store.SumOf([]byte(data)) }

// result submits a change and returns what done hears.
func result(t testing.TB, s store.Store, records ...store.Record) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	if err := s.Submit(context.Background(), records, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	return done
}

func expect(t testing.TB, what string, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: done is not called", what)
	}
}

func conflict(t *testing.T, a, b store.Store) {
	expect(t, "the first", result(t, a, based("x", "", "1", store.None)), nil)
	expect(t, "another first", result(t, b, based("x", "", "1b", store.None)), store.ErrConflict)
	expect(t, "the second", result(t, b, based("x", "", "2", sum("1"))), nil)
	expect(t, "another second", result(t, a, based("x", "", "2a", sum("1"))), store.ErrConflict)
	expect(t, "onto what isn't there", result(t, a, based("y", "", "2", sum("1"))), store.ErrConflict)
	expect(t, "onto anything", result(t, a, based("x", "", "3", store.Any)), nil)
	if got := load(t, b, "x", ""); got != "3" {
		t.Errorf("got %q", got)
	}
}

func conflictWritesNothing(t *testing.T, a, b store.Store) {
	Put(t, a, record("x", "", "1"), record("x", "b", "1"))
	done := result(t, b, based("x", "", "2", sum("1")), based("x", "a", "2", store.None), based("x", "b", "2", sum("0")))
	expect(t, "one of three doesn't match", done, store.ErrConflict)
	if got := load(t, a, "x", "") + load(t, a, "x", "b"); got != "11" {
		t.Errorf("got %q: a change set is there in part", got)
	}
	if records, err := a.Scan(context.Background(), store.Key{}, 10); err != nil || len(records) != 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
	done = result(t, b, based("x", "", "2", sum("1")), based("x", "a", "2", store.None), based("x", "b", "2", sum("1")))
	expect(t, "all match", done, nil)
	if got := load(t, a, "x", "") + load(t, a, "x", "a") + load(t, a, "x", "b"); got != "222" {
		t.Errorf("got %q", got)
	}
}

// A chain of changes is submitted while another writer comes in before it: none
// of it may be written, even where the number of changes would match.
func builtOnWhatFailed(t *testing.T, a, b store.Store) {
	Put(t, a, record("x", "", "0"))
	Put(t, b, record("x", "", "other 1"))
	const n = 50
	chain := make([]<-chan error, n)
	base := "0"
	for i := range chain {
		next := fmt.Sprint(i + 1)
		chain[i] = result(t, a, based("x", "", next, sum(base)))
		base = next
	}
	for i, done := range chain {
		expect(t, fmt.Sprintf("change %d", i+1), done, store.ErrConflict)
	}
	if got := load(t, a, "x", ""); got != "other 1" {
		t.Errorf("got %q", got)
	}
}

func compare(t *testing.T, a, b store.Store) {
	is := func(base store.Sum) store.Record { return store.Record{Key: store.Key{Thing: "x"}, Base: base} }
	expect(t, "nothing is there", result(t, a, is(store.None)), nil)
	Put(t, b, record("x", "", "1"))
	expect(t, "something is", result(t, a, is(store.None)), store.ErrConflict)
	expect(t, "it is 1", result(t, a, is(sum("1"))), nil)
	expect(t, "it is not 2", result(t, a, is(sum("2"))), store.ErrConflict)
	if got := load(t, a, "x", ""); got != "1" {
		t.Errorf("got %q: a comparison wrote", got)
	}
}

func readTheOthersWrites(t *testing.T, a, b store.Store) {
	for i := range 50 {
		Put(t, a, record("x", "s", fmt.Sprint(i)))
		if got := load(t, b, "x", "s"); got != fmt.Sprint(i) {
			t.Fatalf("the other store says %q, want %d", got, i)
		}
	}
	Put(t, b, record("y", "", "1"))
	if names, err := a.Things(context.Background(), "", 10); err != nil || fmt.Sprint(names) != "[y]" {
		t.Errorf("things %v, %v", names, err)
	}
}

// Writers at both stores count up the same numbers, going on from what they read
// whenever another came in between: every step that was done counts once.
func counters(t *testing.T, a, b store.Store) {
	const writers, steps, numbers = 6, 40, 3
	add := func(s store.Store, key store.Key) {
		for {
			data, err := s.Load(context.Background(), key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
				return
			}
			n := uint64(0)
			if data != nil {
				n = binary.BigEndian.Uint64(data)
			}
			done := make(chan error, 1)
			next := store.Record{Key: key, Data: binary.BigEndian.AppendUint64(nil, n+1), Base: store.SumOf(data)}
			if err := s.Submit(context.Background(), []store.Record{next}, func(err error) { done <- err }); err != nil {
				t.Error(err)
				return
			}
			if err := <-done; err == nil {
				return
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
				return
			}
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range steps * numbers {
				add([]store.Store{a, b}[w%2], store.Key{Thing: fmt.Sprint("n", i%numbers)})
			}
		})
	}
	wg.Wait()
	for i := range numbers {
		data := load(t, a, fmt.Sprint("n", i), "")
		if n := binary.BigEndian.Uint64([]byte(data)); n != writers*steps {
			t.Errorf("n%d is %d, want %d", i, n, writers*steps)
		}
	}
}
