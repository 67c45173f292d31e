package external

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	pahosession "github.com/eclipse/paho.golang/paho/session"
)

// link is the library's session with acknowledgements of our own: its manual
// ones wait for a ticker.
type link struct {
	pahosession.SessionManager
	broker    *Broker
	publishes bool // the queue's messages
}

// Ack is called when a message was handed out; session.write acknowledges it
// when it has been dealt with.
func (l *link) Ack(*packets.Publish) error { return nil }

// PacketReceived looks at how the broker takes our messages, which the library
// tells nobody who doesn't wait.
func (l *link) PacketReceived(p *packets.ControlPacket, out chan<- *packets.Publish) error {
	err := l.SessionManager.PacketReceived(p, out)
	if a, ok := p.Content.(*packets.Puback); ok && l.publishes {
		l.broker.queue.landed(a.PacketID)
		if a.ReasonCode >= firstOfRefusal {
			l.broker.refusedMessage(a.ReasonCode)
		}
	}
	return err
}

// numberOf is the key of a context whose value is the number of the message that
// is being sent.
type numberOf struct{}

// AddToSession notes the packet by which a message goes out, which the library
// tells nobody else.
func (l *link) AddToSession(ctx context.Context, p pahosession.Packet, answer chan<- packets.ControlPacket) error {
	err := l.SessionManager.AddToSession(ctx, p, answer)
	if number, ok := ctx.Value(numberOf{}).(uint64); ok && err == nil {
		l.broker.queue.track(p.(*packets.Publish).PacketID, number) // nothing else has a number
	}
	return err
}

// ConAckReceived is when messages of the connection before are sent again, if the
// broker still knows of them.
func (l *link) ConAckReceived(w io.Writer, c *packets.Connect, a *packets.Connack) error {
	if l.publishes && !a.SessionPresent {
		l.broker.queue.anew()
	}
	return l.SessionManager.ConAckReceived(w, c, a)
}

// role is what a connection is for.
type role struct {
	clientID  string
	expiry    time.Duration
	state     pahosession.SessionManager
	publishes bool                             // the queue's messages
	will      string                           // topic of an empty message if the connection is lost; "" = none
	tidings   func(topic, payload string) bool // takes what is no request, of quality of service 0
}

// session is one connection.
type session struct {
	role
	broker    *Broker
	client    *paho.Client
	conn      *conn
	link      *link
	tail      *tail
	ledger    ledger
	resumed   bool // the broker knew us
	largest   int  // packet that the broker takes; 0 = any
	finishing atomic.Bool
	written   chan struct{}         // closed when there is nothing more to write
	reason    atomic.Pointer[error] // why it ended
	done      chan struct{}         // closed when reason is set
}

// connect dials and says hello. Requests that the broker kept come at once.
func (b *Broker) connect(ctx context.Context, r role) (*session, error) {
	nc, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{
		role: r, broker: b, conn: newConn(nc), link: &link{r.state, b, r.publishes}, tail: b.queue.join(),
		done: make(chan struct{}), written: make(chan struct{}),
	}
	s.client = paho.NewClient(paho.ClientConfig{
		ClientID: r.clientID, Conn: s.conn.guarded(b.cfg.MaxPacket, b.cfg.Timeout), PacketTimeout: b.cfg.Timeout, Session: s.link,
		OnPublishReceived:  []func(paho.PublishReceived) (bool, error){s.received},
		OnClientError:      s.note,
		OnServerDisconnect: func(d *paho.Disconnect) { s.note(disconnected(d)) },
	})
	hello, err := b.hello(r)
	if err == nil {
		var ack *paho.Connack
		if ack, err = s.client.Connect(ctx, hello); err != nil {
			err = s.unwelcome(ack, err)
		} else {
			if r.publishes {
				b.metrics.connects.Inc()
			}
			go s.write()
			if err = s.accept(ack); err == nil {
				return s, nil
			}
			s.end()
			return nil, err
		}
	}
	s.conn.Close()
	b.queue.leave(s.tail)
	return nil, err
}

// end closes the connection and waits until its goroutines are gone.
func (s *session) end() {
	s.conn.Close()
	<-s.client.Done()
	<-s.written
}

func (b *Broker) dial(ctx context.Context) (net.Conn, error) {
	if !b.address.tls {
		return new(net.Dialer).DialContext(ctx, "tcp", b.address.hostPort)
	}
	c, err := b.cfg.Login.tls(b.address.server)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", b.address.hostPort)
}

func (b *Broker) hello(r role) (*paho.Connect, error) {
	password, err := b.cfg.Login.password()
	if err != nil {
		return nil, err
	}
	expiry, most, largest := uint32(r.expiry/time.Second), uint16(b.cfg.InFlight), uint32(b.cfg.MaxPacket)
	c := &paho.Connect{
		ClientID: r.clientID, KeepAlive: uint16(max(1, b.cfg.KeepAlive/time.Second)),
		Username: b.cfg.Login.Username, UsernameFlag: b.cfg.Login.Username != "",
		Password: password, PasswordFlag: len(password) > 0,
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &expiry, ReceiveMaximum: &most, MaximumPacketSize: &largest, RequestProblemInfo: true,
		},
	}
	if r.will != "" {
		c.WillMessage = &paho.WillMessage{Topic: r.will}
	}
	return c, nil
}

// unwelcome says why there was no connection.
func (s *session) unwelcome(ack *paho.Connack, err error) error {
	scheme := "mqtt"
	if s.broker.address.tls {
		scheme = "mqtts"
	}
	answered, old := s.conn.answered()
	switch {
	case old, ack != nil && ack.ReasonCode == packets.ConnackUnsupportedProtocolVersion:
		return fmt.Errorf("%w: it doesn't speak MQTT 5", ErrUnsuitable)
	case ack != nil && ack.ReasonCode >= 0x80:
		return fmt.Errorf("it refuses the connection: %s", reasonText(ack.ReasonCode, ack.Properties.ReasonString))
	case !answered && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer to CONNECT within %s: is it an MQTT broker, and %s:// right?", s.broker.cfg.Timeout, scheme)
	case !answered:
		return fmt.Errorf("it closed the connection instead of answering CONNECT (%w): does it speak MQTT 5, and is %s:// right?", err, scheme)
	}
	return fmt.Errorf("connect: %w", err)
}

// accept looks at what the broker offers.
func (s *session) accept(ack *paho.Connack) error {
	s.resumed = ack.SessionPresent
	p := ack.Properties
	switch {
	case p == nil:
		return nil
	case !p.SharedSubAvailable && !s.broker.cfg.Alone:
		return errNotShared
	case !p.WildcardSubAvailable:
		return fmt.Errorf("%w: it doesn't allow subscriptions with wildcards", ErrUnsuitable)
	case p.MaximumQoS != nil && *p.MaximumQoS < 1:
		return fmt.Errorf("%w: it offers quality of service 0 only, so that requests would be lost", ErrUnsuitable)
	}
	if p.MaximumPacketSize != nil {
		s.largest = int(*p.MaximumPacketSize)
	}
	if e := p.SessionExpiryInterval; e != nil && time.Duration(*e)*time.Second < s.expiry {
		s.broker.cfg.Log.Warn("the broker keeps requests for a shorter time than asked for", "seconds", *e, "asked for", int(s.expiry/time.Second))
	}
	return nil
}

// note remembers why the connection ended; the first reason counts.
func (s *session) note(err error) {
	if s.reason.CompareAndSwap(nil, &err) {
		close(s.done)
	}
}

var errLost = errors.New("connection lost")

// cause tells why the connection ended. The library says so just after it has.
func (s *session) cause() error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-s.done:
		return fmt.Errorf("%w: %w", errLost, *s.reason.Load())
	case <-timer.C:
		return errLost
	}
}

// fail ends the connection because of a request that may not be acknowledged: it
// comes again over the next one. It doesn't block.
func (s *session) fail(err error) {
	s.note(err)
	go s.conn.Close()
}

// over tells whether the connection has ended.
func (s *session) over() bool {
	select {
	case <-s.conn.gone:
		return true
	default:
		return false
	}
}

// during returns a context that ends with the connection: the library would wait
// for an answer for as long as it may take.
func (s *session) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.conn.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// leave waits until all is written and ends the connection so that the broker
// keeps the session.
func (s *session) leave(late <-chan time.Time) {
	s.finish()
	select {
	case <-s.written:
	case <-late:
	}
	_ = s.client.Disconnect(&paho.Disconnect{}) // it may be gone already
}
