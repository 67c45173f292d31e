package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis"
	"gnomon/simulator/cloudproc"
)

const (
	redisWriters = 512  // changes on their way at a time, each of a shadow of its own
	redisBytes   = 1024 // of a document
)

// measureRedis compares changes of shadows through the store's adapter, each
// built on the one before and held to it, with plain HSET of the same bytes in
// pipelines as deep as there are writers, on the same server in turns.
func measureRedis(ctx context.Context, s settings) ([]Figure, error) {
	var all []Figure
	for _, fsync := range []string{"everysec", "always"} {
		found, err := measureFsync(ctx, s, fsync)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func measureFsync(ctx context.Context, s settings, fsync string) ([]Figure, error) {
	server, err := startRedis(ctx, fsync)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	db, err := redis.Open(ctx, redis.Config{URL: "redis://" + server.http + "/0"})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Run(running) }()
	defer func() { stop(); <-ended }()
	plain := goredis.NewClient(&goredis.Options{Addr: server.http, Protocol: 2})
	defer plain.Close()

	chains := newChains()
	if _, err := chains.run(ctx, db, 200*time.Millisecond); err != nil { // they are made
		return nil, err
	}
	var ours, theirs, cost, baseline []float64
	for range s.Rounds {
		server.mark()
		n, err := chains.run(ctx, db, s.Slice)
		if err != nil {
			return nil, err
		}
		cost, ours = append(cost, server.mark()*1e6/float64(n)), append(ours, rate(n, s.Slice))
		n, err = hset(ctx, plain, s.Slice)
		if err != nil {
			return nil, err
		}
		baseline, theirs = append(baseline, server.mark()*1e6/float64(n)), append(theirs, rate(n, s.Slice))
	}
	name := func(what string) string { return fmt.Sprintf("%s, appendfsync %s", what, fsync) }
	return []Figure{
		figureOf(name("changes of 1 KB shadows on Redis"), "/s", ours...),
		figureOf(name("Redis' processor time of a change"), "µs", cost...),
		figureOf(name("Redis' processor time of an HSET"), "µs", baseline...),
		figureOf(name("÷ pipelined HSET of the same bytes"), "", ratios(ours, theirs)...).atLeast(0.35),
	}, nil
}

// startRedis starts a redis-server with nothing in it.
func startRedis(ctx context.Context, fsync string) (*server, error) {
	address, err := cloudproc.FreeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gnomon-bench-")
	if err != nil {
		return nil, err
	}
	s, err := launch(ctx, "redis-server", address, exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--loglevel", "warning"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w; redis-server is in Debian's package of that name: .ci/deps bench", err), os.RemoveAll(dir))
	}
	stop := s.stop
	s.stop = func() { stop(); _ = os.RemoveAll(dir) }
	return s, nil
}

// chains are writers that build each change on their last.
type chains [redisWriters]chain

type chain struct {
	key  store.Key
	data []byte
	n    uint64
	base store.Sum
	done chan error
}

func newChains() *chains {
	all := &chains{}
	for i := range all {
		all[i] = chain{
			key: store.Key{Thing: fmt.Sprint("bench-", i), Shadow: "app:web"}, data: bytes.Repeat([]byte{'x'}, redisBytes),
			base: store.None, done: make(chan error, 1),
		}
	}
	return all
}

// run writes for d and returns how many changes were acknowledged within it.
func (all *chains) run(ctx context.Context, db store.Store, d time.Duration) (int64, error) {
	var stop atomic.Bool
	var total atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			c := &all[i]
			for !stop.Load() {
				if err := c.write(ctx, db); err != nil {
					failed.Store(&err)
					return
				}
				if !stop.Load() {
					total.Add(1)
				}
			}
		})
	}
	time.Sleep(d)
	stop.Store(true)
	group.Wait()
	if e := failed.Load(); e != nil {
		return 0, *e
	}
	return total.Load(), nil
}

func (c *chain) write(ctx context.Context, db store.Store) error {
	c.n++
	next := bytes.Clone(c.data)
	for i, n := 0, c.n; n > 0; i, n = i+1, n/10 {
		next[i] = byte('0' + n%10)
	}
	if err := db.Submit(ctx, []store.Record{{Key: c.key, Data: next, Base: c.base}}, func(err error) { c.done <- err }); err != nil {
		return err
	}
	c.base = store.SumOf(next)
	return <-c.done
}

// hset writes for d and returns how many were acknowledged within it.
func hset(ctx context.Context, client *goredis.Client, d time.Duration) (total int64, err error) {
	data := bytes.Repeat([]byte{'x'}, redisBytes)
	for end := time.Now().Add(d); time.Now().Before(end); {
		pipe := client.Pipeline()
		for i := range redisWriters {
			pipe.HSet(ctx, fmt.Sprint("plain-", i), "app:web", data)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return 0, err
		}
		total += redisWriters
	}
	return total, nil
}
