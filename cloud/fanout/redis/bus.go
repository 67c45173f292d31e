// Package redis carries the fan-out between replicas over Redis' sharded
// publish/subscribe: 16 channels, each in a slot of its own, so that a Cluster
// shares the work. It promises order within a channel and that a subscription
// that broke is made again, and reported. It stores nothing.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"gnomon/cloud/fanout"
)

// Bus is a fanout.Transport.
type Bus struct {
	client   goredis.UniversalClient
	channels [fanout.Channels]string
	numbers  map[string]int
	log      *slog.Logger
}

// New returns a transport over client, whose channels begin with prefix.
func New(client goredis.UniversalClient, prefix string, log *slog.Logger) *Bus {
	b := &Bus{client: client, numbers: make(map[string]int), log: log}
	for i := range b.channels {
		b.channels[i] = prefix + ":{bus:" + strconv.Itoa(i) + "}"
		b.numbers[b.channels[i]] = i
	}
	return b
}

// Send implements fanout.Transport.
func (b *Bus) Send(ctx context.Context, frames map[int][]byte) map[int]error {
	if len(frames) == 0 {
		return nil
	}
	pipe := b.client.Pipeline()
	replies := make(map[int]*goredis.IntCmd, len(frames))
	for i, f := range frames {
		replies[i] = pipe.SPublish(ctx, b.channels[i], f)
	}
	if _, err := pipe.Exec(ctx); err == nil {
		return nil
	}
	failed := make(map[int]error)
	for i, r := range replies {
		if err := r.Err(); err != nil {
			failed[i] = err
		}
	}
	return failed
}

// Receive implements fanout.Transport. On a Cluster every channel has a
// connection of its own, for they lie in different slots.
func (b *Bus) Receive(ctx context.Context, r fanout.Receiver) error {
	all := make([]int, len(b.channels))
	for i := range all {
		all[i] = i
	}
	groups := [][]int{all}
	if _, ok := b.client.(*goredis.ClusterClient); ok {
		groups = nil
		for i := range all {
			groups = append(groups, all[i:i+1])
		}
	}
	var g errgroup.Group
	for _, channels := range groups {
		g.Go(func() error {
			b.listen(ctx, channels, r)
			return nil
		})
	}
	return g.Wait()
}

const (
	patience = 3 * time.Second // of silence before the server is asked, and then for its answer
	maxPause = time.Second     // between attempts to subscribe
)

// listen keeps subscribed until ctx ends.
func (b *Bus) listen(ctx context.Context, channels []int, r fanout.Receiver) {
	pause := 10 * time.Millisecond
	for ctx.Err() == nil {
		stood, err := b.subscribed(ctx, channels, r)
		if ctx.Err() != nil {
			return
		}
		r.Stand(channels, err)
		b.log.Debug("subscription ended", "channels", len(channels), "error", err)
		if stood {
			pause = 10 * time.Millisecond
		}
		if c, ok := b.client.(*goredis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

var errMoved = errors.New("the channel has moved to another server")

// subscribed receives over one subscription until it breaks. stood tells whether
// it ever stood.
func (b *Bus) subscribed(ctx context.Context, channels []int, r fanout.Receiver) (stood bool, err error) {
	names := make([]string, len(channels))
	for i, c := range channels {
		names[i] = b.channels[c]
	}
	sub := b.client.SSubscribe(ctx, names...)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // a reader that waits takes no notice of ctx
	missing, asked := len(channels), false
	for {
		m, err := sub.ReceiveTimeout(ctx, patience)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			if err := sub.Ping(ctx); err != nil {
				return stood, err
			}
			asked = true
			continue
		case err != nil:
			return stood, err
		}
		asked = false
		switch m := m.(type) {
		case *goredis.Message:
			if i, ok := b.numbers[m.Channel]; ok {
				r.Take(i, []byte(m.Payload))
			}
		case *goredis.Subscription:
			if m.Kind != "ssubscribe" {
				return stood, errMoved
			}
			if missing--; missing == 0 {
				stood = true
				r.Stand(channels, nil)
			}
			if missing < 0 {
				return stood, fmt.Errorf("subscribed again unasked")
			}
		}
	}
}
