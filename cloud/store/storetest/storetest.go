// Package storetest is the conformance suite of the port cloud/store: what every
// adapter promises, as tests. It is imported by adapters' tests only.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gnomon/cloud/store"
)

// Open returns a store that is running and empty. It is stopped at the end of
// the test.
type Open func(t *testing.T) store.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"NotFound", notFound},
		{"ReadYourWrites", readYourWrites},
		{"LastWriteWins", lastWriteWins},
		{"ChangeSets", changeSets},
		{"EmptyChangeIsABarrier", barrier},
		{"OrderPerThing", orderPerThing},
		{"Scan", scan},
		{"Things", things},
		{"OddNames", oddNames},
		{"Concurrent", concurrent},
		{"DataIsTheCallers", dataIsTheCallers},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

// Put writes records and waits until they are durable.
func Put(t testing.TB, s store.Store, records ...store.Record) {
	t.Helper()
	done := make(chan error, 1)
	if err := s.Submit(context.Background(), records, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("done is not called")
	}
}

func record(thing, shadow, data string) store.Record {
	return store.Record{Key: store.Key{Thing: thing, Shadow: shadow}, Data: []byte(data)}
}

func load(t *testing.T, s store.Store, thing, shadow string) string {
	t.Helper()
	data, err := s.Load(context.Background(), store.Key{Thing: thing, Shadow: shadow})
	if err != nil {
		t.Fatalf("load %s/%s: %v", thing, shadow, err)
	}
	return string(data)
}

func notFound(t *testing.T, s store.Store) {
	Put(t, s, record("a", "x", "1"))
	for _, key := range []store.Key{{Thing: "a"}, {Thing: "a", Shadow: "y"}, {Thing: "", Shadow: "x"}, {Thing: "a\x00x"}} {
		if _, err := s.Load(context.Background(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v, want ErrNotFound", key, err)
		}
	}
}

func readYourWrites(t *testing.T, s store.Store) {
	for i := range 50 {
		want := fmt.Sprint(i)
		Put(t, s, record("thing", "shadow", want))
		if got := load(t, s, "thing", "shadow"); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func lastWriteWins(t *testing.T, s store.Store) {
	Put(t, s, record("a", "x", "1"), record("a", "x", "2"))
	if got := load(t, s, "a", "x"); got != "2" {
		t.Errorf("got %q", got)
	}
}

func changeSets(t *testing.T, s store.Store) {
	Put(t, s, record("a", "", "classic"), record("a", "x", "1"), record("a", "y", ""))
	if load(t, s, "a", "") != "classic" || load(t, s, "a", "x") != "1" || load(t, s, "a", "y") != "" {
		t.Error("a change set is there in part")
	}
}

func barrier(t *testing.T, s store.Store) {
	var first bool
	done := make(chan bool, 1)
	submit(t, s, []store.Record{record("a", "x", "1")}, func(error) { first = true })
	submit(t, s, nil, func(error) { done <- first })
	if !<-done {
		t.Error("an empty change was done before the one submitted before it")
	}
}

func submit(t *testing.T, s store.Store, records []store.Record, done func(error)) {
	t.Helper()
	if err := s.Submit(context.Background(), records, done); err != nil {
		t.Fatal(err)
	}
}

func orderPerThing(t *testing.T, s store.Store) {
	const n = 2000
	var mu sync.Mutex
	var order []int
	all := make(chan struct{})
	for i := range n {
		submit(t, s, []store.Record{record("a", "x", fmt.Sprint(i))}, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if order = append(order, i); len(order) == n {
				close(all)
			}
		})
	}
	<-all
	for i, got := range order {
		if got != i {
			t.Fatalf("change %d was done as the %d.", got, i)
		}
	}
	if got := load(t, s, "a", "x"); got != fmt.Sprint(n-1) {
		t.Errorf("the last is %q", got)
	}
}

func scan(t *testing.T, s store.Store) {
	keys := []store.Key{{Thing: "a"}, {Thing: "a", Shadow: "app:1"}, {Thing: "a", Shadow: "app:2"}, {Thing: "a-"}, {Thing: "ab"}, {Thing: "b", Shadow: "z"}}
	for i := len(keys) - 1; i >= 0; i-- {
		Put(t, s, store.Record{Key: keys[i], Data: []byte(keys[i].Thing + "/" + keys[i].Shadow)})
	}
	for _, tt := range []struct {
		from  store.Key
		limit int
		want  []store.Key
	}{
		{store.Key{}, 100, keys},
		{store.Key{}, 2, keys[:2]},
		{keys[1], 2, keys[1:3]},
		{store.Key{Thing: "a", Shadow: "app:2\x00"}, 100, keys[3:]},
		{store.Key{Thing: "a", Shadow: "app:"}, 1, keys[1:2]},
		{store.Key{Thing: "zz"}, 10, nil},
	} {
		got, err := s.Scan(context.Background(), tt.from, tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(tt.want) {
			t.Errorf("from %q: %d records, want %d", tt.from, len(got), len(tt.want))
			continue
		}
		for i, r := range got {
			if r.Key != tt.want[i] || string(r.Data) != r.Key.Thing+"/"+r.Key.Shadow {
				t.Errorf("from %q: record %d is %q: %q", tt.from, i, r.Key, r.Data)
			}
		}
	}
}

func things(t *testing.T, s store.Store) {
	for _, thing := range []string{"c", "a", "b:1", "b"} {
		Put(t, s, record(thing, "", "x"))
	}
	Put(t, s, record("named-only", "x", "x"))
	got, err := s.Things(context.Background(), "", 10)
	if err != nil || fmt.Sprint(got) != "[a b b:1 c]" {
		t.Errorf("got %v, %v", got, err)
	}
	got, err = s.Things(context.Background(), "b", 2)
	if err != nil || fmt.Sprint(got) != "[b b:1]" {
		t.Errorf("from b: got %v, %v", got, err)
	}
}

// Names are anything but NUL.
func oddNames(t *testing.T, s store.Store) {
	names := []string{"%", "%7D", "a}b", "a}c", "{", "{a}", "}", "}{", "台区"}
	for _, name := range names {
		Put(t, s, record(name, "", name), record(name, name, "named "+name), record(name, "}:"+name, ""))
	}
	for _, name := range names {
		if load(t, s, name, "") != name || load(t, s, name, name) != "named "+name {
			t.Errorf("%q is mistaken for another", name)
		}
	}
	if got, err := s.Things(context.Background(), "", 100); err != nil || fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("things %q, %v", got, err)
	}
	if got, err := s.Scan(context.Background(), store.Key{}, 100); err != nil || len(got) != 3*len(names) {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func concurrent(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 100 {
				Put(t, s, record(fmt.Sprintf("t%d", w), "x", fmt.Sprint(i)))
			}
		})
	}
	wg.Wait()
	for w := range 16 {
		if got := load(t, s, fmt.Sprintf("t%d", w), "x"); got != "99" {
			t.Errorf("t%d: %q", w, got)
		}
	}
}

func dataIsTheCallers(t *testing.T, s store.Store) {
	Put(t, s, record("a", "x", "abc"))
	data, err := s.Load(context.Background(), store.Key{Thing: "a", Shadow: "x"})
	if err != nil {
		t.Fatal(err)
	}
	data[0] = 'X'
	if got := load(t, s, "a", "x"); got != "abc" {
		t.Errorf("got %q: a caller's change went into the store", got)
	}
}
