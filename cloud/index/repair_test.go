package index

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/cloud/store"
)

// locked is a world that several goroutines use.
type locked struct {
	mu    sync.Mutex
	world *world
	scans atomic.Int64
	slow  time.Duration
}

func (l *locked) Scan(ctx context.Context, from store.Key, limit int) ([]store.Record, error) {
	l.scans.Add(1)
	time.Sleep(l.slow) // what reading costs
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.world.Scan(ctx, from, limit)
}

func (l *locked) Load(ctx context.Context, key store.Key) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.world.Load(ctx, key)
}

func (l *locked) put(t *testing.T, key store.Key, state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.world.put(t, key, state)
}

// repairing runs an index of l until the test ends, which says when it repaired
// something.
func repairing(t *testing.T, l *locked) (ix *Index, repaired chan struct{}) {
	t.Helper()
	repaired = make(chan struct{}, 1000)
	ix = New(Config{Store: l, Refresh: time.Hour, Repaired: func() { repaired <- struct{}{} }})
	ix.SetDocuments(l.world)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = ix.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	for deadline := time.Now().Add(20 * time.Second); ix.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(ix.Ready())
		}
	}
	return ix, repaired
}

// What others did without our being told is in as soon as somebody says that
// something was missed.
func TestMissed(t *testing.T) {
	l := &locked{world: newWorld()}
	key := store.Key{Thing: "n", Shadow: "s"}
	l.put(t, key, `{"desired":{"a":1}}`)
	ix, repaired := repairing(t, l)
	l.put(t, key, `{"desired":{"a":2}}`)
	l.put(t, store.Key{Thing: "m", Shadow: "s"}, `{"desired":{"a":1}}`)
	l.mu.Lock()
	l.world.delete(store.Key{Thing: "m", Shadow: "s"})
	l.mu.Unlock()
	if got := all(t, ix, Query{Limit: 10}); len(got) != 1 || got[0].Version != 1 {
		t.Fatalf("before: %+v", got)
	}
	ix.Missed()
	select {
	case <-repaired:
	case <-time.After(20 * time.Second):
		t.Fatal("not repaired")
	}
	if got := all(t, ix, Query{Limit: 10}); len(got) != 1 || got[0].Version != 2 {
		t.Errorf("after: %+v", got)
	}
}

// However often something is missed, reading has a tenth of the time; and what
// was missed last is in at the end.
func TestMissedOften(t *testing.T) {
	l := &locked{world: newWorld(), slow: 10 * time.Millisecond}
	key := store.Key{Thing: "n", Shadow: "s"}
	l.put(t, key, `{"desired":{"a":0}}`)
	ix, repaired := repairing(t, l)
	began, before := time.Now(), l.scans.Load()
	for time.Since(began) < time.Second {
		l.put(t, key, `{"desired":{"a":1}}`)
		ix.Missed()
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	if n := l.scans.Load() - before; n < 2 || n > int64(took/(rests*l.slow))+2 {
		t.Errorf("%d readings of %v in %v", n, l.slow, took)
	}
	l.mu.Lock()
	want := l.world.docs[key].Version
	l.mu.Unlock()
	for deadline := time.After(20 * time.Second); ; {
		if got := all(t, ix, Query{Limit: 10}); len(got) == 1 && got[0].Version == want {
			return
		}
		select {
		case <-repaired:
		case <-deadline:
			t.Fatalf("version %d is never in", want)
		}
	}
}
