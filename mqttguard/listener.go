package mqttguard

import (
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// Guarded is a connection that knows when CONNECT has been taken in.
type Guarded interface {
	net.Conn
	// Connected says that it has; the first time counts.
	Connected()
}

// Config of a Listener. All but HalfOpen are required.
type Config struct {
	Address  string // host:port
	HalfOpen int    // connections of one address without a CONNECT; default 64, from loopback 4096

	// Wrap makes what the broker gets of a connection. connected is to be called
	// once, when CONNECT has been taken in.
	Wrap func(conn net.Conn, connected func()) Guarded
	// Refused counts what isn't let in, by reason.
	Refused func(reason string)
	// Malformed clears away what a connection whose packet made the broker panic
	// has left there.
	Malformed func(c Guarded, cause any, stack []byte)
	// Ended is told how a connection ended.
	Ended func(c Guarded, err error)
}

// Listener is the listener between the network and mochi. A decoder that panics
// takes down its own connection only, and what mochi would then leave behind (a
// client, its subscriptions, its queue) is cleared away.
type Listener struct {
	cfg      Config
	listener net.Listener
	conns    sync.WaitGroup

	mu       sync.Mutex
	halfOpen map[string]int // connections without a CONNECT, by address
	open     map[Guarded]bool
	closed   bool
}

// New returns a listener that isn't bound yet.
func New(cfg Config) *Listener {
	return &Listener{cfg: cfg, halfOpen: make(map[string]int), open: make(map[Guarded]bool)}
}

// Bind takes the address, so that whether it is free is known before Serve.
func (g *Listener) Bind() error {
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

// Addr is what Bind took.
func (g *Listener) Addr() net.Addr { return g.listener.Addr() }

// ID implements listeners.Listener.
func (g *Listener) ID() string { return "guard " + g.cfg.Address }

// Address implements listeners.Listener.
func (g *Listener) Address() string { return g.listener.Addr().String() }

// Protocol implements listeners.Listener.
func (g *Listener) Protocol() string { return "tcp" }

// Init implements listeners.Listener; Bind has done the work.
func (g *Listener) Init(*slog.Logger) error { return nil }

// Serve implements listeners.Listener: it accepts until the listener is closed.
func (g *Listener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			g.cfg.Refused("accept") // out of descriptors: go on when some are free
			continue
		}
		address, ok := g.admit(conn)
		if !ok {
			g.cfg.Refused("half-open")
			conn.Close()
			continue
		}
		c := g.cfg.Wrap(conn, sync.OnceFunc(func() { g.established(address) }))
		if g.track(c) {
			go g.serve(establish, c)
		}
	}
}

// admit counts a connection against its address' share of half-open ones.
func (g *Listener) admit(conn net.Conn) (address string, ok bool) {
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

func (g *Listener) established(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.halfOpen[address]--; g.halfOpen[address] <= 0 {
		delete(g.halfOpen, address)
	}
}

// HalfOpen returns how many connections have no CONNECT yet.
func (g *Listener) HalfOpen() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, of := range g.halfOpen {
		n += of
	}
	return n
}

// serve runs one connection and survives whatever its packets do to mochi.
func (g *Listener) serve(establish listeners.EstablishFn, c Guarded) {
	defer g.untrack(c)
	defer c.Connected() // gives the half-open place back if CONNECT never came
	defer func() {
		if cause := recover(); cause != nil {
			g.cfg.Malformed(c, cause, debug.Stack())
		}
	}()
	g.cfg.Ended(c, establish(g.ID(), c))
}

// track takes a connection in, unless the guard is closed.
func (g *Listener) track(c Guarded) bool {
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

func (g *Listener) untrack(c Guarded) {
	c.Close()
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
	g.conns.Done()
}

// Shutdown stops accepting, tells the clients, and returns when the last
// connection has ended. Only then may mochi be closed: it counts connections in
// while it waits for them.
func (g *Listener) Shutdown(tell func()) {
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

// Close implements listeners.Listener; Shutdown has done the work.
func (g *Listener) Close(listeners.CloseFn) {}

var _ listeners.Listener = (*Listener)(nil)
