package link

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// conn counts bytes, bounds writes in time and packets in size, and sends each
// packet in one piece: the library locks it around the parts of a packet, and
// every part would be a segment of its own on a link that counts bytes.
type conn struct {
	net.Conn
	timeout  time.Duration
	counters *Counters
	frame    frame

	mu      sync.Mutex
	out     []byte
	packing bool
}

func newConn(nc net.Conn, timeout time.Duration, counters *Counters) *conn {
	return &conn{Conn: nc, timeout: timeout, counters: counters}
}

// Lock begins a packet.
func (c *conn) Lock() {
	c.mu.Lock()
	c.packing = true
}

// Unlock sends the packet. A failure closes the connection, which the reader
// finds out.
func (c *conn) Unlock() {
	defer c.mu.Unlock()
	c.packing = false
	_, err := c.flush(c.out)
	if c.out = c.out[:0]; cap(c.out) > 64<<10 {
		c.out = nil
	}
	if err != nil {
		c.Conn.Close()
	}
}

func (c *conn) Write(p []byte) (int, error) {
	if c.packing { // by the holder of mu
		c.out = append(c.out, p...)
		return len(p), nil
	}
	return c.flush(p)
}

func (c *conn) flush(p []byte) (int, error) {
	patience := c.timeout + time.Duration(len(p))*time.Second/slowest
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	c.counters.BytesOut.Add(int64(n))
	return n, err
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.counters.BytesIn.Add(int64(n))
	if ferr := c.frame.pass(p[:n]); ferr != nil {
		return 0, ferr
	}
	return n, err
}

// frame follows the packets of a stream by their fixed headers, since the
// library makes room for as many bytes as a header claims before it looks.
type frame struct {
	body   int  // bytes of the current packet still to come
	length int  // remaining length read so far
	shift  uint // 7 per byte of it; 0 also before the first
	header bool // within a fixed header
}

func (f *frame) pass(p []byte) error {
	for len(p) > 0 {
		if f.body > 0 {
			n := min(f.body, len(p))
			f.body, p = f.body-n, p[n:]
			continue
		}
		b := p[0]
		p = p[1:]
		if !f.header {
			f.header, f.length, f.shift = true, 0, 0
			continue
		}
		f.length |= int(b&0x7f) << f.shift
		f.shift += 7
		if f.length > maxPacket || f.shift > 28 {
			return fmt.Errorf("the broker sends a packet of more than %d bytes", maxPacket)
		}
		if b&0x80 == 0 {
			f.header, f.body = false, f.length
		}
	}
	return nil
}
