package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/mqttguard"
	"gnomon/shadow/wire"
)

// session is one connection.
type session struct {
	client *paho.Client
	conn   *mqttguard.Upstream
	errs   chan error // why it ended
	link   *Link

	// The rest is guarded by Link.mu.
	since      time.Time
	synced     bool              // a sync was answered on it
	told       bool              // Traffic knows
	mute       bool              // it may not subscribe, so that it goes without; set before the session begins
	asked      *question         // the sync in flight
	again      bool              // ask again once that is answered
	syncAt     time.Time         // of the next sync
	unanswered int               // syncs in a row
	unwritten  int               // answers in a row that the disk did not take
	buried     map[string]uint64 // versions of the deletions heard of since the last sync went out
}

// connect dials, says hello and subscribes. Sessions start clean: the sync that
// follows finds everything a kept session would have delivered, and more.
//
// The library's own reconnecting client is not used: it hides which connection
// a message came by, and an answer counts only for the connection it was asked
// on. Messages are acknowledged when their handler returns, in order, and the
// handler writes first; its manual acknowledgement would send the same ones up
// to 50 ms later, off a ticker that never stops.
func (l *Link) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	nc, err := l.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: newConn(nc, l.cfg.Timeout, &l.counters), errs: make(chan error, 2), link: l, buried: map[string]uint64{}}
	s.client = paho.NewClient(paho.ClientConfig{
		ClientID:          l.cfg.Node,
		Conn:              s.conn,
		PacketTimeout:     l.cfg.Timeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){s.received},
		OnClientError:     s.failed,
		OnServerDisconnect: func(d *paho.Disconnect) {
			reason := ""
			if d.Properties != nil {
				reason = d.Properties.ReasonString
			}
			s.failed(fmt.Errorf("the broker ended the session, code %#x %s", d.ReasonCode, reason))
		},
	})
	quota, largest := uint16(receiveQuota), uint32(maxPacket)
	ack, err := s.client.Connect(ctx, &paho.Connect{
		ClientID: l.cfg.Node, CleanStart: true, KeepAlive: uint16(l.cfg.KeepAlive / time.Second),
		Properties: &paho.ConnectProperties{ReceiveMaximum: &quota, MaximumPacketSize: &largest, RequestProblemInfo: true},
	})
	if err != nil {
		if ack != nil {
			return nil, fmt.Errorf("refused with code %#x: %w", ack.ReasonCode, err)
		}
		return nil, err
	}
	if _, err := s.client.Subscribe(ctx, l.subscriptions()); err != nil {
		s.end(ctx)
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if err := l.subscribeTraffic(ctx, s); err != nil {
		if ctx.Err() != nil {
			s.end(ctx)
			return nil, fmt.Errorf("subscribe beside shadows: %w", err)
		}
		s.mute = true
		l.note(fmt.Errorf("subscribe beside shadows: %w", err)) // a broker may allow shadows and nothing else
	}
	return s, nil
}

// subscriptions are eight at most, as the contract has it for one request.
func (l *Link) subscriptions() *paho.Subscribe {
	sync, update, named := l.topic, l.topic, l.topic
	sync.Op, update.Op, named.Op = wire.OpSync, wire.OpUpdate, wire.OpUpdate
	named.Shadow = "+"
	sub := new(paho.Subscribe)
	for _, filter := range []string{
		sync.Accepted(), sync.Rejected(),
		update.Desired(), update.Accepted(), update.Rejected(),
		named.Desired(), named.Accepted(), named.Rejected(),
	} {
		sub.Subscriptions = append(sub.Subscriptions, paho.SubscribeOptions{Topic: filter, QoS: 1, RetainHandling: 2})
	}
	return sub
}

func (s *session) failed(err error) {
	select {
	case s.errs <- err:
	default:
	}
}

var errLost = errors.New("connection lost")

// cause tells why the client ended. The library says so just after it has.
func (s *session) cause() error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case err := <-s.errs:
		return fmt.Errorf("%w: %w", errLost, err)
	case <-timer.C:
		return errLost
	}
}

// end closes the connection, politely if the agent is asked to stop, and waits
// until the client's goroutines are gone.
func (s *session) end(ctx context.Context) {
	if ctx.Err() == nil {
		s.conn.Close()
	}
	_ = s.client.Disconnect(&paho.Disconnect{})
	<-s.client.Done()
}

// publish hands a request to the connection. That it arrived is told by its
// answer, so the broker's acknowledgement isn't waited for.
func (s *session) publish(ctx context.Context, m message) error {
	_, err := s.client.PublishWithOptions(ctx, &paho.Publish{QoS: 1, Topic: m.topic, Payload: m.payload},
		paho.PublishOptions{Method: paho.PublishMethod_AsyncSend})
	return err
}

// received handles one message; the library acknowledges it when this returns.
// What could not be written must not be acknowledged, so the connection is cut:
// the next one begins with a sync.
func (s *session) received(p paho.PublishReceived) (bool, error) {
	if err := s.link.receive(s, p.Packet.Topic, p.Packet.Payload); err != nil {
		s.link.note(err)
		s.link.cfg.Log.Error("message could not be taken", "topic", p.Packet.Topic, "error", err)
		s.conn.Close()
	}
	signal(s.link.kick)
	return true, nil
}
