package external

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

var errAnswer = errors.New("the answer doesn't fit the question")

// subscribe asks for what matches filters and returns why it isn't granted, one
// error for each filter.
func (s *session) subscribe(ctx context.Context, qos byte, filters []string) ([]error, error) {
	ctx, cancel := s.during(ctx)
	defer cancel()
	sub := new(paho.Subscribe)
	for _, f := range filters {
		sub.Subscriptions = append(sub.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: qos})
	}
	ack, err := s.client.Subscribe(ctx, sub)
	if s.over() {
		return nil, s.cause()
	}
	if ack == nil || len(ack.Reasons) != len(filters) {
		return nil, fmt.Errorf("subscribe: %w", cmp.Or(err, errAnswer))
	}
	refused := make([]error, len(filters))
	for i, code := range ack.Reasons {
		switch {
		case code == notSharedHere:
			return nil, errNotShared
		case code >= firstOfRefusal:
			refused[i] = fmt.Errorf("it refuses the subscription to %s: %s", filters[i], reasonText(code, ack.Properties.ReasonString))
		case code < qos:
			refused[i] = fmt.Errorf("%w: it grants only quality of service %d to %s", ErrUnsuitable, code, filters[i])
		}
	}
	return refused, nil
}

// requests asks for the requests of all spellings that are wanted, but for those
// that can't be shared. One may be refused if the other isn't: some brokers keep $
// to themselves.
func (s *session) requests(ctx context.Context, unshared Topics) error {
	b := s.broker
	var all []string
	var of []int
	for i, spelling := range spellings {
		if b.cfg.Topics.wants(spelling.topics) && spelling.topics != unshared {
			for _, f := range b.filters(spelling.prefix, !b.cfg.Alone) {
				all, of = append(all, f), append(of, i)
			}
		}
	}
	var refused [2]error
	if len(all) > 0 {
		each, err := s.subscribe(ctx, 1, all)
		if err != nil {
			return err
		}
		for i, err := range each {
			if err != nil {
				refused[of[i]] = err
			}
		}
	}
	served := false
	for i, spelling := range spellings {
		ok := b.cfg.Topics.wants(spelling.topics) && refused[i] == nil
		b.used[i].Store(ok)
		served = served || ok
	}
	if !served {
		return errors.Join(refused[0], refused[1])
	}
	for i, err := range refused {
		if err != nil {
			b.cfg.Log.Warn("some topics are not served", "topics", string(spellings[i].topics), "error", err)
		}
	}
	return nil
}

// Filters of what nodes say of readings.
const (
	batchFilter  = "things/+/readings"
	answerFilter = "things/+/read/answer"
)

// subscribeReadings asks for what nodes say of readings: for a share of the batches,
// and for all answers, because each replica waits for those that it asked for. A
// broker that refuses costs the readings alone.
func (s *session) subscribeReadings(ctx context.Context) error {
	batches := batchFilter
	if !s.broker.cfg.Alone {
		batches = shared(s.broker.cfg.Group, batches)
	}
	refused, err := s.subscribe(ctx, 1, []string{batches, answerFilter})
	if err != nil {
		return err
	}
	if err := errors.Join(refused...); err != nil {
		s.broker.cfg.Log.Warn("readings are not taken", "error", err)
	}
	return nil
}

// probation is how long a message of our own may take to come back.
const probation = 2 * time.Second

// sharesDollar finds out whether the broker delivers topics that begin with $ to
// shared subscriptions. mosquitto accepts such subscriptions and delivers nothing.
func (s *session) sharesDollar(ctx context.Context, t *turn) (bool, error) {
	ctx, cancel := s.during(ctx)
	defer cancel()
	select {
	case <-t.probed: // of an earlier time
	default:
	}
	filter := shared(s.broker.cfg.Group+".probe."+s.clientID, t.probe)
	refused, err := s.subscribe(ctx, 0, []string{filter})
	if err != nil || refused[0] != nil {
		return err == nil, err // it refuses to subscribe to the others, too, and says so
	}
	defer func() { _, _ = s.client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{filter}}) }()
	answer, err := s.client.Publish(ctx, &paho.Publish{Topic: t.probe, QoS: 1, Payload: []byte("probe")})
	switch {
	case answer != nil && answer.ReasonCode == noSubscribers:
		return false, nil
	case answer != nil && answer.ReasonCode >= firstOfRefusal:
		return true, nil // not for us to find out
	case err != nil:
		return false, err
	}
	timer := time.NewTimer(probation)
	defer timer.Stop()
	select {
	case <-t.probed:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-s.conn.gone:
		return false, s.cause()
	}
}
