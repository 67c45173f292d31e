package mqtt

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// hostile listens, and answers what is said first on every connection.
func hostile(t *testing.T, with string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 1024)) // what it says doesn't matter
				_, _ = io.WriteString(c, with)
				_, _ = io.Copy(io.Discard, c) // until it is left
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// A broker that announces a huge packet is left at once, before there is room made
// for it: as an answer to CONNECT, and later.
func TestPoll_HugePacket(t *testing.T) {
	for name, text := range map[string]string{
		"before the session": "\x20\xff\xff\xff\x7f",
		"in the session":     "\x20\x03\x00\x00\x00\x30\xff\xff\xff\x7f",
		"without end":        "\x20\x03\x00\x00\x00\x30\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			s := schema.Source{Kind: schema.SourceMQTT, Address: hostile(t, text), Timeout: schema.Duration(time.Hour), Tries: 1, MaxAge: schema.Duration(time.Hour)}
			d := newDriver(t, s, "")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = d.Poll(ctx, collect.Request{Source: s, Meter: schema.Meter{ID: "m"}, Items: []schema.Item{item("x", "a", "")}})
			}()
			defer func() { cancel(); <-ended }()
			b := d.broker(s)
			for sessions, last := 0, error(nil); sessions < 3; {
				b.mu.Lock()
				problem, changed := b.problem, b.changed
				b.mu.Unlock()
				if problem != nil && problem != errConnecting && problem != last { //nolint:errorlint // another one
					if last = problem; !strings.Contains(problem.Error(), "more than 262144 bytes") {
						t.Errorf("the session ended with: %v", problem)
					}
					sessions++
				}
				<-changed
			}
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
				t.Errorf("%d MiB were allocated", (after.TotalAlloc-before.TotalAlloc)>>20)
			}
		})
	}
}
