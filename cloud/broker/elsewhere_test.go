package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// startAnnouncing is start for a broker that is one of several.
func startAnnouncing(t *testing.T, connected func(string)) (*Broker, string) {
	t.Helper()
	return startPrepared(t, func(b *Broker) error { return b.Announce(connected) })
}

// startPrepared is start for a broker that something is done to before it runs.
func startPrepared(t *testing.T, prepare func(*Broker) error) (*Broker, string) {
	t.Helper()
	b, err := New(Config{Address: "127.0.0.1:0", Shadows: accepting})
	if err != nil {
		t.Fatal(err)
	}
	if err := prepare(b); err != nil {
		t.Fatal(err)
	}
	address, err := b.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b, address.String()
}

// The others are told of a client before it is told that it is connected: it may go
// on to another broker at once, and whoever says it last has it.
func TestAnnounce_BeforeTheAnswer(t *testing.T) {
	told, goOn := make(chan string), make(chan struct{})
	_, address := startAnnouncing(t, func(id string) {
		told <- id
		<-goOn
	})
	c := dialRaw(t, address)
	c.send(connectPacket(5, "s"))
	select {
	case id := <-told:
		if id != "s" {
			t.Errorf("told of %q", id)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := c.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered with % x, %v, while the others weren't told yet", b, err)
	}
	close(goOn)
	c.expect(0x20)
}

// A client that has connected elsewhere is told so, and nothing of its session
// is left, whether it was connected or away.
func TestTakeOver(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprint(version, away), func(t *testing.T) {
				var mu sync.Mutex
				var heard []string
				b, address := startAnnouncing(t, func(id string) {
					mu.Lock()
					heard = append(heard, id)
					mu.Unlock()
				})
				c := connectSession(t, address, version, "s", 0)
				c.send(subscribePacket(version, 1, "news/#"))
				c.expect(0x90)
				if away {
					c.leave()
					eventually(t, "gone", func() bool { return b.Clients() == 0 })
				}
				b.TakeOver("nobody")
				b.TakeOver("s")
				if !away {
					if version == 5 {
						if body := c.expect(0xe0); body[0] != 0x8e {
							t.Errorf("DISCONNECT % x", body)
						}
					}
					eventually(t, "gone", func() bool { return b.Clients() == 0 })
				}
				eventually(t, "nothing left", func() bool {
					_, there := b.server.Clients.Get("s")
					return !there && !b.Subscribed("news/today")
				})
				connectSession(t, address, version, "s", 0)
				eventually(t, "announced", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return fmt.Sprint(heard) == "[s s]"
				})
			})
		}
	}
}
