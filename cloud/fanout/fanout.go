package fanout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Channels is how many there are. What is about one thing, or one client, goes
// over one of them, which keeps it in order.
const Channels = 16

// Transport carries frames to all replicas, the sender's own included, at most
// once and in order for each channel.
type Transport interface {
	// Send sends frames, by channel; those it returns errors for may or may not
	// arrive.
	Send(ctx context.Context, frames map[int][]byte) map[int]error
	// Receive hands out what arrives until ctx ends, from one goroutine for each
	// channel at most.
	Receive(ctx context.Context, r Receiver) error
}

// Receiver is who a Transport hands to. Channels are down until they are said to
// stand.
type Receiver interface {
	// Take takes a frame.
	Take(channel int, frame []byte)
	// Stand says that all that is sent over channels arrives from now on, or with
	// an error that it doesn't, and why.
	Stand(channels []int, err error)
}

// Local is what happens at this replica. None of it may block for long.
type Local interface {
	// Deliver tells clients and watchers of another replica's change.
	Deliver(notice []byte) error
	// MissedNotices says that some were lost.
	MissedNotices()
}

// Words hears what other replicas tell of changes that all have heard of. None of
// it may block.
type Words interface {
	Hear(word []byte) error
	// Elsewhere says that a client has connected to another replica.
	Elsewhere(clientID string)
	// MissedWords says that some were lost.
	MissedWords()
}

// deaf is who hears no words.
type deaf struct{}

func (deaf) Hear([]byte) error { return nil }
func (deaf) Elsewhere(string)  {}
func (deaf) MissedWords()      {}

// Config is what a Fanout stands on. Zero fields have the defaults given.
type Config struct {
	Transport  Transport
	Queue      int           // messages that wait to be sent; default 8192
	QueueBytes int           // their size; default 16 MiB
	Heartbeat  time.Duration // after which an empty frame ends a silence; default 2s
	Log        *slog.Logger
	Metrics    prometheus.Registerer // nil: not exported
}

// Fanout is one replica's end. Send and Connected are safe for concurrent use
// and never block; SetLocal comes before Run.
type Fanout struct {
	cfg      Config
	self     origin
	local    Local
	takeOver func(clientID string)
	words    Words
	metrics  *metrics

	queue  chan item
	queued atomic.Int64 // bytes in queue
	gaps   [Channels]atomic.Bool

	mu      sync.Mutex
	claims  map[string]int                // clients whose word hasn't come back yet
	numbers [Channels]map[origin]uint64   // of the last frame of each sender
	unsent  [Channels]map[string]struct{} // clients whose word couldn't be sent
	alive   map[origin]time.Time          // when a sender was last heard on any channel
	stands  [Channels]standing
	whole   chan struct{} // closed once every channel has stood
}

// standing is the state of a channel's subscription.
type standing struct {
	before bool      // it has stood
	down   error     // why it doesn't stand; nil: it does
	since  time.Time // it is down
}

var errNotYet = errors.New("not subscribed yet")

type item struct {
	channel int
	entry   entry
}

const (
	maxBatch   = 1 << 20 // bytes that are sent at once
	maxClaims  = 100_000 // clients; beyond, a session may outlive its client until its keep-alive ends
	maxOrigins = 1024    // senders remembered; replicas that came and went
)

// New returns a Fanout that isn't running.
func New(cfg Config) (*Fanout, error) {
	if cfg.Transport == nil {
		return nil, errors.New("fanout: a transport is needed")
	}
	if cfg.Queue == 0 {
		cfg.Queue = 8192
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 16 << 20
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fanout{cfg: cfg, queue: make(chan item, cfg.Queue), claims: make(map[string]int), takeOver: func(string) {}, words: deaf{}}
	f.alive, f.whole = make(map[origin]time.Time), make(chan struct{})
	if _, err := rand.Read(f.self[:]); err != nil {
		return nil, fmt.Errorf("fanout: %w", err)
	}
	for i := range f.numbers {
		f.stands[i].down = errNotYet
		f.numbers[i], f.unsent[i] = make(map[origin]uint64), make(map[string]struct{})
	}
	f.metrics = newMetrics(cfg.Metrics)
	return f, nil
}

// SetLocal says who gets what arrives. takeOver ends the session of a client
// that has connected to another replica. They aren't known to New, because they
// themselves send through the Fanout.
func (f *Fanout) SetLocal(l Local, takeOver func(clientID string)) { f.local, f.takeOver = l, takeOver }

// SetWords says who hears words. It comes before Run.
func (f *Fanout) SetWords(w Words) { f.words = w }

// Tell takes a word about a thing for the other replicas. After a notice about
// that thing, it arrives after it. It never blocks.
func (f *Fanout) Tell(thing string, word []byte) {
	f.put(item{channelOf(thing), entry{kindWord, word}})
}

func channelOf(name string) int { return int(xxhash.Sum64String(name) % Channels) }

// Send implements twin.Replicas.
func (f *Fanout) Send(thing string, notice []byte) {
	f.put(item{channelOf(thing), entry{kindNotice, notice}})
}

// Connected says that a client has connected here. Whoever says it last has it:
// all replicas hear it in the same order, and one that hears of another's client
// keeps its own only if its own word is still to come.
func (f *Fanout) Connected(clientID string) {
	f.mu.Lock()
	if len(f.claims) < maxClaims {
		f.claims[clientID]++
	}
	f.mu.Unlock()
	f.put(item{channelOf(clientID), entry{kindConnected, []byte(clientID)}})
}

func (f *Fanout) put(i item) {
	if f.queued.Add(int64(len(i.entry.body))) <= int64(f.cfg.QueueBytes) {
		select {
		case f.queue <- i:
			return
		default:
		}
	}
	f.queued.Add(-int64(len(i.entry.body)))
	f.metrics.dropped.Inc()
	f.gaps[i.channel].Store(true) // the next frame's number tells the others
	if i.entry.kind == kindConnected {
		f.keep(i)
	}
}

// keep remembers word of a client for when it can be sent.
func (f *Fanout) keep(i item) {
	f.mu.Lock()
	if unsent := f.unsent[i.channel]; len(unsent) < maxClaims/Channels {
		unsent[string(i.entry.body)] = struct{}{}
	}
	f.mu.Unlock()
}

// Run sends and receives until ctx ends.
func (f *Fanout) Run(ctx context.Context) error {
	if f.local == nil {
		return errors.New("fanout: nobody to deliver to")
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { f.send(ctx); return nil })
	g.Go(func() error { return f.cfg.Transport.Receive(ctx, ears{f}) })
	return g.Wait()
}
