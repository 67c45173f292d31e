package external

import (
	"net"
	"sync"
	"time"

	"gnomon/mqttguard"
)

// conn sends each packet in one piece, which the library writes in parts while
// it holds the lock; bounds writes in time; remembers how the broker began to
// answer; fails the read of a packet that the broker should not have sent, before there
// is room made for it; and tells that it was closed.
type conn struct {
	net.Conn
	timeout time.Duration
	frames  mqttguard.Frames // belongs to the reader

	mu      sync.Mutex
	out     []byte
	packing bool

	answer sync.Mutex
	began  []byte // the first bytes from the broker; under answer
	once   sync.Once
	gone   chan struct{}
}

// newConn bounds packets from the broker by twice of what it is asked to send at most:
// one that counts otherwise isn't worth a connection that is lost over and over.
func newConn(nc net.Conn, packet int, timeout time.Duration) *conn {
	return &conn{Conn: nc, timeout: timeout, frames: mqttguard.Frames{Limit: 2 * packet}, gone: make(chan struct{})}
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
	err := c.flush(c.out)
	if c.out = c.out[:0]; cap(c.out) > 64<<10 {
		c.out = nil
	}
	if err != nil {
		c.Close()
	}
}

func (c *conn) Write(p []byte) (int, error) {
	if c.packing { // by the holder of mu
		c.out = append(c.out, p...)
		return len(p), nil
	}
	return len(p), c.flush(p)
}

func (c *conn) flush(p []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := c.Conn.Write(p)
	return err
}

// handshake is how many bytes are remembered of what the broker says first.
const handshake = 4

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.answer.Lock()
	defer c.answer.Unlock()
	if more := handshake - len(c.began); more > 0 {
		c.began = append(c.began, p[:min(n, more)]...)
	}
	if refused := c.frames.Pass(p[:n]); refused != nil {
		return 0, refused
	}
	return n, err
}

// Close closes the connection once.
func (c *conn) Close() (err error) {
	c.once.Do(func() {
		close(c.gone)
		err = c.Conn.Close()
	})
	return err
}

// answered tells whether the broker has said anything, and old whether that began
// like a CONNACK of MQTT 3.1.1.
func (c *conn) answered() (anything, old bool) {
	c.answer.Lock()
	defer c.answer.Unlock()
	return len(c.began) > 0, len(c.began) >= 2 && c.began[0] == 0x20 && c.began[1] == 2
}
