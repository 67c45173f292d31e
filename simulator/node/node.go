package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"gnomon/shadow/wire"
	"gnomon/simulator/mqtt"
)

// Node is one simulated node. New makes it, Run runs it.
type Node struct {
	Counters Counters

	cfg        *Config
	name       string
	topic      wire.Topic // of the classic shadow
	registered chan struct{}

	mu       sync.Mutex
	random   *rand.Rand
	conn     *mqtt.Conn // nil while offline
	synced   bool       // the sync of this connection was answered
	ended    bool       // Run returned: timers do nothing any more
	seq      uint64     // of the last report
	tokens   uint64     // of the last request
	asked    *question  // the sync in flight
	resync   *time.Timer
	replicas map[string]*replica
	started  time.Time
	problem  error // the last thing that went wrong
}

// New returns a node that starts nothing yet. The seed decides its faults and
// delays.
func New(cfg Config, name string, seed uint64) *Node {
	cfg = cfg.withDefaults()
	return &Node{
		cfg:        &cfg,
		name:       name,
		topic:      wire.Topic{Thing: name},
		registered: make(chan struct{}),
		random:     rand.New(rand.NewPCG(seed, 0x6e6f6465)),
		replicas:   map[string]*replica{},
	}
}

// Name returns the thing's name.
func (n *Node) Name() string { return n.name }

// Registered is closed once the cloud acknowledged the node's first report of
// itself.
func (n *Node) Registered() <-chan struct{} { return n.registered }

// Problem returns the last thing that went wrong, for the list of stragglers.
func (n *Node) Problem() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.problem
}

// Run connects, keeps connected and serves until ctx ends; then it returns nil.
func (n *Node) Run(ctx context.Context) error {
	n.begin()
	defer n.end()
	pause := n.cfg.BackoffMin
	for {
		synced, err := n.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		n.note(err)
		n.mu.Lock()
		if synced {
			pause = n.cfg.BackoffMin
		}
		// Decorrelated jitter: a fleet that lost its cloud together comes back apart.
		pause = min(n.cfg.BackoffMax, n.cfg.BackoffMin+time.Duration(n.random.Int64N(int64(3*pause-n.cfg.BackoffMin)+1)))
		n.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (n *Node) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.started = time.Now()
	n.replicas[""] = new(replica)
	n.describe()
}

func (n *Node) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	if n.resync != nil {
		n.resync.Stop()
	}
	for _, r := range n.replicas {
		if r.timer != nil {
			r.timer.Stop()
		}
	}
}

func (n *Node) note(err error) {
	if err == nil || errors.Is(err, errCut) || errors.Is(err, net.ErrClosed) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.problem = err
}

// token returns a client token that no other request of this node has; n.mu is
// held.
func (n *Node) token() string {
	n.tokens++
	return strconv.FormatUint(n.tokens, 36)
}

// session is one connection, from the dial to its loss. It reports whether a
// sync was answered on it.
func (n *Node) session(ctx context.Context) (synced bool, err error) {
	began := time.Now()
	conn, err := n.connect(ctx)
	if err != nil {
		n.Counters.Failures.Add(1)
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Disconnect() })
	defer stop()
	defer n.offline(conn)
	patience := time.AfterFunc(n.cfg.Timeout, func() { _ = conn.Close() }) // for the SUBACK
	defer patience.Stop()
	for {
		p, err := conn.Next()
		if err != nil {
			return n.isSynced(), fmt.Errorf("session of %s: %w", n.name, err)
		}
		switch p.Type {
		case mqtt.SUBACK:
			patience.Stop()
			err = n.subscribed(conn, p, began)
		case mqtt.PUBLISH:
			err = n.received(conn, p)
		case mqtt.PUBACK:
			n.flushAll()
		}
		if err != nil {
			return n.isSynced(), err
		}
	}
}

func (n *Node) connect(ctx context.Context) (*mqtt.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	nc, err := n.cfg.Dial(ctx, n.name)
	if err != nil {
		return nil, err
	}
	conn, err := mqtt.Connect(ctx, nc, mqtt.Options{
		ClientID: n.name, KeepAlive: n.cfg.KeepAlive, Timeout: n.cfg.Timeout, Traffic: &n.Counters.Traffic,
	})
	if err != nil {
		return nil, err
	}
	if _, err := conn.Subscribe(1, n.filters()...); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// filters are the agent's subscriptions, eight at most as the contract has it.
func (n *Node) filters() []string {
	classic, named, sync := n.topic, n.topic, n.topic
	classic.Op, sync.Op = wire.OpUpdate, wire.OpSync
	named.Shadow, named.Op = "+", wire.OpUpdate
	return []string{
		sync.Accepted(), sync.Rejected(),
		classic.Desired(), classic.Accepted(), classic.Rejected(),
		named.Desired(), named.Accepted(), named.Rejected(),
	}
}

func (n *Node) subscribed(conn *mqtt.Conn, p mqtt.Packet, began time.Time) error {
	for _, reason := range p.Reasons {
		if reason >= 0x80 {
			return &mqtt.RefusedError{Type: mqtt.SUBACK, Reason: reason}
		}
	}
	if n.Counters.Connects.Add(1) == 1 {
		n.Counters.ConnectNanos.Store(int64(time.Since(began)))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conn = conn
	return n.sync()
}

func (n *Node) offline(conn *mqtt.Conn) {
	_ = conn.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conn, n.synced, n.asked = nil, false, nil
	if n.resync != nil {
		n.resync.Stop()
	}
	for _, r := range n.replicas {
		r.flight = nil // its fate is unknown: the next sync tells
	}
}

func (n *Node) isSynced() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.synced
}
