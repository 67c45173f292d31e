package redis

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis/redistest"
)

// The commit path against what the server does at best: HSET of as many bytes,
// in pipelines of 64, from as many connections as the committer has. Run both in
// one run and compare them; `always` and `everysec` are the server's
// appendfsync.
func BenchmarkCommit(b *testing.B) {
	for _, fsync := range []string{"everysec", "always"} {
		server := redistest.Start(b, "--appendfsync", fsync)
		for _, writers := range []int{64, 512} {
			b.Run(fmt.Sprintf("cas/%s/writers=%d", fsync, writers), func(b *testing.B) {
				s := running(b, Config{URL: empty(server.URL)})
				measured(b, server, func() { benchmarkCAS(b, s, writers) })
			})
		}
		for _, depth := range []int{16, 64, 512} {
			b.Run(fmt.Sprintf("hset/%s/pipeline=%d", fsync, depth), func(b *testing.B) {
				s := running(b, Config{URL: empty(server.URL)})
				measured(b, server, func() { benchmarkHSET(b, s, depth) })
			})
		}
	}
}

const docSize = 906

// measured adds what tells more on a busy machine than the time does: the
// server's own share.
func measured(b *testing.B, server *redistest.Server, run func()) {
	used := func() (seconds float64) {
		for _, name := range []string{"used_cpu_user_main_thread", "used_cpu_sys_main_thread"} {
			var s float64
			if _, err := fmt.Sscan(field(server.Do("INFO", "cpu"), name), &s); err != nil {
				b.Fatal(err)
			}
			seconds += s
		}
		return seconds
	}
	before := used()
	b.ResetTimer()
	run()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(1e6*(used()-before)/float64(b.N), "redis-µs/op")
}

func benchmarkCAS(b *testing.B, s *Store, writers int) {
	var wg sync.WaitGroup
	for w := range writers {
		n := b.N / writers
		if w < b.N%writers {
			n++
		}
		wg.Go(func() {
			key := store.Key{Thing: fmt.Sprint("thing", w), Shadow: "app:web"}
			data := bytes.Repeat([]byte{'x'}, docSize)
			base := store.None
			done := make(chan error, 1)
			for i := range n {
				next := fmt.Appendf(append(make([]byte, 0, docSize+20), data...), "%d", i)
				if err := s.Submit(ctx, []store.Record{{Key: key, Data: next, Base: base}}, func(err error) { done <- err }); err != nil {
					b.Error(err)
					return
				}
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
				base = store.SumOf(next)
			}
		})
	}
	wg.Wait()
}

func benchmarkHSET(b *testing.B, s *Store, depth int) {
	data := bytes.Repeat([]byte{'x'}, docSize)
	for i := 0; i < b.N; i += depth {
		pipe := s.commits.Pipeline()
		for j := range min(depth, b.N-i) {
			pipe.HSet(ctx, s.keys.prefix+fmt.Sprint(":hset", j), "app:web", data)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
