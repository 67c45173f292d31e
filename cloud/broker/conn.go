package broker

import (
	"errors"
	"net"
	"sync"
	"time"
)

// errPacket ends a connection whose packets go over a limit.
var errPacket = errors.New("packet over the limit or out of order")

// guardedConn follows the packet boundaries of what a client sends and fails
// the read before mochi sees, and allocates for, a packet that is too large. It
// bounds every write in time, since mochi writes under a lock that its other
// work waits for.
type guardedConn struct {
	net.Conn
	writeTimeout time.Duration
	scan         scanner
	metrics      *metrics
	connected    func() // once: CONNECT has been taken in
	session      *session
}

func newGuardedConn(conn net.Conn, cfg Config, m *metrics, connected func()) *guardedConn {
	c := &guardedConn{Conn: conn, writeTimeout: cfg.WriteTimeout, metrics: m, connected: sync.OnceFunc(connected)}
	c.scan = scanner{maxConnect: cfg.MaxConnect, maxPacket: cfg.MaxPacket}
	_ = conn.SetReadDeadline(time.Now().Add(cfg.ConnectTimeout)) // a failing socket fails the read
	return c
}

func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if reason := c.scan.feed(p[:n]); reason != "" {
		c.metrics.refused.WithLabelValues(reason).Inc()
		return 0, errPacket
	}
	return n, err
}

func (c *guardedConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline is how mochi applies the keep-alive. It concerns reads only:
// writes have a limit of their own.
func (c *guardedConn) SetDeadline(t time.Time) error { return c.Conn.SetReadDeadline(t) }

// scanner follows MQTT's fixed headers (MQTT 5.0, 2.1) through a stream.
type scanner struct {
	maxConnect, maxPacket int

	started   bool // the CONNECT's header has been seen
	inLength  bool // within the remaining length
	kind      byte
	length    int
	shift     uint
	remaining int // bytes of the packet's body still to come
}

const packetConnect = 1

// feed takes the next bytes in and says why they are refused, "" if they aren't.
func (s *scanner) feed(p []byte) (refused string) {
	for len(p) > 0 {
		if s.remaining > 0 {
			n := min(s.remaining, len(p))
			s.remaining -= n
			p = p[n:]
			continue
		}
		c := p[0]
		p = p[1:]
		if !s.inLength {
			s.kind, s.inLength, s.length, s.shift = c>>4, true, 0, 0
			if first := !s.started; first != (s.kind == packetConnect) {
				return "order" // CONNECT first, and only then
			}
			s.started = true
			continue
		}
		s.length |= int(c&0x7f) << s.shift
		s.shift += 7
		limit := s.maxPacket
		if s.kind == packetConnect {
			limit = s.maxConnect
		}
		if s.length > limit {
			return "size"
		}
		if c < 0x80 {
			s.inLength, s.remaining = false, s.length
		} else if s.shift > 21 {
			return "length"
		}
	}
	return ""
}
