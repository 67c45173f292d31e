package external

import (
	"net"
	"sync"
	"time"

	"gnomon/mqttguard"
)

// conn is the connection below an mqttguard.Upstream: it remembers how the broker began
// to answer, and tells that it was closed.
type conn struct {
	net.Conn
	answer sync.Mutex
	began  []byte // the first bytes from the broker; under answer
	once   sync.Once
	gone   chan struct{}
}

func newConn(nc net.Conn) *conn { return &conn{Conn: nc, gone: make(chan struct{})} }

// guarded bounds packets from the broker by twice of what it is asked to send at most:
// one that counts otherwise isn't worth a connection that is lost over and over.
func (c *conn) guarded(packet int, timeout time.Duration) *mqttguard.Upstream {
	return mqttguard.NewUpstream(c, 2*packet, timeout)
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
