package mqtt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Limits of what is kept of a broker.
const (
	maxTopics  = 2 * schema.MaxPolicyTopics // listened to
	maxPaths   = schema.MaxItems            // of one topic
	maxPayload = 64 << 10                   // bytes that are looked through
	forgotten  = 25 * time.Hour             // after which a topic that no poll has asked for is let go: a period is a day at most
)

// broker is a connection, and the latest that was heard over it.
type broker struct {
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{}
	kick   chan struct{} // there are topics that aren't listened to yet

	mu       sync.Mutex
	source   schema.Source
	released bool
	up       bool      // connected, and told what to listen to
	since    time.Time // it is up, or down
	problem  error     // why it is down
	topics   map[string]*topic
	changed  chan struct{} // closed when something did
}

// topic is one that is listened to.
type topic struct {
	asked   time.Time        // by a poll, last
	due     bool             // it has to be subscribed to, to begin with or for what is retained
	heard   time.Time        // since when it is listened to; zero = it isn't yet
	refused error            // by the broker
	paths   map[string]heard // what is taken out of its payloads
}

var (
	errReleased = errors.New("released")
	errMany     = fmt.Errorf("%w: more than %d topics, or %d paths of one, on this broker", collect.ErrBusy, maxTopics, maxPaths)
)

func newBroker(cfg Config, s schema.Source) *broker {
	return &broker{
		cfg: cfg, source: s, done: make(chan struct{}), kick: make(chan struct{}, 1), changed: make(chan struct{}),
		topics: make(map[string]*topic), since: time.Now(), problem: errConnecting,
	}
}

var errConnecting = errors.New("connecting")

func (b *broker) start() {
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(context.Background())
	go func() { defer close(b.done); b.run(ctx) }()
}

func (b *broker) stop() {
	b.update(func() { b.released = true })
	b.cancel()
	<-b.done
}

// update changes something, and wakes who waits for it.
func (b *broker) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.changed)
	b.changed = make(chan struct{})
}

// poll gives the latest values of a meter's items, after it has waited for what may
// be on its way: the connection, and the first message of a topic.
func (b *broker) poll(ctx context.Context, r collect.Request, values map[string]collect.Value) error {
	listening := b.listen(r)
	for {
		until, changed, down := b.look(r, values)
		if changed == nil {
			return errReleased
		}
		wait := time.Until(until)
		if wait <= 0 {
			if down == nil && listening != nil {
				return listening
			}
			return b.verdict(down, r, values)
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			clear(values)
			return ctx.Err()
		}
		timer.Stop()
	}
}

// look takes what there is of a meter's items: until when to wait for more, what tells
// of more, nil once released, and why there is no connection.
func (b *broker) look(r collect.Request, values map[string]collect.Value) (until time.Time, changed <-chan struct{}, down error) {
	b.mu.Lock()
	defer b.mu.Unlock() // also when a value makes it panic
	if b.released {
		return until, nil, nil
	}
	return b.complete(r, values), b.changed, b.down()
}

// verdict is what is to be said of the meter as a whole: an error if nothing of it
// could be had.
func (b *broker) verdict(down error, r collect.Request, values map[string]collect.Value) error {
	if down != nil {
		clear(values)
		return down
	}
	var first error
	for _, it := range r.Items {
		v := values[it.Name]
		if v.Err == nil || !errors.Is(v.Err, collect.ErrTimeout) {
			return nil
		}
		if first == nil {
			first = v.Err
		}
	}
	return first
}

// down returns why the connection isn't up; nil: it is. The broker must be locked.
func (b *broker) down() error {
	if b.up {
		return nil
	}
	if errors.Is(b.problem, collect.ErrCredentials) {
		return b.problem
	}
	return fmt.Errorf("%w: %w", collect.ErrLink, b.problem)
}

// listen makes sure that the topics of a poll are listened to.
func (b *broker) listen(r collect.Request) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.source = r.Source
	due := false
	for _, it := range r.Items {
		name := it.TopicOf(r.Meter)
		t := b.topics[name]
		if t == nil {
			if len(b.topics) >= maxTopics {
				maps.DeleteFunc(b.topics, func(_ string, t *topic) bool { return time.Since(t.asked) > forgotten })
			}
			if len(b.topics) >= maxTopics {
				err = errMany
				continue
			}
			t = &topic{paths: make(map[string]heard)}
			b.topics[name] = t
		}
		t.asked = time.Now()
		if _, known := t.paths[it.Path]; !known {
			if len(t.paths) >= maxPaths {
				err = errMany
				continue
			}
			t.paths[it.Path] = heard{}
			t.due, t.heard = true, time.Time{}
			due = true
		}
	}
	if due {
		select {
		case b.kick <- struct{}{}:
		default:
		}
	}
	return err
}

// complete fills in what is known, and returns until when something more may come.
// The broker must be locked.
func (b *broker) complete(r collect.Request, values map[string]collect.Value) (until time.Time) {
	patience, now := r.Source.Timeout.D(), time.Now()
	if !b.up {
		if errors.Is(b.problem, collect.ErrCredentials) {
			return until // it won't be otherwise soon
		}
		return b.since.Add(patience)
	}
	for _, it := range r.Items {
		t := b.topics[it.TopicOf(r.Meter)]
		if t == nil {
			values[it.Name] = collect.Value{At: now, Err: errMany}
			continue
		}
		h, known := t.paths[it.Path]
		l := h.latest(r.Source.Retained)
		switch {
		case !known:
			values[it.Name] = collect.Value{At: now, Err: errMany}
		case t.refused != nil:
			values[it.Name] = collect.Value{At: now, Err: t.refused}
		case l.at.IsZero():
			values[it.Name] = collect.Value{At: now, Err: h.none(it.TopicOf(r.Meter))}
			since := t.heard
			if since.IsZero() {
				since = b.since
				if t.asked.After(since) {
					since = t.asked
				}
			}
			if limit := since.Add(patience); limit.After(until) {
				until = limit
			}
		default:
			values[it.Name] = l.value(it, r.Source.MaxAge.D(), now)
		}
	}
	return until
}
