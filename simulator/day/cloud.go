package day

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"gnomon/cloud/identity"
	"gnomon/cloud/readings"
	pebble "gnomon/cloud/store/pebble/readings"
	"gnomon/shadow/wire"
)

// Cloud keeps what is told. It works in real time, beside the bubble of the day:
// what goes in and out goes over channels that were made outside, and while
// somebody waits at one of them no time passes in the day.
type Cloud struct {
	store   *pebble.Store
	service *readings.Service
	told    chan told
	back    chan message
	verdict chan message
	now     atomic.Pointer[time.Time] // in the day, when the latest was told
	end     context.CancelFunc
	works   sync.WaitGroup

	mu sync.Mutex // one at a time
}

type told struct {
	body []byte
	now  time.Time // in the day
}

// message is what goes over the link.
type message struct {
	topic   string
	payload []byte
}

// thing is the node that tells.
const thing = "node"

// OpenCloud opens a cloud in an empty directory. It has to be called outside the bubble.
func OpenCloud(dir string) (*Cloud, error) {
	store, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	c := &Cloud{store: store, told: make(chan told), back: make(chan message), verdict: make(chan message, 1), end: end}
	c.service, err = readings.New(readings.Config{Sink: store, Store: store, Publisher: c, Now: func() time.Time { return *c.now.Load() }})
	if err != nil {
		end()
		return nil, errors.Join(err, store.Close())
	}
	c.works.Go(func() { _ = store.Run(ctx) }) // ends with ctx
	c.works.Go(func() {
		for t := range c.told {
			c.back <- c.take(ctx, t)
		}
	})
	return c, nil
}

// Close closes it, outside the bubble.
func (c *Cloud) Close() error {
	close(c.told)
	c.end()
	c.works.Wait()
	return c.store.Close()
}

// tell hands a batch over, and returns the verdict.
func (c *Cloud) tell(body []byte) message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told <- told{body, time.Now()}
	return <-c.back
}

// take deals with a batch, as the broker would have it done.
func (c *Cloud) take(ctx context.Context, t told) message {
	c.now.Store(&t.now)
	done := make(chan error, 1)
	c.service.Handle(ctx, identity.Principal{Kind: identity.Thing, Name: thing}, wire.Readings{Thing: thing}, true, t.body, func(err error) { done <- err })
	<-done
	return <-c.verdict // it was given before
}

// Publish implements readings.Publisher.
func (c *Cloud) Publish(topic string, payload []byte) { c.verdict <- message{topic, payload} }

// errUnordered: what the store gives isn't in order, or there twice.
var errUnordered = errors.New("the cloud has a row twice, or not in its place")

// rows gives every row that the cloud has of a policy, outside the bubble.
func (c *Cloud) rows(ctx context.Context, policy string, each func(r *readings.Row)) error {
	seen := make(map[readings.Position]bool)
	var twice error
	err := c.store.Scan(ctx, readings.Scan{Policy: readings.Policy{Node: thing, Name: policy}, From: dawn.AddDate(0, 0, -1), To: dawn.AddDate(0, 0, 3)}, func(r *readings.Row) bool {
		at := readings.Position{Meter: r.Meter, At: r.At}
		if seen[at] {
			twice = errUnordered
		}
		seen[at] = true
		each(r)
		return true
	})
	return errors.Join(err, twice)
}
