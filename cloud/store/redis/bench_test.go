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
				benchmarkCAS(b, s, writers)
			})
		}
		for _, depth := range []int{16, 64, 512} {
			b.Run(fmt.Sprintf("hset/%s/pipeline=%d", fsync, depth), func(b *testing.B) {
				s := running(b, Config{URL: empty(server.URL)})
				benchmarkHSET(b, s, depth)
			})
		}
	}
}

const docSize = 906

func benchmarkCAS(b *testing.B, s *Store, writers int) {
	var wg sync.WaitGroup
	b.ResetTimer()
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func benchmarkHSET(b *testing.B, s *Store, depth int) {
	data := bytes.Repeat([]byte{'x'}, docSize)
	b.ResetTimer()
	for i := 0; i < b.N; i += depth {
		pipe := s.commits.Pipeline()
		for j := range min(depth, b.N-i) {
			pipe.HSet(ctx, s.keys.prefix+fmt.Sprint(":hset", j), "app:web", data)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
