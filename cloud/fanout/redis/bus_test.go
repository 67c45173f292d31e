package redis

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/cloud/fanout"
	"gnomon/cloud/store/redis"
	"gnomon/cloud/store/redis/redistest"
)

// go-redis looks once a second whether a server that was away is back, and so
// whether its pool is closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// ears is a receiver.
type ears struct {
	mu      sync.Mutex
	heard   map[int][]string
	down    [fanout.Channels]bool // after it had stood
	stood   [fanout.Channels]bool
	lost    int
	changed chan struct{}
}

func (e *ears) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		e.mu.Lock()
		done := ok()
		e.mu.Unlock()
		if done {
			return
		}
		select {
		case <-e.changed:
		case <-time.After(100 * time.Millisecond): // whatever ok looks at besides
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (e *ears) do(f func()) {
	e.mu.Lock()
	f()
	e.mu.Unlock()
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

func (e *ears) Take(c int, frame []byte) {
	e.do(func() { e.heard[c] = append(e.heard[c], string(frame)) })
}

// Stand counts how often a subscription came back.
func (e *ears) Stand(channels []int, err error) {
	e.do(func() {
		if err == nil && e.stood[channels[0]] {
			e.lost++
		}
		for _, c := range channels {
			e.stood[c], e.down[c] = e.stood[c] || err == nil, err != nil
		}
	})
}

func listening(t *testing.T, url string) (*Bus, *ears) {
	t.Helper()
	return listeningAs(t, redis.Config{URL: url})
}

func listeningAs(t *testing.T, cfg redis.Config) (*Bus, *ears) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	db, err := redis.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := New(db.Client(), db.Prefix(), slog.New(slog.DiscardHandler))
	e := &ears{heard: map[int][]string{}, changed: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Receive(ctx, e); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("Receive doesn't end")
		}
		db.Close()
	})
	return b, e
}

// say sends to every channel until everything has been heard once.
func say(t *testing.T, b *Bus, e *ears, word string) {
	t.Helper()
	e.await(t, word, func() bool {
		frames := map[int][]byte{}
		for c := range fanout.Channels {
			if list := e.heard[c]; len(list) == 0 || list[len(list)-1] != word {
				frames[c] = []byte(word)
			}
		}
		go b.Send(context.Background(), frames) // whose errors are the test's own doing
		return len(frames) == 0
	})
}

func TestOrder(t *testing.T) { order(t, redis.Config{URL: redistest.Start(t).URL("g")}) }

func order(t *testing.T, cfg redis.Config) {
	t.Helper()
	b, e := listeningAs(t, cfg)
	say(t, b, e, "up")
	const n = 300
	for i := range n {
		frames := map[int][]byte{}
		for c := range fanout.Channels {
			frames[c] = fmt.Append(nil, i)
		}
		if failed := b.Send(context.Background(), frames); len(failed) != 0 {
			t.Fatal(failed)
		}
	}
	for c := range fanout.Channels {
		e.await(t, "all", func() bool { return slices.Contains(e.heard[c], fmt.Sprint(n-1)) })
		e.mu.Lock()
		list := slices.DeleteFunc(slices.Clone(e.heard[c]), func(text string) bool { return text == "up" }) // some come late
		e.mu.Unlock()
		if len(list) != n {
			t.Fatalf("channel %d: %d frames, want %d", c, len(list), n)
		}
		for i, text := range list {
			if text != fmt.Sprint(i) {
				t.Fatalf("channel %d: %q is the %d.", c, text, i)
			}
		}
	}
	e.await(t, "no losses", func() bool { return e.lost == 0 })
}

// A server that comes back is subscribed to again, and what may have been lost is
// reported.
func TestServerComesBack(t *testing.T) {
	server := redistest.Start(t)
	b, e := listening(t, server.URL("g"))
	say(t, b, e, "up")
	server.Kill()
	server.Again()
	say(t, b, e, "again")
	e.await(t, "a loss", func() bool { return e.lost == 1 })
}

// In a cluster the channels lie on all masters, and go on after one has died.
func TestClusterFailover(t *testing.T) {
	cluster := redistest.StartCluster(t)
	b, e := listening(t, cluster.URL("g"))
	say(t, b, e, "up")
	dead := cluster.Masters()[0]
	dead.Kill()
	cluster.AwaitMasters(3, dead)
	say(t, b, e, "again")
	e.await(t, "a loss", func() bool { return e.lost > 0 })
	dead.Again()
	say(t, b, e, "all there")
}

// Over TLS, and with no more rights than README.md of the store gives.
func TestSecure(t *testing.T) {
	text, err := os.ReadFile("../../store/redis/README.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile("(?s)ACL SETUSER gnomon on '>PASSWORD' (.*?)```").FindSubmatch(text)
	if rules == nil {
		t.Fatal("README.md has no recipe")
	}
	secure := redistest.NewSecure(t, strings.Join(strings.Fields(strings.NewReplacer("'", "", "\\", "").Replace(string(rules[1]))), " "))
	cfg := redis.Config{Security: redis.Security{User: secure.User, Password: secure.Password, CA: secure.CA, Cert: secure.Cert, Key: secure.Key}}
	server := secure.Start(t)
	cfg.URL = server.URL("gnomon")
	order(t, cfg)
	b, e := listeningAs(t, cfg)
	say(t, b, e, "up")
	server.Kill()
	server.Again()
	say(t, b, e, "again")
	e.await(t, "a loss", func() bool { return e.lost == 1 })

	cluster := secure.StartCluster(t)
	cfg.URL = cluster.URL("gnomon")
	order(t, cfg)
	for _, server := range append(cluster.Servers, server) {
		if answer := server.Do("ACL", "LOG"); answer != "" {
			t.Errorf("refused: %s", answer)
		}
	}
}

// A subscription follows its channel to the server that its slot has moved to,
// and says that something may have been lost; the other channels don't notice.
func TestChannelMoves(t *testing.T) {
	cluster := redistest.StartCluster(t)
	b, e := listening(t, cluster.URL("g"))
	say(t, b, e, "up")
	for round := range 3 {
		slot := cluster.Slot(b.channels[5])
		from := cluster.Owner(slot)
		var to *redistest.Server
		for _, m := range cluster.Masters() {
			if m != from {
				to = m
			}
		}
		cluster.Move(slot, to, func() { say(t, b, e, fmt.Sprint("half way ", round)) })
		say(t, b, e, fmt.Sprint("moved ", round))
		e.await(t, "one loss, of that channel", func() bool { return e.lost == round+1 })
	}
}
