package external

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho/session/state"

	"gnomon/cloud/identity"
	"gnomon/shadow/wire"
)

// Shadows is what the broker needs of the shadow service.
type Shadows interface {
	// Handle serves one request and calls done once: with nil when it may be
	// acknowledged. body is not kept.
	Handle(ctx context.Context, p identity.Principal, t wire.Topic, body []byte, done func(error))
}

// Readings takes what nodes say of readings.
type Readings interface {
	// Handle serves one message, a batch or an answer, and calls done once, when it
	// may be acknowledged. body is not kept.
	Handle(ctx context.Context, p identity.Principal, t wire.Readings, batch bool, body []byte, done func(error))
}

// ErrUnsuitable: the broker lacks what can't be done without: MQTT 5, shared
// subscriptions, quality of service 1.
var ErrUnsuitable = errors.New("the broker can't serve shadows")

// errStarting is why a Broker isn't ready before it first was.
var errStarting = errors.New("not connected yet")

// Broker is the cloud's end of an external broker.
type Broker struct {
	cfg      Config
	address  address
	shadows  Shadows
	readings Readings // nil: nobody takes them
	queue    *queue
	metrics  *metrics
	state    *state.State // of our messages that the broker has yet to acknowledge; outlives connections
	room     chan struct{}
	lanes    []chan request
	draining atomic.Bool
	drained  chan struct{}           // closed when what was under way is dealt with
	used     [2]atomic.Bool          // by place in spellings: what the broker lets us serve
	session  atomic.Pointer[session] // nil: not connected
	problem  atomic.Pointer[error]   // why not; nil: all is well
	said     atomic.Int64            // when a refusal was logged last, in nanoseconds
}

// lanes is how many requests are handed to the service at once. Those of one
// thing go one after the other.
const lanes = 32

// New checks the configuration and returns a Broker that isn't connected. What
// it complains of is an ErrConfig.
func New(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a, err := parseURL(cfg.URL)
	if err == nil {
		err = cfg.Login.validate(a.tls)
	}
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, address: a, state: state.NewInMemory(), room: make(chan struct{}, cfg.InFlight), drained: make(chan struct{})}
	b.queue = newQueue(cfg.Queue, cfg.QueueBytes, func(n int) { b.metrics.dropped.Add(float64(n)) })
	for i, s := range spellings {
		b.used[i].Store(cfg.Topics.wants(s.topics))
	}
	for range lanes {
		b.lanes = append(b.lanes, make(chan request, cfg.InFlight))
	}
	b.problem.Store(&errStarting)
	b.metrics = newMetrics(cfg.Metrics, b)
	return b, nil
}

// SetShadows names the shadow service, which itself publishes through the
// broker. It must be called before Run.
func (b *Broker) SetShadows(s Shadows) { b.shadows = s }

// SetReadings names who takes readings. It must be called before Run.
func (b *Broker) SetReadings(r Readings) { b.readings = r }

// Address is host:port of the broker.
func (b *Broker) Address() string { return b.address.hostPort }

// Ready tells why the broker can't be reached; nil when requests are taken.
func (b *Broker) Ready() error {
	if p := b.problem.Load(); p != nil {
		return fmt.Errorf("mqtt broker %s: %w", b.address.hostPort, *p)
	}
	return nil
}

// Publish implements twin.Publisher: quality of service 1. It doesn't block:
// when too much waits the oldest is dropped.
func (b *Broker) Publish(topic string, payload []byte) { b.queue.publish(topic, payload) }

// Subscribed implements twin.Publisher. Who listens only the broker knows: so it
// says yes for every spelling that is served.
func (b *Broker) Subscribed(topic string) bool {
	of := spelled(topic)
	for i, s := range spellings {
		if s.topics == of {
			return b.used[i].Load()
		}
	}
	return false
}

// Run connects, and again whenever the connection is lost, until ctx ends. Then
// it finishes what is under way. It returns ErrUnsuitable when the broker turns
// out to be so before anything was served.
func (b *Broker) Run(ctx context.Context) error {
	if b.shadows == nil {
		return errors.New("external broker: no shadow service")
	}
	// What is under way is finished when ctx has ended.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	for _, requests := range b.lanes {
		all.Go(func() { b.serve(working, requests) })
	}
	err := b.keepConnected(ctx)
	stop()
	all.Wait()
	return errors.Join(err, b.state.Close())
}

// steady is how long a connection must have lasted for the next one to be tried
// at once.
const steady = 10 * time.Second

func (b *Broker) keepConnected(ctx context.Context) error {
	pause, served, short := b.cfg.BackoffMin, false, 0
	for {
		began := time.Now()
		ready, err := b.connected(ctx)
		served = served || ready
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because it was to
		}
		if errors.Is(err, ErrUnsuitable) && !served {
			return fmt.Errorf("mqtt broker %s: %w", b.address.hostPort, err)
		}
		switch {
		case time.Since(began) > steady:
			pause, short = b.cfg.BackoffMin, 0
		case ready:
			short++
		}
		if short >= 3 { // mosquitto doesn't say why
			err = fmt.Errorf("%w; it lasts for moments only: does another client have the client id %s?", err, b.cfg.ClientID)
		}
		b.problem.Store(&err)
		// Decorrelated jitter: replicas that lost their broker together come back apart.
		pause = min(b.cfg.BackoffMax, b.cfg.BackoffMin+rand.N(max(1, 3*pause-b.cfg.BackoffMin)))
		b.cfg.Log.Warn("mqtt broker is out of reach", "broker", b.address.hostPort, "error", err, "again in", pause.Round(time.Millisecond))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// connected is one connection from the dial to its loss. ready tells whether
// requests were taken over it.
func (b *Broker) connected(ctx context.Context) (ready bool, err error) {
	turn := newTurn(b)
	s, shares, err := b.open(ctx, turn)
	if err != nil {
		return false, err
	}
	defer s.end()
	b.session.Store(s)
	defer b.session.Store(nil)
	b.cfg.Log.Info("mqtt broker", "address", b.address.hostPort, "client", b.cfg.ClientID, "group", b.cfg.Group, "resumed", s.resumed)
	var taking sync.WaitGroup
	defer taking.Wait()
	if shares {
		b.problem.Store(nil)
	} else {
		b.problem.Store(&errNobody)
		taking.Go(func() { turn.run(ctx, s, func() { b.problem.CompareAndSwap(&errNobody, nil) }) })
	}
	select {
	case <-ctx.Done():
		late := time.NewTimer(b.cfg.Timeout)
		defer late.Stop()
		b.drain(s, late.C)
		taking.Wait()
		s.leave(late.C)
		return true, ctx.Err()
	case <-s.conn.gone:
	}
	return true, s.cause()
}

// errNobody is why a Broker isn't ready while no replica serves what the broker
// can't share.
var errNobody = errors.New("nobody serves the topics below $aws/ yet")

// open connects and subscribes. shares tells whether all that is served is
// served by this connection, or else some by turns.
func (b *Broker) open(ctx context.Context, t *turn) (s *session, shares bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	s, err = b.connect(ctx, role{clientID: b.cfg.ClientID, expiry: b.cfg.SessionExpiry, state: b.state, publishes: true, tidings: t.tidings})
	if err != nil {
		return nil, false, err
	}
	shares = true
	var unshared Topics
	if !b.cfg.Alone && b.cfg.Topics.wants(TopicsAWS) {
		if shares, err = s.sharesDollar(ctx, t); err == nil && !shares {
			unshared = TopicsAWS
			_, err = s.subscribe(ctx, 0, []string{t.topic})
		}
	}
	if err == nil {
		err = s.requests(ctx, unshared)
	}
	if err == nil && b.readings != nil {
		err = s.subscribeReadings(ctx)
	}
	if err != nil {
		s.end()
		return nil, false, err
	}
	return s, shares, nil
}

// drain takes no more requests, which the broker keeps then, and waits until
// those under way are dealt with.
func (b *Broker) drain(s *session, late <-chan time.Time) {
	b.draining.Store(true)
	defer close(b.drained)
	for range b.cfg.InFlight {
		select {
		case b.room <- struct{}{}:
		case <-late:
			return
		case <-s.conn.gone:
			return
		}
	}
}
