package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/mqttguard"
	"gnomon/shadow/wire"
)

// Shadows serves shadow requests.
type Shadows interface {
	// Request serves one and publishes its answer. An error means that it must
	// not be acknowledged.
	Request(ctx context.Context, t wire.Topic, body []byte) error
}

// The limits; see the package's documentation.
const (
	maxClients       = 256
	maxFilters       = 64
	maxWaiting       = 32
	maxPacket        = 160 << 10 // a request of 128 KiB and its topic fit
	maxConnect       = 16 << 10
	connectTimeout   = 5 * time.Second
	writeTimeout     = 10 * time.Second
	publishRate      = 200 // messages a second of one client
	publishBurst     = 400
	maxRetained      = 256
	maxRetainedBytes = 4 << 10
	sessionExpiry    = 600 // seconds
	maxHalfOpen      = 32  // connections of one address without a CONNECT
	bridgeCheck      = 10 * time.Second
)

// Config of a Bus.
type Config struct {
	Address string  // host:port of loopback
	Bridge  string  // network bridge of the containers, on which it listens, too, at the same port, once it is there; "" = none
	Shadows Shadows // may be given later: see SetShadows
	Log     *slog.Logger
}

// Bus is the node's own broker. Listen binds, Run serves.
type Bus struct {
	cfg    Config
	server *mqtt.Server
	ctx    atomic.Pointer[context.Context]

	mu        sync.Mutex
	listeners []*mqttguard.Listener // that of loopback first

	refused   atomic.Int64
	malformed atomic.Int64
	published atomic.Int64
}

// New returns a bus that doesn't listen yet.
func New(cfg Config) (*Bus, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := Loopback(cfg.Address); err != nil {
		return nil, err
	}
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumClients = maxClients
	caps.MaximumPacketSize = maxPacket
	caps.MaximumClientWritesPending = maxWaiting
	caps.MaximumInflight = maxWaiting
	caps.ReceiveMaximum = 16
	caps.MaximumSessionExpiryInterval = sessionExpiry
	caps.TopicAliasMaximum = 16
	b := &Bus{cfg: cfg, server: mqtt.New(&mqtt.Options{
		Capabilities: caps, InlineClient: true, SysTopicResendInterval: 60, Logger: slog.New(mqttguard.Quiet(cfg.Log.Handler())),
	})}
	background := context.Background()
	b.ctx.Store(&background)
	if err := b.server.AddHook(&hook{bus: b}, nil); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	return b, nil
}

// SetShadows names the shadow service, which itself publishes through the bus. It
// must be called before Run.
func (b *Bus) SetShadows(s Shadows) { b.cfg.Shadows = s }

// Loopback refuses an address that others than the node reach: there is no login.
func Loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("bus address %q: must be host:port", address)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("bus address %q: must be of loopback, such as 127.0.0.1:1883: there is no login, so that nobody beyond the node is served", address)
	}
	return nil
}

// Listen takes the address, so that whether it is free is known before Run.
func (b *Bus) Listen() (net.Addr, error) {
	l, err := b.bind(b.cfg.Address)
	if err != nil {
		return nil, err
	}
	return l.Addr(), nil
}

func (b *Bus) bind(address string) (*mqttguard.Listener, error) {
	l := mqttguard.New(mqttguard.Config{Address: address, HalfOpen: maxHalfOpen, Wrap: b.wrap, Refused: b.refuse, Malformed: b.clear, Ended: b.ended})
	if err := l.Bind(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners = append(b.listeners, l)
	return l, nil
}

// Run serves until ctx ends and all clients have been told and let go.
func (b *Bus) Run(ctx context.Context) error {
	if b.cfg.Shadows == nil || len(b.listeners) == 0 {
		return errors.New("bus: it has no shadow service, or doesn't listen")
	}
	b.ctx.Store(&ctx)
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	var serving sync.WaitGroup
	loopback := b.listeners[0]
	serving.Go(func() { loopback.Serve(b.server.EstablishConnection) })
	b.bridged(ctx, &serving, loopback.Addr())
	loopback.Shutdown(b.tell)
	serving.Wait()
	return b.server.Close()
}

// tell tells the clients that it ends.
func (b *Bus) tell() {
	for _, cl := range b.server.Clients.GetAll() {
		if !cl.Net.Inline {
			_ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown) // it may have left already
		}
	}
}

// bridged listens on the bridge's address, too, whenever there is one, until ctx
// ends: a bridge is made with the first container that needs it.
func (b *Bus) bridged(ctx context.Context, serving *sync.WaitGroup, loopback net.Addr) {
	_, port, err := net.SplitHostPort(loopback.String())
	if err != nil || b.cfg.Bridge == "" {
		<-ctx.Done()
		return
	}
	var present *mqttguard.Listener
	var at, problem string
	leave := func(tell func()) {
		if present == nil {
			return
		}
		present.Shutdown(tell)
		b.mu.Lock()
		b.listeners = slices.DeleteFunc(b.listeners, func(l *mqttguard.Listener) bool { return l == present })
		b.mu.Unlock()
		present = nil
	}
	defer leave(b.tell)
	tick := time.NewTicker(bridgeCheck)
	defer tick.Stop()
	for {
		if now := addressOf(b.cfg.Bridge); now != at || now != "" && present == nil {
			leave(func() {})
			if at = now; at != "" {
				l, err := b.bind(net.JoinHostPort(at, port))
				if err == nil {
					present = l
					serving.Go(func() { l.Serve(b.server.EstablishConnection) })
					b.cfg.Log.Info("bus serves the bridge", "bridge", b.cfg.Bridge, "address", l.Address())
				} else if err.Error() != problem {
					problem = err.Error()
					b.cfg.Log.Warn("bus can't serve the bridge", "bridge", b.cfg.Bridge, "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// addressOf is the address of a bridge of this node, "" if there is none.
func addressOf(name string) string {
	if _, err := os.Stat(filepath.Join("/sys/class/net", name, "bridge")); err != nil {
		return ""
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return ""
	}
	all, err := i.Addrs()
	if err != nil {
		return ""
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return ""
}

// Publish sends a message to whoever has subscribed. It doesn't block: a client
// whose queue is full misses it.
func (b *Bus) Publish(topic string, payload []byte) {
	b.published.Add(1)
	if err := b.server.Publish(topic, payload, false, 1); err != nil {
		b.cfg.Log.Warn("publish failed", "topic", topic, "error", err)
	}
}

// Status is the bus at one moment.
type Status struct {
	Addresses []string         `json:"addresses"`
	Clients   int64            `json:"clients"`
	Counters  map[string]int64 `json:"counters"`
}

// Status tells how the bus is.
func (b *Bus) Status() Status {
	s := Status{Clients: atomic.LoadInt64(&b.server.Info.ClientsConnected), Counters: map[string]int64{
		"refused": b.refused.Load(), "malformed": b.malformed.Load(), "published": b.published.Load(),
		"received": atomic.LoadInt64(&b.server.Info.MessagesReceived), "dropped": atomic.LoadInt64(&b.server.Info.MessagesDropped),
		"retained": int64(b.server.Topics.Retained.Len()),
	}}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		s.Addresses = append(s.Addresses, l.Address())
	}
	return s
}
