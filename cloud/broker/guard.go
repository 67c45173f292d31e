package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// guard is the listener between the network and mochi. A decoder that panics
// takes down its own connection only, and what mochi would then leave behind (a
// client, its subscriptions, its queue) is cleared away.
type guard struct {
	cfg      Config
	broker   *Broker
	listener net.Listener
	conns    sync.WaitGroup

	mu       sync.Mutex
	halfOpen map[string]int // connections without a CONNECT, by address
	open     map[*guardedConn]bool
	closed   bool
}

func newGuard(cfg Config, b *Broker) *guard {
	return &guard{cfg: cfg, broker: b, halfOpen: make(map[string]int), open: make(map[*guardedConn]bool)}
}

func (g *guard) bind() error {
	if g.listener != nil {
		return errors.New("already listening")
	}
	l, err := net.Listen("tcp", g.cfg.Address)
	if err != nil {
		return err
	}
	g.listener = l
	return nil
}

// ID implements listeners.Listener.
func (g *guard) ID() string { return "guard" }

// Address implements listeners.Listener.
func (g *guard) Address() string { return g.listener.Addr().String() }

// Protocol implements listeners.Listener.
func (g *guard) Protocol() string { return "tcp" }

// Init implements listeners.Listener; bind has done the work.
func (g *guard) Init(*slog.Logger) error { return nil }

// Serve implements listeners.Listener: it accepts until the listener is closed.
func (g *guard) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			g.broker.metrics.refused.WithLabelValues("accept").Inc() // out of descriptors: go on when some are free
			continue
		}
		address, ok := g.admit(conn)
		if !ok {
			g.broker.metrics.refused.WithLabelValues("half-open").Inc()
			conn.Close()
			continue
		}
		c := newGuardedConn(conn, g.cfg, g.broker.metrics, func() { g.established(address) })
		if g.track(c) {
			go g.serve(establish, c)
		}
	}
}

// admit counts a connection against its address' share of half-open ones.
func (g *guard) admit(conn net.Conn) (address string, ok bool) {
	address, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return "", false
	}
	limit := g.cfg.HalfOpen
	if limit == 0 {
		limit = 64
		if ip := net.ParseIP(address); ip != nil && ip.IsLoopback() {
			limit = 4096
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.halfOpen[address] >= limit {
		return "", false
	}
	g.halfOpen[address]++
	return address, true
}

func (g *guard) established(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.halfOpen[address]--; g.halfOpen[address] <= 0 {
		delete(g.halfOpen, address)
	}
}

// serve runs one connection and survives whatever its packets do to mochi.
func (g *guard) serve(establish listeners.EstablishFn, c *guardedConn) {
	defer g.untrack(c)
	defer c.connected() // gives the half-open place back if CONNECT never came
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		g.broker.metrics.panics.Inc()
		g.cfg.Log.Warn("malformed packet", "remote", c.RemoteAddr(), "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		g.broker.exorcise(c)
	}()
	if err := establish(g.ID(), c); err != nil {
		g.cfg.Log.Debug("connection ended", "remote", c.RemoteAddr(), "error", err)
	}
	if s := g.broker.sessionOf(c); s != nil {
		s.window.established() // if it never was: nothing that was missed may get lost
		g.broker.sessions.Delete(s.client)
	}
}

// exorcise removes what a connection that panicked has left in mochi.
func (b *Broker) exorcise(c *guardedConn) {
	s := b.sessionOf(c)
	if s == nil {
		return
	}
	cl := s.client
	b.sessions.Delete(cl)
	cl.Stop(errors.New("malformed packet"))
	b.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	if current, ok := b.server.Clients.Get(cl.ID); ok && current == cl {
		b.server.Clients.Delete(cl.ID)
	}
}

func (b *Broker) sessionOf(c *guardedConn) *session {
	if c.session == nil {
		return nil
	}
	return c.session
}

// track takes a connection in, unless the guard is closed.
func (g *guard) track(c *guardedConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		c.Close()
		return false
	}
	g.open[c] = true
	g.conns.Add(1)
	return true
}

func (g *guard) untrack(c *guardedConn) {
	c.Close()
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
	g.conns.Done()
}

// shutdown stops accepting, tells the clients, and returns when the last
// connection has ended. Only then may mochi be closed: it counts connections in
// while it waits for them.
func (g *guard) shutdown(tell func()) {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.listener.Close()
	tell()
	g.mu.Lock()
	for c := range g.open {
		c.Close()
	}
	g.mu.Unlock()
	g.conns.Wait()
}

// Close implements listeners.Listener; shutdown has done the work.
func (g *guard) Close(listeners.CloseFn) {}

var _ listeners.Listener = (*guard)(nil)
