package fanout

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// air is a transport in memory: everybody hears everything, in order, but for
// what a test has it lose.
type air struct {
	mu    sync.Mutex
	hears []func(int, []byte)
	lose  func(channel int) (drop bool, err error)
}

func (a *air) Send(_ context.Context, frames map[int][]byte) map[int]error {
	a.mu.Lock()
	defer a.mu.Unlock()
	failed := map[int]error{}
	for c, f := range frames {
		drop := false
		if a.lose != nil {
			var err error
			if drop, err = a.lose(c); err != nil {
				failed[c] = err
			}
		}
		for _, hear := range a.hears {
			if !drop {
				hear(c, f)
			}
		}
	}
	return failed
}

func (a *air) Receive(ctx context.Context, take func(int, []byte), _ func()) error {
	a.mu.Lock()
	a.hears = append(a.hears, take)
	a.mu.Unlock()
	<-ctx.Done()
	return nil
}

// listener is the local side of a replica.
type listener struct {
	mu      sync.Mutex
	notices []string
	missed  int
	session map[string]bool
	changed chan struct{}
}

func newListener() *listener {
	return &listener{session: map[string]bool{}, changed: make(chan struct{}, 1)}
}

func (l *listener) do(f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *listener) Deliver(notice []byte) error {
	l.do(func() { l.notices = append(l.notices, string(notice)) })
	return nil
}
func (l *listener) MissedNotices()     { l.do(func() { l.missed++ }) }
func (l *listener) takeOver(id string) { l.do(func() { l.session[id] = false }) }

func (l *listener) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		l.mu.Lock()
		done := ok()
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-l.changed:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// network runs n replicas over one transport until the test ends.
func network(t *testing.T, a *air, n int, cfg Config) (all []*Fanout, heard []*listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range n {
		cfg.Transport, cfg.Heartbeat = a, 20*time.Millisecond
		f, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		l := newListener()
		f.SetLocal(l, l.takeOver)
		all, heard = append(all, f), append(heard, l)
		wg.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		up := len(a.hears)
		a.mu.Unlock()
		if up == n {
			return all, heard
		}
		if time.Now().After(deadline) {
			t.Fatal("the replicas don't listen")
		}
	}
}

// Every notice reaches the other replicas once, and those of one thing in order.
func TestNotices(t *testing.T) {
	all, heard := network(t, &air{}, 3, Config{})
	const n, things = 500, 5
	for i := range n {
		all[0].Send(fmt.Sprint("t", i%things), fmt.Appendf(nil, "%d:%d", i%things, i))
	}
	for _, l := range heard[1:] {
		l.await(t, "all notices", func() bool { return len(l.notices) >= n })
		last := map[int]int{}
		for _, text := range l.notices {
			var thing, i int
			if _, err := fmt.Sscanf(text, "%d:%d", &thing, &i); err != nil {
				t.Fatal(err)
			}
			if before, ok := last[thing]; ok && before >= i {
				t.Errorf("thing %d: %d came after %d", thing, i, before)
			}
			last[thing] = i
		}
		if len(l.notices) != n || l.missed != 0 {
			t.Errorf("%d notices, %d losses", len(l.notices), l.missed)
		}
	}
	heard[0].mu.Lock()
	defer heard[0].mu.Unlock()
	if len(heard[0].notices) != 0 {
		t.Error("a replica heard itself")
	}
}

// Whatever is lost, be it the last of all, is noticed.
func TestLosses(t *testing.T) {
	a := &air{}
	all, heard := network(t, a, 2, Config{})
	all[0].Send("t", []byte("1"))
	heard[1].await(t, "the first", func() bool { return len(heard[1].notices) == 1 })
	a.mu.Lock()
	a.lose = func(int) (bool, error) { a.lose = nil; return true, nil }
	a.mu.Unlock()
	all[0].Send("t", []byte("2"))
	heard[1].await(t, "a loss", func() bool { return heard[1].missed == 1 })
	heard[1].mu.Lock()
	defer heard[1].mu.Unlock()
	if len(heard[1].notices) != 1 {
		t.Errorf("heard %v", heard[1].notices)
	}
}

// A queue that is full loses what doesn't fit, and the others are told.
func TestFullQueue(t *testing.T) {
	a := &air{}
	all, heard := network(t, a, 2, Config{Queue: 2})
	all[0].Send("t", []byte("first"))
	heard[1].await(t, "the first", func() bool { return len(heard[1].notices) == 1 })
	a.mu.Lock() // nothing is sent
	for i := range 50 {
		all[0].Send("t", fmt.Appendf(nil, "%d", i))
	}
	a.mu.Unlock()
	heard[1].await(t, "a loss", func() bool { return heard[1].missed > 0 })
}

// However often a client connects, and wherever: in the end it has a session at
// the replica it connected to last, and nowhere else.
func TestTakeOver(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	a := &air{}
	const n = 3
	all, heard := network(t, a, n, Config{})
	chance := rand.New(rand.NewPCG(seed, 1)) // under the lock of air
	a.mu.Lock()
	a.lose = func(int) (bool, error) {
		if chance.IntN(4) == 0 {
			return true, errors.New("away")
		}
		return false, nil
	}
	a.mu.Unlock()
	connect := func(i int, id string) {
		heard[i].do(func() { heard[i].session[id] = true })
		all[i].Connected(id)
	}
	for round := range 20 {
		at := make([]int, 4)
		for c := range at {
			at[c] = random.IntN(n)
			for i := range all {
				if i != at[c] {
					connect(i, fmt.Sprint(round, "/", c))
				}
			}
		}
		flush(t, all)
		for c, i := range at {
			connect(i, fmt.Sprint(round, "/", c))
		}
		flush(t, all)
		for c, last := range at {
			id := fmt.Sprint(round, "/", c)
			for i, l := range heard { // a word that its own replica has heard is still on its way to others
				l.await(t, fmt.Sprintf("%s, which connected to %d last, to have a session there and not at %d", id, last, i),
					func() bool { return l.session[id] == (i == last) })
			}
		}
	}
}

// flush waits until nobody waits for its own word any more.
func flush(t *testing.T, all []*Fanout) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		waiting := 0
		for _, f := range all {
			f.mu.Lock()
			waiting += len(f.claims)
			f.mu.Unlock()
		}
		if waiting == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d still wait", waiting)
		}
	}
}

func TestFrames(t *testing.T) {
	f := &frame{from: origin{1, 2, 3}, number: 300, entries: []entry{{'n', []byte("abc")}, {'c', nil}, {'x', make([]byte, 300)}}}
	b := f.append(nil)
	got, err := parseFrame(b)
	if err != nil || got.from != f.from || got.number != 300 || len(got.entries) != 3 || string(got.entries[0].body) != "abc" || len(got.entries[2].body) != 300 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		_, _ = parseFrame(b[:i]) // must not panic
	}
}

func FuzzFrame(f *testing.F) {
	f.Add((&frame{number: 1, entries: []entry{{'n', []byte("abc")}}}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if fr, err := parseFrame(b); err == nil {
			if again, err := parseFrame(fr.append(nil)); err != nil || len(again.entries) != len(fr.entries) {
				t.Errorf("%+v, %v", again, err)
			}
		}
	})
}
