package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/mqttguard"
)

// Limits of a session.
const (
	keepAlive    = 60 * time.Second
	handshake    = 10 * time.Second
	receiveQuota = 64
	maxPacket    = 4 * maxPayload // the broker is asked to send none that is longer, and is left if it does
	atOnce       = 8              // filters in one request
	settled      = time.Minute    // a session this long was a good one
	sweep        = time.Hour      // between looks for topics that nobody asks for
)

// run keeps connected until ctx ends.
func (b *broker) run(ctx context.Context) {
	pause := b.cfg.BackoffMin
	for ctx.Err() == nil {
		began := time.Now()
		err := b.session(ctx)
		if ctx.Err() != nil {
			return
		}
		b.update(func() {
			if b.up {
				b.since = time.Now()
			}
			b.up, b.problem = false, err
			for _, t := range b.topics {
				t.due, t.heard, t.refused = true, time.Time{}, nil
			}
		})
		b.cfg.Log.Info("broker is out of reach", "address", b.address(), "error", err)
		if time.Since(began) > settled {
			pause = b.cfg.BackoffMin
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		pause = min(b.cfg.BackoffMax, b.cfg.BackoffMin+rand.N(max(1, 3*pause-b.cfg.BackoffMin)))
	}
}

func (b *broker) address() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.source.Address
}

// client is what the session is called: two addresses of one broker must not push
// each other out.
func (b *broker) client() string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(b.address()))
	return fmt.Sprintf("%s.collect-%08x", b.cfg.Client, h.Sum32())
}

// dial connects, over TLS where the credentials say so.
func (b *broker) dial(ctx context.Context, c credentials.Credentials) (net.Conn, error) {
	var d net.Dialer
	address := b.address()
	if !c.TLS && c.CA == "" && c.Cert == "" {
		return d.DialContext(ctx, "tcp", address)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: ca: %w", collect.ErrCredentials, err)
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%w: ca: %s holds no certificate", collect.ErrCredentials, c.CA)
		}
	}
	if c.Cert != "" || c.Key != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: cert and key: %w", collect.ErrCredentials, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return (&tls.Dialer{NetDialer: &d, Config: cfg}).DialContext(ctx, "tcp", address)
}

// session is one connection, from the dial to its loss.
func (b *broker) session(ctx context.Context) error {
	b.mu.Lock()
	name := b.source.Credentials
	b.mu.Unlock()
	var c credentials.Credentials
	if name != "" {
		var err error
		if c, err = b.cfg.Credentials.Read(name); err != nil {
			return err
		}
	}
	shaking, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	dialed, err := b.dial(shaking, c)
	if err != nil {
		return err
	}
	conn := mqttguard.NewUpstream(dialed, maxPacket, handshake)
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	failed := make(chan error, 4)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	client := paho.NewClient(paho.ClientConfig{
		ClientID: b.client(), Conn: conn, PacketTimeout: handshake,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			err := collect.Contain(func() error {
				b.take(p.Packet.Topic, p.Packet.Payload, p.Packet.Retain)
				return nil
			})
			if err != nil {
				b.cfg.Log.Error("a message is passed over", "topic", p.Packet.Topic, "error", err)
			}
			return true, nil
		}},
		OnClientError:      fail,
		OnServerDisconnect: func(d *paho.Disconnect) { fail(fmt.Errorf("the broker ended the session, code %#x", d.ReasonCode)) },
	})
	if err := connect(shaking, client, b.client(), c); err != nil {
		return cmp.Or(conn.Refused(), err)
	}
	err = b.serve(ctx, client, failed)
	_ = client.Disconnect(&paho.Disconnect{}) // a courtesy; what is lost is lost
	conn.Close()
	<-client.Done()
	return cmp.Or(conn.Refused(), err)
}

// connect introduces us.
func connect(ctx context.Context, client *paho.Client, id string, c credentials.Credentials) error {
	quota, largest := uint16(receiveQuota), uint32(maxPacket)
	hello := &paho.Connect{
		ClientID: id, CleanStart: true, KeepAlive: uint16(keepAlive / time.Second),
		Properties: &paho.ConnectProperties{ReceiveMaximum: &quota, MaximumPacketSize: &largest},
	}
	if c.User != "" {
		hello.UsernameFlag, hello.Username = true, c.User
	}
	if password := credentials.Reveal(c.Password); password != "" {
		hello.PasswordFlag, hello.Password = true, []byte(password)
	}
	ack, err := client.Connect(ctx, hello)
	if err == nil {
		return nil
	}
	if ack == nil {
		return err
	}
	const badPassword, notAuthorized, banned = 0x86, 0x87, 0x8a
	switch ack.ReasonCode {
	case badPassword, notAuthorized, banned:
		return fmt.Errorf("%w: the broker refuses them with code %#x", collect.ErrCredentials, ack.ReasonCode)
	}
	return fmt.Errorf("the broker refuses the session with code %#x", ack.ReasonCode)
}

var errLost = errors.New("connection lost")

// serve listens to what polls ask for, until the connection is lost.
func (b *broker) serve(ctx context.Context, client *paho.Client, failed <-chan error) error {
	timer := time.NewTicker(sweep)
	defer timer.Stop()
	first := true
	for {
		if err := b.subscribe(ctx, client); err != nil {
			return err
		}
		if first {
			first = false
			b.update(func() { b.up, b.since, b.problem = true, time.Now(), nil })
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("%w: %w", errLost, err)
		case <-client.Done():
			return errLost
		case <-b.kick:
		case <-timer.C:
			if err := b.forget(ctx, client); err != nil {
				return err
			}
		}
	}
}

// due returns some topics that have to be subscribed to.
func (b *broker) due() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, t := range b.topics {
		if t.due && len(names) < atOnce {
			t.due = false
			names = append(names, name)
		}
	}
	return names
}

// patience is for one answer of the broker: it ends with the session, too, which the
// library doesn't tell who waits for an answer.
func patience(ctx context.Context, client *paho.Client) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, handshake)
	go func() {
		select {
		case <-client.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// subscribe listens to all topics that are due.
func (b *broker) subscribe(ctx context.Context, client *paho.Client) error {
	for {
		names := b.due()
		if len(names) == 0 {
			return nil
		}
		var ask paho.Subscribe
		for _, name := range names {
			ask.Subscriptions = append(ask.Subscriptions, paho.SubscribeOptions{Topic: name, QoS: 1})
		}
		asking, cancel := patience(ctx, client)
		ack, err := client.Subscribe(asking, &ask)
		cancel()
		if ack == nil || len(ack.Reasons) != len(names) {
			select {
			case <-client.Done():
				return errLost
			default:
			}
			return fmt.Errorf("subscribe: %w", cmp.Or(err, errLost))
		}
		b.update(func() {
			for i, name := range names {
				t := b.topics[name]
				if t == nil {
					continue
				}
				t.heard, t.refused = time.Now(), nil
				if code := ack.Reasons[i]; code >= 0x80 {
					t.refused = fmt.Errorf("%w: the broker refuses to tell of the topic, code %#x", collect.ErrException, code)
				}
			}
		})
	}
}

// forget lets go of topics that no poll has asked for in a long time.
func (b *broker) forget(ctx context.Context, client *paho.Client) error {
	var names []string
	b.update(func() {
		for name, t := range b.topics {
			if time.Since(t.asked) > forgotten && len(names) < atOnce {
				names = append(names, name)
				delete(b.topics, name)
			}
		}
	})
	if len(names) == 0 {
		return nil
	}
	asking, cancel := patience(ctx, client)
	defer cancel()
	if _, err := client.Unsubscribe(asking, &paho.Unsubscribe{Topics: names}); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	return nil
}
