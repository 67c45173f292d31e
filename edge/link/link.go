package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"gnomon/shadow/wire"
)

// Link is a node's side of the shadows. New makes it from disk, Run connects it.
type Link struct {
	cfg      Config
	topic    wire.Topic // of the classic shadow
	counters Counters

	changed chan struct{} // what is wanted changed
	kick    chan struct{} // there may be something to send
	dirty   chan struct{} // there may be something to write

	disk sync.Mutex // one change of desired sections at a time, on disk and then here; taken before mu

	mu       sync.Mutex
	replicas map[string]*replica
	complete bool
	interval time.Duration // between syncs
	session  *session      // nil while offline
	seq      uint64        // of the last report under this boot epoch
	tokens   uint64
	lastSync time.Time
	lost     time.Time // when the last connection ended

	forgotten []string // shadows dropped that are still on disk
	problem   error    // the last thing that went wrong
}

// New reads the replicas from disk. It starts nothing.
func New(cfg Config) (*Link, error) {
	if !wire.ValidThing(cfg.Node) {
		return nil, fmt.Errorf("node name %q must be 1 to 128 of a-z, A-Z, 0-9, :, _ and -", cfg.Node)
	}
	l := &Link{
		cfg:      cfg.withDefaults(),
		topic:    wire.Topic{Thing: cfg.Node},
		changed:  make(chan struct{}, 1),
		kick:     make(chan struct{}, 1),
		dirty:    make(chan struct{}, 1),
		replicas: make(map[string]*replica),
	}
	if err := l.load(); err != nil {
		return nil, err
	}
	return l, nil
}

// signal raises a level.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run keeps connected and the outbox on disk until ctx ends; then it returns nil.
func (l *Link) Run(ctx context.Context) error {
	var saving sync.WaitGroup
	saving.Go(func() { l.save(ctx) })
	defer saving.Wait()
	pause := l.cfg.BackoffMin
	for {
		began := l.cfg.Now()
		synced, err := l.connected(ctx)
		if ctx.Err() != nil {
			return nil
		}
		l.cfg.Log.Warn("cloud is out of reach", "error", err, "synced", synced, "after", l.cfg.Now().Sub(began).Round(time.Millisecond))
		if synced {
			pause = l.cfg.BackoffMin
		}
		// Decorrelated jitter: a fleet that lost its cloud together comes back apart.
		pause = min(l.cfg.BackoffMax, l.cfg.BackoffMin+rand.N(max(1, 3*pause-l.cfg.BackoffMin)))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// connected is one connection from the dial to its loss.
func (l *Link) connected(ctx context.Context) (synced bool, err error) {
	s, err := l.connect(ctx)
	if err != nil {
		l.counters.Failures.Add(1)
		l.note(fmt.Errorf("connect: %w", err))
		return false, err
	}
	l.counters.Connects.Add(1)
	l.begin(s)
	err = l.serve(ctx, s)
	s.end(ctx)
	synced = l.offline(s)
	l.lostTraffic(s)
	if err != nil {
		l.note(err)
	}
	return synced, err
}

func (l *Link) begin(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.since = l.cfg.Now()
	s.syncAt = s.since
	l.session = s
}

// offline gives up what was on its way: whether it arrived, the next sync tells.
func (l *Link) offline(s *session) (synced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.lost = nil, l.cfg.Now()
	for _, r := range l.replicas {
		if r.flight != nil {
			r.giveUp()
			r.doubt = true
		}
	}
	return s.synced
}

// serve sends what is due until the connection is lost or ctx ends.
func (l *Link) serve(ctx context.Context, s *session) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake, err := l.send(ctx, s)
		if err != nil {
			return err
		}
		timer.Reset(wake)
		select {
		case <-ctx.Done():
			return nil
		case <-s.client.Done():
			return s.cause()
		case <-l.kick:
		case <-timer.C:
		}
	}
}

// message is a request on its way out.
type message struct {
	topic   string
	payload []byte
}

// send publishes what is due and tells how long nothing else will be.
func (l *Link) send(ctx context.Context, s *session) (wake time.Duration, err error) {
	l.mu.Lock()
	now := l.cfg.Now()
	l.expire(s, now)
	var out []message
	if s.asked == nil && !now.Before(s.syncAt) {
		out = append(out, l.ask(s, now))
	}
	if s.synced {
		out = append(out, l.withdrawals(now)...)
		out = append(out, l.reports(now)...)
	}
	next := l.nextDue(s, now)
	l.mu.Unlock()
	for _, m := range out {
		if err := s.publish(ctx, m); err != nil {
			return 0, fmt.Errorf("publish %s: %w", m.topic, err)
		}
	}
	if more, err := l.traffic(ctx, s); more || err != nil {
		return again, err
	}
	return max(0, next.Sub(now)), nil
}

// nextDue is when send has to look again if nothing happens before.
func (l *Link) nextDue(s *session, now time.Time) time.Time {
	next := now.Add(l.interval * 2)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if s.asked != nil {
		sooner(s.asked.expires)
	} else {
		sooner(s.syncAt)
	}
	for _, r := range l.replicas {
		if r.flight != nil {
			sooner(r.flight.expires)
		} else if r.notBefore.After(now) && r.pending() {
			sooner(r.notBefore)
		}
	}
	return next
}

// token returns a client token that no other request of this run has.
func (l *Link) token() string {
	l.tokens++
	return strconv.FormatUint(l.cfg.Store.BootEpoch(), 36) + "-" + strconv.FormatUint(l.tokens, 36)
}

// jittered spreads d by ±20 %.
func jittered(d time.Duration) time.Duration { return d*4/5 + rand.N(max(1, d*2/5)) }

// backoff is the pause after a number of failures in a row.
func backoff(failures int, most time.Duration) time.Duration {
	return jittered(min(most, time.Second<<min(max(0, failures), 20)))
}

// note remembers what went wrong, for the status.
func (l *Link) note(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem = err
}

// fail is note for those who hold mu, and logs.
func (l *Link) fail(message string, err error) {
	l.problem = fmt.Errorf("%s: %w", message, err)
	l.cfg.Log.Warn("link", "problem", message, "error", err)
}
