package mqttguard

import (
	"errors"
	"net"
	"time"
)

// ErrPacket ends a connection whose packets go over a limit, or come in an order
// that the protocol doesn't have.
var ErrPacket = errors.New("packet over the limit or out of order")

// Limits of a Conn. All are required.
type Limits struct {
	Connect        int           // bytes of a CONNECT
	Packet         int           // bytes of any other packet
	ConnectTimeout time.Duration // until CONNECT is complete
	WriteTimeout   time.Duration // of one write
}

// Conn fails the read before the broker sees, and allocates for, a packet that is
// too large, and bounds every write in time: mochi writes under a lock that its
// other work waits for. It is for brokers that needn't be fast.
type Conn struct {
	net.Conn
	limits    Limits
	connected func()
	refused   func(reason string)

	started bool // the CONNECT's header has been seen
	body    int  // bytes of the current packet still to come
	header  []byte
}

// NewConn guards a connection.
func NewConn(conn net.Conn, l Limits, connected func(), refused func(string)) *Conn {
	_ = conn.SetReadDeadline(time.Now().Add(l.ConnectTimeout)) // a failing socket fails the read
	return &Conn{Conn: conn, limits: l, connected: connected, refused: refused}
}

// Connected implements Guarded.
func (c *Conn) Connected() { c.connected() }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if reason := c.pass(p[:n]); reason != "" {
		c.refused(reason)
		return 0, ErrPacket
	}
	return n, err
}

// pass follows the packets by their fixed headers (MQTT 5.0, 2.1).
func (c *Conn) pass(p []byte) (refused string) {
	for len(p) > 0 {
		if c.body > 0 {
			n := min(c.body, len(p))
			c.body, p = c.body-n, p[n:]
			continue
		}
		c.header = append(c.header, p[0])
		p = p[1:]
		const connect = 1
		kind := c.header[0] >> 4
		if !c.started != (kind == connect) {
			return "order" // CONNECT first, and only then
		}
		limit := c.limits.Packet
		if kind == connect {
			limit = c.limits.Connect
		}
		size := 0
		for i, b := range c.header[1:] {
			size |= int(b&0x7f) << (7 * i)
		}
		last := len(c.header) > 1 && c.header[len(c.header)-1] < 0x80
		switch {
		case size > limit:
			return "size"
		case last:
			c.started, c.body, c.header = true, size, c.header[:0]
		case len(c.header) == 5:
			return "length"
		}
	}
	return ""
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.limits.WriteTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline is how mochi applies the keep-alive. It concerns reads only: writes
// have a limit of their own.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }
