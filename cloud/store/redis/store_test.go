package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/cloud/store/storetest"
)

// go-redis looks once a second whether a server that was away is back, and so
// whether its pool is closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

var ctx = context.Background()

var prefixes atomic.Int64

// empty returns a URL under which there is nothing yet.
func empty(url func(string) string) string { return url(fmt.Sprint("test", prefixes.Add(1))) }

// running opens a store and runs it until the test ends.
func running(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(run) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func suite(t *testing.T, url func(string) string) {
	storetest.Run(t, func(t *testing.T) store.Store { return running(t, Config{URL: empty(url)}) })
	storetest.RunShared(t, func(t *testing.T) (a, b store.Store) {
		u := empty(url)
		return running(t, Config{URL: u}), running(t, Config{URL: u, Queue: 4})
	})
}

func TestConformance(t *testing.T) { suite(t, redistest.Start(t).URL) }

func TestConformanceCluster(t *testing.T) { suite(t, redistest.StartCluster(t).URL) }

// Behind a Sentinel the store goes on with the new master.
func TestConformanceSentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	suite(t, sentinel.URL)
	s := running(t, Config{URL: empty(sentinel.URL), RetryFor: 50 * time.Millisecond})
	storetest.Put(t, s, store.Record{Key: store.Key{Thing: "x"}, Data: []byte("1")})
	if answer := sentinel.Servers[0].Do("WAIT", "1", "5000"); answer != "1" {
		t.Fatalf("the replica is not there: %s", answer)
	}
	sentinel.Servers[0].Kill()
	sentinel.AwaitMaster(sentinel.Servers[1])
	base := store.SumOf([]byte("1"))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := submitAll(t, s, []store.Record{{Key: store.Key{Thing: "x"}, Data: []byte("2"), Base: base}})()[0]
		if err == nil {
			break
		}
		if errors.Is(err, store.ErrConflict) || time.Now().After(deadline) {
			t.Fatalf("after the failover: %v", err)
		}
	}
	if data, err := s.Load(ctx, store.Key{Thing: "x"}); err != nil || string(data) != "2" {
		t.Errorf("%q, %v", data, err)
	}
}

// A store of an older format is opened and says the present one from then on;
// one of a later version is refused with both numbers.
func TestFormat(t *testing.T) {
	url := empty(redistest.Start(t).URL)
	s := running(t, Config{URL: url})
	format := s.keys.prefix + ":format"
	for number, want := range map[string]string{
		"1": "",
		"3": "data format 3 is newer than this gnomon reads (2); run the version that wrote it, or a later one",
	} {
		if err := s.client.Set(ctx, format, number, 0).Err(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(ctx, Config{URL: url})
		if want == "" {
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
			if got := s.client.Get(ctx, format).Val(); got != fmt.Sprint(store.Format) {
				t.Errorf("it says format %s", got)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("format %s: %v", number, err)
		}
		if got := s.client.Get(ctx, format).Val(); got != number {
			t.Errorf("format %s became %s", number, got)
		}
	}
}
