package external

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// turn is how replicas agree on who serves topics that the broker can't share
// among them. There is one client id for it, and the broker lets only one
// connection have it: who connects last has the turn, and is sent whatever the
// one before didn't acknowledge. Who has it says so all the time; when that
// ceases the others wait for a moment, each for another one, and the first takes
// over. Two who take it at once cost each other a connection and nothing else.
type turn struct {
	broker *Broker
	topic  string        // of the beats
	beats  chan string   // heard: client ids of who has the turn, "" that it is free
	probed chan struct{} // the probe came back
	probe  string        // its topic
}

const (
	beat  = 500 * time.Millisecond // between the words of who has the turn
	hush  = 6 * beat               // silence after which it is free
	first = 2 * beat               // silence after which it is, for a replica that has never heard of anybody
)

func newTurn(b *Broker) *turn {
	return &turn{
		broker: b, topic: "gnomon/" + b.cfg.Group + "/turn", probe: "$aws/things/gnomon/shadow/probe/" + b.cfg.ClientID,
		beats: make(chan string, 16), probed: make(chan struct{}, 1),
	}
}

// tidings takes messages that are no requests.
func (t *turn) tidings(topic, payload string) bool {
	switch topic {
	case t.topic:
		select {
		case t.beats <- payload:
		default: // there are plenty
		}
		return true
	case t.probe:
		select {
		case t.probed <- struct{}{}:
		default:
		}
		return true
	}
	return false
}

// run takes the turn whenever it is free until the connection own ends. heard is
// called whenever somebody is known to have it.
func (t *turn) run(ctx context.Context, own *session, heard func()) {
	pause := t.broker.cfg.BackoffMin
	silence := first
	for t.free(ctx, own, silence, heard) {
		began := time.Now()
		err := t.take(ctx, own, heard)
		if ctx.Err() != nil || own.over() {
			return
		}
		t.broker.cfg.Log.Warn("no longer serving the topics that can't be shared", "error", err)
		if time.Since(began) > steady {
			pause = t.broker.cfg.BackoffMin
		}
		pause = min(t.broker.cfg.BackoffMax, t.broker.cfg.BackoffMin+rand.N(max(1, 3*pause-t.broker.cfg.BackoffMin)))
		silence = max(pause, first)
	}
}

// free waits until nobody has been heard of for some time; false when the
// connection ends first.
func (t *turn) free(ctx context.Context, own *session, silence time.Duration, heard func()) bool {
	timer := time.NewTimer(silence + rand.N(beat))
	defer timer.Stop()
	for {
		select {
		case who := <-t.beats:
			if who == "" {
				timer.Reset(rand.N(beat))
				continue
			}
			timer.Reset(hush + rand.N(2*beat))
			heard()
		case <-timer.C:
			return true
		case <-own.conn.gone:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// take serves what can't be shared until the connection for it ends.
func (t *turn) take(ctx context.Context, own *session, heard func()) error {
	b := t.broker
	connecting, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	s, err := b.connect(connecting, role{
		clientID: b.cfg.Group + "-turn", expiry: max(b.cfg.SessionExpiry, time.Hour), state: state.NewInMemory(), will: t.topic,
	})
	if err != nil {
		return err
	}
	defer s.end()
	refused, err := s.subscribe(connecting, 1, b.filters(spellings[0].prefix, false))
	for _, e := range refused {
		if err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	b.cfg.Log.Info("serving the topics that the broker can't share", "topics", string(TopicsAWS))
	heard()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		if err := t.say(ctx, s, b.cfg.ClientID); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-t.beats: // our own, or those of who takes it from us
		case <-s.conn.gone:
			return s.cause()
		case <-own.conn.gone:
			return own.cause()
		case <-ctx.Done():
			t.pass(s)
			return nil
		}
	}
}

// pass gives the turn up once what is under way is dealt with.
func (t *turn) pass(s *session) {
	late := time.NewTimer(t.broker.cfg.Timeout)
	defer late.Stop()
	select {
	case <-t.broker.drained:
	case <-late.C:
	}
	_ = t.say(context.Background(), s, "") // the others find out by themselves
	s.leave(late.C)
}

func (t *turn) say(ctx context.Context, s *session, who string) error {
	if _, err := s.client.Publish(ctx, &paho.Publish{Topic: t.topic, Payload: []byte(who)}); err != nil {
		return fmt.Errorf("say who serves: %w", err)
	}
	return nil
}
