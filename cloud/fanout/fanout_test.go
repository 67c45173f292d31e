package fanout

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	hears []Receiver
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
				hear.Take(c, f)
			}
		}
	}
	return failed
}

var every = func() (all []int) {
	for c := range Channels {
		all = append(all, c)
	}
	return all
}()

func (a *air) Receive(ctx context.Context, r Receiver) error {
	a.mu.Lock()
	a.hears = append(a.hears, r)
	a.mu.Unlock()
	r.Stand(every, nil)
	<-ctx.Done()
	return nil
}

// listener is the local side of a replica.
type listener struct {
	mu      sync.Mutex
	notices []string
	missed  int
	gaps    int // in words
	words   []string
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
func (l *listener) MissedWords()       { l.do(func() { l.gaps++ }) }
func (l *listener) Elsewhere(c string) { l.do(func() { l.words = append(l.words, "elsewhere "+c) }) }
func (l *listener) Hear(word []byte) error {
	l.do(func() { l.words = append(l.words, string(word)) })
	return nil
}
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
		f.SetWords(l)
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

// Words about a thing come after the notices of it that came before them, and
// not to who says them; so does word of who has connected. Losses are told of.
func TestWords(t *testing.T) {
	a := &air{}
	all, heard := network(t, a, 2, Config{})
	const n = 200
	for range n {
		all[0].Send("t", []byte("notice"))
		all[0].Tell("t", []byte("word"))
	}
	l := heard[1]
	l.await(t, "all words", func() bool { return len(l.words) >= n && len(l.notices) >= n })
	all[0].Connected("edge-1")
	l.await(t, "who has connected", func() bool { return slices.Contains(l.words, "elsewhere edge-1") })
	heard[0].mu.Lock()
	if len(heard[0].words) != 0 {
		t.Errorf("a replica heard itself: %v", heard[0].words)
	}
	heard[0].mu.Unlock()
	l.await(t, "no losses", func() bool { return l.gaps == 0 })
	a.mu.Lock()
	a.lose = func(int) (bool, error) { a.lose = nil; return true, nil }
	a.mu.Unlock()
	all[0].Tell("t", []byte("lost"))
	l.await(t, "the loss", func() bool { return l.gaps == 1 })
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

// A replica that falls silent without a word may have committed what it told
// nobody; one that says that it ends has told all.
func TestSilence(t *testing.T) {
	a := &air{}
	_, heard := network(t, a, 1, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	other, err := New(Config{Transport: a, Heartbeat: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l := newListener()
	other.SetLocal(l, l.takeOver)
	ended := make(chan error, 1)
	go func() { ended <- other.Run(ctx) }()
	other.Send("t", []byte("1"))
	heard[0].await(t, "the first", func() bool { return len(heard[0].notices) == 1 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	a.mu.Lock() // one that is killed: its frames just end
	for _, hear := range a.hears {
		fr := frame{from: origin{9}, number: 7, entries: []entry{{kindNotice, []byte("2")}}}
		hear.Take(3, fr.append(nil))
	}
	a.mu.Unlock()
	heard[0].await(t, "the second", func() bool { return len(heard[0].notices) == 2 })
	heard[0].mu.Lock()
	if heard[0].missed != 0 {
		t.Error("a replica that ended in order is said to have lost something")
	}
	heard[0].mu.Unlock()
	heard[0].await(t, "the dead replica to be noticed", func() bool { return heard[0].missed == 1 })
	time.Sleep(10 * silences * 20 * time.Millisecond) // in which it must not be noticed again
	heard[0].await(t, "it to be noticed once", func() bool { return heard[0].missed == 1 })
}

// A replica is ready once it hears the others on all channels, and no longer when
// it hears nobody.
func TestReady(t *testing.T) {
	f, err := New(Config{Transport: &air{}})
	if err != nil {
		t.Fatal(err)
	}
	l := newListener()
	f.SetLocal(l, l.takeOver)
	cut := errors.New("connection refused")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, step := range []struct {
		what     string
		channels []int
		err      error
		ready    bool
		heard    bool
		missed   int
	}{
		{"nothing yet", nil, nil, false, false, 0},
		{"all but one", every[1:], nil, false, false, 0},
		{"refused", every[:1], cut, false, false, 0},
		{"all", every[:1], nil, true, true, 0},
		{"one cut", every[:1], cut, true, true, 0},
		{"all cut", every, cut, false, true, 0},
		{"one back", every[4:5], nil, true, true, 1},
		{"the rest back", every, nil, true, true, 2},
	} {
		ears{f}.Stand(step.channels, step.err)
		err := f.Ready()
		if (err == nil) != step.ready || err != nil && !errors.Is(err, ErrDeaf) {
			t.Errorf("%s: %v", step.what, err)
		}
		if step.err != nil && err != nil && !errors.Is(err, cut) {
			t.Errorf("%s: it isn't said why: %v", step.what, err)
		}
		if l.missed != step.missed {
			t.Errorf("%s: %d losses, want %d", step.what, l.missed, step.missed)
		}
		select {
		case <-f.whole:
			if !step.heard || f.Wait(context.Background()) != nil {
				t.Errorf("%s: Wait is over", step.what)
			}
		default:
			if step.heard || f.Wait(ended) == nil {
				t.Errorf("%s: Wait is not over", step.what)
			}
		}
	}
	f.stands[2] = standing{before: true, down: cut, since: time.Now().Add(-2 * downFor)}
	if err := f.Ready(); err == nil {
		t.Error("ready though a channel has been down for long")
	}
}
