package mqttguard

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Frames follows the packets of a stream by their fixed headers (MQTT 5.0, 2.1). The
// zero value lets no packet through that has a body.
type Frames struct {
	Limit int // bytes of a packet, without its fixed header

	body   int  // bytes of the current packet still to come
	length int  // remaining length read so far
	shift  uint // 7 per byte of it; 0 also before the first
	header bool // within a fixed header
}

// Pass takes what comes next. An ErrPacket says that a packet claims to be larger
// than the limit: the library must not see that header, since it makes room for as
// many bytes as one claims before it looks for them.
func (f *Frames) Pass(p []byte) error {
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
		if f.length > f.Limit || f.shift == 28 && b&0x80 != 0 {
			return fmt.Errorf("%w: the broker sends one of more than %d bytes", ErrPacket, f.Limit)
		}
		if b&0x80 == 0 {
			f.header, f.body = false, f.length
		}
	}
	return nil
}

// Within tells whether the stream stands in the middle of a packet.
func (f *Frames) Within() bool { return f.header || f.body > 0 }

// Upstream is a connection to a broker that needn't be trusted, for a client of the
// paho library: no packet from it is larger than a limit, before anything is allocated
// for it, whatever was said in CONNECT and also before CONNACK; what is sent goes out
// packet by packet, though the library writes them in parts from several goroutines;
// and no write takes longer than a time.
type Upstream struct {
	net.Conn
	// Slowest is, in bytes a second, the link on which a write still has the time for
	// all it has, besides. 0: however much it is, it has the same time. It is set before
	// the connection is used.
	Slowest int

	timeout time.Duration
	frames  Frames // belongs to the reader
	refused atomic.Pointer[error]

	mu      sync.Mutex
	out     []byte
	packing bool
}

// keepOut is how much room for packets is kept between them.
const keepOut = 64 << 10

// NewUpstream bounds the packets that come by a connection, in bytes, and its writes
// in time.
func NewUpstream(conn net.Conn, packet int, write time.Duration) *Upstream {
	return &Upstream{Conn: conn, timeout: write, frames: Frames{Limit: packet}}
}

// Lock begins a packet. It is how the library says so.
func (u *Upstream) Lock() {
	u.mu.Lock()
	u.packing = true
}

// Unlock sends the packet. A failure closes the connection, which the reader finds
// out.
func (u *Upstream) Unlock() {
	defer u.mu.Unlock()
	u.packing = false
	_, err := u.flush(u.out)
	if u.out = u.out[:0]; cap(u.out) > keepOut {
		u.out = nil
	}
	if err != nil {
		u.Conn.Close()
	}
}

// Write implements net.Conn.
func (u *Upstream) Write(p []byte) (int, error) {
	if u.packing { // by the holder of mu
		u.out = append(u.out, p...)
		return len(p), nil
	}
	return u.flush(p)
}

func (u *Upstream) flush(p []byte) (int, error) {
	patience := u.timeout
	if u.Slowest > 0 {
		patience += time.Duration(len(p)) * time.Second / time.Duration(u.Slowest)
	}
	if err := u.Conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return u.Conn.Write(p)
}

// Read implements net.Conn.
func (u *Upstream) Read(p []byte) (int, error) {
	n, err := u.Conn.Read(p)
	if refused := u.frames.Pass(p[:n]); refused != nil {
		u.refused.Store(&refused)
		return 0, refused
	}
	return n, err
}

// Refused is why nothing more of the broker is taken, an ErrPacket; nil: that isn't
// why the connection ended. The library tells in several ways, or later.
func (u *Upstream) Refused() error {
	if why := u.refused.Load(); why != nil {
		return *why
	}
	return nil
}
