package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"gnomon/shadow/wire"
	"gnomon/simulator/cloudapi"
	"gnomon/simulator/mqtt"
)

// stall is how long an answer may take before the write's fate counts as
// unknown. It is far beyond a restart, so that only a dead process is to blame.
const stall = 30 * time.Second

// updater writes one slot, one value after the other, until its context ends.
type updater struct {
	slot   Slot
	ledger *Ledger
	random *rand.Rand
	pause  time.Duration // mean time between two writes
}

func (u *updater) body(n uint32) []byte {
	token := u.slot.Token(n)
	return fmt.Appendf(nil, `{"state":{%q:{%q:%q}},"clientToken":%q}`, u.slot.Section, u.slot.Key(), token, token)
}

// wait sleeps a random time of mean d, or until ctx ends.
func (u *updater) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(time.Duration(u.random.ExpFloat64() * float64(d)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// retryPause is the mean pause after the cloud could not be reached.
const retryPause = 20 * time.Millisecond

// overREST writes through the data plane.
func (u *updater) overREST(ctx context.Context, api *cloudapi.Client) {
	s := u.slot.Shadow
	for ctx.Err() == nil {
		n := u.ledger.Attempt(u.slot)
		// A write in flight is not abandoned when ctx ends: its answer counts.
		a, err := api.UpdateShadow(context.WithoutCancel(ctx), s.Thing, s.Name, u.body(n))
		var status *cloudapi.StatusError
		switch {
		case err == nil:
			u.ledger.Version(s, a.Version, u.slot.Token(n))
			u.ledger.Settle(u.slot, n, Outcome{Acked: true, Answered: true})
			u.wait(ctx, u.pause)
		case errors.As(err, &status) && status.Status < http.StatusInternalServerError:
			u.ledger.Settle(u.slot, n, Outcome{Refused: true})
			u.wait(ctx, retryPause)
		case neverSent(err):
			u.ledger.Settle(u.slot, n, Outcome{Refused: true})
			u.wait(ctx, retryPause)
		default:
			u.ledger.Settle(u.slot, n, Outcome{})
			u.wait(ctx, retryPause)
		}
	}
}

// neverSent reports that no connection was made, so that nothing was written.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// overMQTT writes as a device does, reconnecting whenever the link is lost.
func (u *updater) overMQTT(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		if err := u.session(ctx, addr); err != nil {
			u.wait(ctx, retryPause)
		}
	}
}

func (u *updater) session(ctx context.Context, addr string) error {
	nc, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	conn, err := mqtt.Connect(ctx, nc, mqtt.Options{ClientID: "crash-" + u.slot.Key(), Timeout: stall})
	if err != nil {
		return err
	}
	defer conn.Close()
	topic := wire.Topic{Thing: u.slot.Shadow.Thing, Shadow: u.slot.Shadow.Name, Op: wire.OpUpdate}
	if _, err := conn.Subscribe(1, topic.Accepted(), topic.Rejected()); err != nil {
		return err
	}
	if err := granted(conn); err != nil {
		return err
	}
	for ctx.Err() == nil {
		n := u.ledger.Attempt(u.slot)
		outcome, err := u.write(conn, topic, n)
		u.ledger.Settle(u.slot, n, outcome)
		if err != nil {
			return err
		}
		u.wait(ctx, u.pause)
	}
	return conn.Disconnect()
}

// granted waits for the answer to a subscription.
func granted(conn *mqtt.Conn) error {
	for {
		p, err := conn.Next()
		if err != nil {
			return err
		}
		if p.Type != mqtt.SUBACK {
			continue
		}
		for _, reason := range p.Reasons {
			if reason >= 0x80 {
				return &mqtt.RefusedError{Type: mqtt.SUBACK, Reason: reason}
			}
		}
		return nil
	}
}

// write publishes the nth value and reads until both the PUBACK and the answer
// are there, or the connection is lost.
func (u *updater) write(conn *mqtt.Conn, topic wire.Topic, n uint32) (Outcome, error) {
	var o Outcome
	id, err := conn.Publish(topic.Request(), u.body(n), 1)
	if err != nil {
		return o, err
	}
	accepted, rejected, token := topic.Accepted(), topic.Rejected(), u.slot.Token(n)
	for pubacked := false; ; {
		p, err := conn.Next()
		if err != nil {
			return o, err
		}
		switch {
		case p.Type == mqtt.PUBACK && p.ID == id:
			pubacked = true
			if p.Reason >= 0x80 {
				o.Refused = true
			} else {
				o.Acked = true
			}
		case p.Type == mqtt.PUBLISH:
			var answer cloudapi.Accepted
			if err := json.Unmarshal(p.Payload, &answer); err != nil {
				return o, fmt.Errorf("decode %s: %w", p.Topic, err)
			}
			if p.Topic == accepted {
				u.ledger.Version(u.slot.Shadow, answer.Version, answer.ClientToken)
			}
			if answer.ClientToken == token {
				o.Answered = o.Answered || p.Topic == accepted
				o.Acked = o.Acked || p.Topic == accepted
				o.Refused = o.Refused || p.Topic == rejected
			}
			if err := conn.Ack(p); err != nil {
				return o, err
			}
		}
		if pubacked && (o.Answered || o.Refused) {
			return o, nil
		}
	}
}
