package link

import (
	"net"
	"time"

	"gnomon/mqttguard"
)

// newConn counts the bytes of a connection, and bounds packets in size and writes in
// time. Every packet goes out in one piece: its parts would be segments of their own
// on a link that counts bytes.
func newConn(nc net.Conn, timeout time.Duration, counters *Counters) *mqttguard.Upstream {
	u := mqttguard.NewUpstream(counted{nc, counters}, maxPacket, timeout)
	u.Slowest = slowest
	return u
}

// counted counts the bytes of a connection.
type counted struct {
	net.Conn
	counters *Counters
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.counters.BytesOut.Add(int64(n))
	return n, err
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.counters.BytesIn.Add(int64(n))
	return n, err
}
