package twin

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/store/redis/redistest"
)

// One service's updates of 512 shadows, on Redis and on the embedded store.
func BenchmarkUpdate(b *testing.B) {
	const writers = 512
	run := func(b *testing.B, s *Service) {
		updates := make([]string, 16)
		for i := range updates {
			updates[i] = fmt.Sprintf(`{"state":{"reported":{"phase":"running","pid":%d,"usage":{"cpu":%d,"memory":12345678}}}}`, i, i*7)
		}
		var wg sync.WaitGroup
		b.ResetTimer()
		for w := range writers {
			wg.Go(func() {
				k := key(fmt.Sprint("node", w), "s")
				for i := w; i < b.N; i += writers {
					if _, err := s.Update(ctx, op, k, update(b, updates[i%16])); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	}
	quiet := func(c *Config) { c.Publisher = nobody{} }
	for _, fsync := range []string{"everysec", "always"} {
		server := redistest.Start(b, "--appendfsync", fsync)
		b.Run("redis/"+fsync, func(b *testing.B) { run(b, replica(b, server.URL(b.Name()), quiet).Service) })
	}
	b.Run("pebble/memory", func(b *testing.B) { run(b, open(b, vfs.NewMem(), quiet).Service) })
}

// nobody subscribed to anything.
type nobody struct{}

func (nobody) Publish(string, []byte) {}
func (nobody) Subscribed(string) bool { return false }
