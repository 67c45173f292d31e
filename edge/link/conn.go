package link

import (
	"net"
	"sync"
	"time"

	"gnomon/mqttguard"
)

// conn counts bytes, bounds writes in time and packets in size, and sends each
// packet in one piece: the library locks it around the parts of a packet, and
// every part would be a segment of its own on a link that counts bytes.
type conn struct {
	net.Conn
	timeout  time.Duration
	counters *Counters
	frames   mqttguard.Frames

	mu      sync.Mutex
	out     []byte
	packing bool
}

func newConn(nc net.Conn, timeout time.Duration, counters *Counters) *conn {
	return &conn{Conn: nc, timeout: timeout, counters: counters, frames: mqttguard.Frames{Limit: maxPacket}}
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
	if ferr := c.frames.Pass(p[:n]); ferr != nil {
		return 0, ferr
	}
	return n, err
}
