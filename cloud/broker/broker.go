package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/identity"
	"gnomon/mqttguard"
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

// Authenticator says who a client is. It sees the connection and the CONNECT's
// client id, user name and password.
type Authenticator func(conn net.Conn, clientID, username, password string) (identity.Principal, error)

// Config is what a Broker stands on. Zero fields have the defaults given.
type Config struct {
	Address        string        // host:port to listen on
	Shadows        Shadows       // may be given later: see SetShadows
	Authenticate   Authenticator // default: everybody is identity.LocalOperator
	MaxClients     int64         // default 100,000
	MaxPacket      int           // bytes of any packet but CONNECT; default 256 KiB
	MaxConnect     int           // bytes of a CONNECT; default 64 KiB
	ConnectTimeout time.Duration // until a CONNECT is complete; default 5s
	WriteTimeout   time.Duration // for one write to a client; default 10s
	HalfOpen       int           // connections of one address without a CONNECT; default 64, from loopback 4096
	InFlight       int           // unanswered shadow requests of one connection, by the contract; one more is rejected with 429; default 10
	SessionExpiry  uint32        // seconds a session outlives its connection at most; default 3600
	Subscriptions  int           // filters of one session; default 512
	Retained       int           // messages retained; default 10,000
	RetainedBytes  int           // their topics and payloads; default 64 MiB
	Log            *slog.Logger
	Metrics        prometheus.Registerer // nil: not exported
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxClients, 100_000)
	setDefault(&c.MaxPacket, 256<<10)
	setDefault(&c.MaxConnect, 64<<10)
	setDefault(&c.ConnectTimeout, 5*time.Second)
	setDefault(&c.WriteTimeout, 10*time.Second)
	setDefault(&c.InFlight, 10)
	setDefault(&c.SessionExpiry, 3600)
	setDefault(&c.Subscriptions, 512)
	setDefault(&c.Retained, 10_000)
	setDefault(&c.RetainedBytes, 64<<20)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Authenticate == nil {
		c.Authenticate = func(net.Conn, string, string, string) (identity.Principal, error) {
			return identity.LocalOperator, nil
		}
	}
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Broker is the embedded broker. Listen binds, Run serves.
type Broker struct {
	cfg      Config
	shadows  Shadows
	readings Readings // nil: nobody takes them
	server   *mqtt.Server
	listener *mqttguard.Listener
	metrics  *metrics
	outside  *mqtt.Client // sends what comes by other ways than MQTT
	retained retained
	writers  writers
	count    atomic.Uint64 // connections so far
	sessions sync.Map      // *mqtt.Client → *session
	plain    atomic.Int64  // subscriptions ever made that could match a topic without $aws/
	ctx      atomic.Pointer[context.Context]

	elsewhere *elsewhere // nil: this is the only broker
}

// maxOutstanding is how many messages of quality of service 1 a client may have
// yet to acknowledge, or, while it is away, to get.
const maxOutstanding = 64

// New returns a broker that doesn't listen yet.
func New(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumClients = cfg.MaxClients
	caps.MaximumPacketSize = uint32(min(cfg.MaxPacket, math.MaxUint32))
	caps.MaximumClientWritesPending = 64
	caps.MaximumInflight = maxOutstanding
	caps.ReceiveMaximum = uint16(min(cfg.InFlight, math.MaxUint16))
	caps.MaximumSessionExpiryInterval = cfg.SessionExpiry
	caps.MaximumMessageExpiryInterval = 0 // or mochi forgets what is retained; what sessions hold is bounded by their own end
	caps.TopicAliasMaximum = 64
	b := &Broker{cfg: cfg, shadows: cfg.Shadows, writers: newWriters()}
	b.server = mqtt.New(&mqtt.Options{
		Capabilities: caps, InlineClient: true, SysTopicResendInterval: 60,
		// Mochi buffers while more is queued and flushes with the last of it, which
		// must not be one that isn't sent: so every packet goes out by itself.
		ClientNetWriteBufferSize: 1, ClientNetReadBufferSize: 256, // what is read is buffered before
		Logger: slog.New(mqttguard.Quiet(cfg.Log.Handler())),
	})
	b.outside = b.server.NewClient(nil, mqtt.LocalListener, "outside", true)
	b.outside.Properties.ProtocolVersion = 5
	b.retained = retained{count: cfg.Retained, bytes: cfg.RetainedBytes, entries: make(map[string]retainedEntry)}
	b.metrics = newMetrics(cfg.Metrics, b)
	b.listener = newGuard(cfg, b)
	if err := b.server.AddHook(&hook{broker: b}, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	background := context.Background()
	b.ctx.Store(&background)
	return b, nil
}

// SetShadows names the shadow service, which itself publishes through the
// broker. It must be called before Run.
func (b *Broker) SetShadows(s Shadows) { b.shadows = s }

// SetReadings names who takes readings. It must be called before Run.
func (b *Broker) SetReadings(r Readings) { b.readings = r }

// Listen binds the address, so that what it is, and whether it is free, is known
// before Run.
func (b *Broker) Listen() (net.Addr, error) {
	if err := b.listener.Bind(); err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	if err := b.server.AddListener(b.listener); err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	return b.listener.Addr(), nil
}

// Run serves until ctx ends and all clients have been told and let go.
func (b *Broker) Run(ctx context.Context) error {
	if b.shadows == nil {
		return errors.New("broker: no shadow service")
	}
	b.ctx.Store(&ctx)
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	writing, done := context.WithCancel(context.WithoutCancel(ctx))
	var acknowledging sync.WaitGroup
	acknowledging.Go(func() { b.writers.run(writing) })
	defer acknowledging.Wait()
	defer done()
	<-ctx.Done()
	b.listener.Shutdown(func() {
		for _, cl := range b.server.Clients.GetAll() {
			if !cl.Net.Inline {
				_ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown) // it may have left already
			}
		}
	})
	return b.server.Close()
}

// Publish implements twin.Publisher: quality of service 1, to whoever
// subscribed. It doesn't block: a client whose queue is full misses it.
func (b *Broker) Publish(topic string, payload []byte) {
	if err := b.server.Publish(topic, payload, false, 1); err != nil {
		b.cfg.Log.Warn("publish failed", "topic", topic, "error", err)
	}
}

// Subscribed implements twin.Publisher.
func (b *Broker) Subscribed(topic string) bool {
	if b.plain.Load() == 0 && !isAWS(topic) {
		return false
	}
	subs := b.server.Topics.Subscribers(topic)
	return len(subs.Subscriptions) > 0 || len(subs.Shared) > 0
}

func isAWS(topic string) bool { return len(topic) > 0 && topic[0] == '$' }

// Clients returns how many clients are connected.
func (b *Broker) Clients() int64 { return atomic.LoadInt64(&b.server.Info.ClientsConnected) }
