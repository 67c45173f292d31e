// Package uplink is the connection over which a node speaks for its devices to
// the cloud: one MQTT 5 session beside that of the node itself, named after it.
//
// It promises that a message of the cloud is acknowledged once what it says is
// dealt with, and that a lost connection is made again, later and later. It
// decides nothing about shadows, and subscribes to nothing but what is about the
// devices that it is told of.
package uplink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/edge/bus/devices"
	"gnomon/mqttguard"
	"gnomon/shadow/wire"
)

// Suffix is what the session's client id has behind the node's name. No thing's
// name holds a dot, so that it is nobody else's.
const Suffix = ".bus"

// Limits of the session.
const (
	keepAlive    = 60 * time.Second
	receiveQuota = 32
	maxPacket    = 512 << 10
	filtersEach  = 6 // subscriptions for one device
	atOnce       = 8 // filters in one request, by the contract
)

// Config of an Uplink. Node, Devices and Dial are required.
type Config struct {
	Node    string
	Devices *devices.Devices
	Dial    func(context.Context) (net.Conn, error)

	Timeout    time.Duration // of a handshake; default 10s
	BackoffMin time.Duration // before the first reconnect; default 500ms
	BackoffMax time.Duration // default 1m
	Log        *slog.Logger
}

// Uplink connects while Run runs.
type Uplink struct {
	cfg Config

	mu        sync.Mutex
	connected bool
	since     time.Time
	problem   string
}

// New starts nothing.
func New(cfg Config) *Uplink {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.Timeout, 10 * time.Second}, {&cfg.BackoffMin, 500 * time.Millisecond}, {&cfg.BackoffMax, time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Uplink{cfg: cfg}
}

// Status is the uplink at one moment.
type Status struct {
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	Problem   string    `json:"problem,omitempty"`
}

// Status tells how the uplink is.
func (u *Uplink) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Status{u.connected, u.since, u.problem}
}

func (u *Uplink) is(connected bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.connected, u.since = connected, time.Now()
	if u.problem = ""; err != nil {
		u.problem = err.Error()
	}
}

// Run keeps connected while there are devices to speak for, until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	pause := u.cfg.BackoffMin
	for ctx.Err() == nil {
		if len(u.cfg.Devices.Things()) == 0 {
			select {
			case <-ctx.Done():
			case <-u.cfg.Devices.Kick():
			}
			continue
		}
		began := time.Now()
		err := u.session(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end
		}
		u.is(false, err)
		u.cfg.Log.Info("cloud is out of reach for devices", "error", err)
		if time.Since(began) > time.Minute {
			pause = u.cfg.BackoffMin
		}
		pause = min(u.cfg.BackoffMax, u.cfg.BackoffMin+rand.N(max(1, 3*pause-u.cfg.BackoffMin)))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// session is one connection, from the dial to its loss.
func (u *Uplink) session(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, u.cfg.Timeout)
	defer cancel()
	dialed, err := u.cfg.Dial(dialing)
	if err != nil {
		return err
	}
	nc := mqttguard.NewUpstream(dialed, maxPacket, u.cfg.Timeout)
	defer nc.Close()
	failed := make(chan error, 4)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	client := paho.NewClient(paho.ClientConfig{
		ClientID: u.cfg.Node + Suffix, Conn: nc, PacketTimeout: u.cfg.Timeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			if err := u.cfg.Devices.Receive(p.Packet.Topic, p.Packet.Payload); err != nil {
				// What could not be written must not be acknowledged: the connection is cut.
				fail(err)
				nc.Close()
			}
			return true, nil
		}},
		OnClientError: fail,
		OnServerDisconnect: func(d *paho.Disconnect) {
			fail(fmt.Errorf("the broker ended the session, code %#x", d.ReasonCode))
		},
	})
	quota, largest := uint16(receiveQuota), uint32(maxPacket)
	ack, err := client.Connect(dialing, &paho.Connect{
		ClientID: u.cfg.Node + Suffix, CleanStart: true, KeepAlive: uint16(keepAlive / time.Second),
		Properties: &paho.ConnectProperties{ReceiveMaximum: &quota, MaximumPacketSize: &largest},
	})
	if err != nil {
		if ack != nil {
			err = fmt.Errorf("refused with code %#x: %w", ack.ReasonCode, err)
		}
		return cmp.Or(nc.Refused(), err)
	}
	u.is(true, nil)
	u.cfg.Devices.Connected()
	err = u.serve(ctx, client, failed)
	u.cfg.Devices.Disconnected(err)
	if ctx.Err() == nil {
		nc.Close()
	}
	_ = client.Disconnect(&paho.Disconnect{})
	<-client.Done()
	return cmp.Or(nc.Refused(), err)
}

var errLost = errors.New("connection lost")

// serve subscribes and sends what is due until the connection is lost.
func (u *Uplink) serve(ctx context.Context, client *paho.Client, failed <-chan error) error {
	subscribed := map[string]bool{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := u.subscribe(ctx, client, subscribed); err != nil {
			return err
		}
		out, next, err := u.cfg.Devices.Due()
		if err != nil {
			u.cfg.Log.Error("devices can't be spoken for", "error", err)
		}
		for _, m := range out {
			// That it arrived is told by its answer.
			if _, err := client.PublishWithOptions(ctx, &paho.Publish{QoS: 1, Topic: m.Topic, Payload: m.Payload},
				paho.PublishOptions{Method: paho.PublishMethod_AsyncSend}); err != nil {
				return fmt.Errorf("publish %s: %w", m.Topic, err)
			}
		}
		timer.Reset(max(0, time.Until(next)))
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("%w: %w", errLost, err)
		case <-client.Done():
			return errLost
		case <-u.cfg.Devices.Kick():
		case <-timer.C:
		}
	}
}

// subscribe listens to what is about devices that aren't listened to yet. Those
// that are no longer served are ignored until the next connection.
func (u *Uplink) subscribe(ctx context.Context, client *paho.Client, subscribed map[string]bool) error {
	for _, thing := range u.cfg.Devices.Things() {
		if subscribed[thing] {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, u.cfg.Timeout)
		go func() { // the library doesn't tell who waits for an answer that the session has ended
			select {
			case <-client.Done():
				cancel()
			case <-asking.Done():
			}
		}()
		_, err := client.Subscribe(asking, &paho.Subscribe{Subscriptions: filters(thing)})
		cancel()
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", thing, err)
		}
		subscribed[thing] = true
		u.cfg.Devices.Listening(thing)
	}
	return nil
}

// filters are what a device's shadows say: answers, and changes of desired.
func filters(thing string) (all []paho.SubscribeOptions) {
	for _, t := range []wire.Topic{{Thing: thing}, {Thing: thing, Shadow: "+"}} {
		request := t
		request.Op = wire.OpUpdate
		base := request.Request()
		base = base[:len(base)-len("update")]
		for _, leaf := range []string{"+/accepted", "+/rejected", "desired"} {
			all = append(all, paho.SubscribeOptions{Topic: base + leaf, QoS: 1, RetainHandling: 2})
		}
	}
	return all
}

var _ = [1]struct{}{}[filtersEach/(atOnce+1)] // one device's filters fit into one request
