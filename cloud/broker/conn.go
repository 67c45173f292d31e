package broker

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// errPacket ends a connection whose packets go over a limit.
var errPacket = errors.New("packet over the limit or out of order")

// guardedConn stands between a client and mochi. It fails the read before mochi
// sees, and allocates for, a packet that is too large; it serves shadow requests
// itself, for which mochi's ways are long; and it bounds every write in time,
// since mochi writes under a lock that its other work waits for.
//
// Reading belongs to one goroutine, on which mochi also sets the session up.
type guardedConn struct {
	net.Conn
	in        stream
	metrics   *metrics
	connected func() // once: CONNECT has been taken in
	session   *session
	take      func(f frame, packet []byte) bool // serves a request; nil until the session is there

	keepAlive time.Duration // 0: for ever
	heard     time.Time     // when the keep-alive began to run

	writeTimeout time.Duration
	limiting     sync.Mutex
	writeLimit   time.Time // the deadline that is set
	direct       direct
}

func newGuardedConn(conn net.Conn, cfg Config, m *metrics, connected func()) *guardedConn {
	c := &guardedConn{Conn: conn, writeTimeout: cfg.WriteTimeout, metrics: m, connected: connected}
	c.in = stream{maxConnect: cfg.MaxConnect, maxPacket: cfg.MaxPacket}
	c.direct.open(conn)
	_ = conn.SetReadDeadline(time.Now().Add(cfg.ConnectTimeout)) // a failing socket fails the read
	return c
}

// Connected implements mqttguard.Guarded.
func (c *guardedConn) Connected() { c.connected() }

func (c *guardedConn) Read(p []byte) (int, error) {
	for {
		n, refused := c.in.next(p, c.take)
		if refused != "" {
			c.metrics.refused.WithLabelValues(refused).Inc()
			return 0, errPacket
		}
		if n > 0 {
			return n, nil
		}
		n, err := c.Conn.Read(c.in.space())
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
		c.in.w += n
	}
}

func (c *guardedConn) Write(p []byte) (int, error) {
	if err := c.limitWrite(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// limitWrite sets the deadline of a write. As one costs more than looking at the
// clock it serves several: each has between one half and all of the time.
func (c *guardedConn) limitWrite() error {
	now := time.Now()
	c.limiting.Lock()
	defer c.limiting.Unlock()
	if c.writeLimit.Sub(now) >= c.writeTimeout/2 {
		return nil
	}
	c.writeLimit = now.Add(c.writeTimeout)
	return c.SetWriteDeadline(c.writeLimit)
}

// SetDeadline is how mochi applies the keep-alive, at every packet it gets. It
// concerns reads only: writes have a limit of their own.
func (c *guardedConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.keepAlive = 0
		return c.SetReadDeadline(t)
	}
	if keepAlive := time.Until(t); (c.keepAlive - keepAlive).Abs() > time.Second {
		c.keepAlive, c.heard = keepAlive, time.Time{}
	}
	return c.stayAlive()
}

// stayAlive begins the keep-alive anew. As a deadline costs more than looking at
// the clock, not for every packet: it may last an eighth longer instead.
func (c *guardedConn) stayAlive() error {
	now := time.Now()
	if c.keepAlive == 0 || now.Sub(c.heard) < c.keepAlive/8 {
		return nil
	}
	c.heard = now
	return c.SetReadDeadline(now.Add(c.keepAlive + c.keepAlive/8))
}

// direct writes to a socket without waiting for room in it. A connection that is
// no socket never has any.
type direct struct {
	raw syscall.RawConn
	try func(fd uintptr) bool
	p   []byte
	n   int
	err error
}

func (d *direct) open(conn net.Conn) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	d.raw = raw
	d.try = func(fd uintptr) bool {
		d.n, d.err = syscall.Write(int(fd), d.p)
		return true // not to be called again when there is room
	}
}

// tryWrite writes what there is room for at once and returns how much that was.
// The caller keeps others from writing.
func (c *guardedConn) tryWrite(p []byte) (int, error) {
	d := &c.direct
	if d.raw == nil {
		return 0, nil
	}
	if err := c.limitWrite(); err != nil { // or one that has passed would fail this one
		return 0, err
	}
	d.p = p
	err := d.raw.Write(d.try)
	d.p = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(d.err, syscall.EAGAIN), errors.Is(d.err, syscall.EINTR):
		return 0, nil
	}
	return max(d.n, 0), d.err
}
