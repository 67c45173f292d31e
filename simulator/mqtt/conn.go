package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options of one connection. The zero value of every field but ClientID means
// its default.
type Options struct {
	ClientID   string
	Username   string
	Password   []byte
	KeepAlive  time.Duration // default 60 s; a PINGREQ goes out after 3/4 of it in silence
	MaxPacket  int           // largest packet taken; default 256 KiB, twice the largest shadow update
	ReceiveMax uint16        // unacknowledged QoS 1 messages taken; default 32
	Timeout    time.Duration // of one write, of the handshake and of a ping's answer; default 10 s
	Traffic    *Traffic      // counts into this when not nil
}

func (o Options) withDefaults() Options {
	if o.KeepAlive == 0 {
		o.KeepAlive = 60 * time.Second
	}
	if o.MaxPacket == 0 {
		o.MaxPacket = 256 << 10
	}
	if o.ReceiveMax == 0 {
		o.ReceiveMax = 32
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Traffic == nil {
		o.Traffic = new(Traffic)
	}
	return o
}

// Traffic counts what went over the wire in MQTT packets and bytes, TCP and IP
// not included. It may be shared by consecutive connections.
type Traffic struct {
	PacketsUp, PacketsDown, BytesUp, BytesDown atomic.Int64
}

// Conn is one connection. Next belongs to one goroutine at a time; everything
// else may be called by any.
type Conn struct {
	nc     net.Conn
	opts   Options
	server Server
	in     reader

	mu          sync.Mutex
	lastID      uint16
	outstanding int       // QoS 1 messages without PUBACK
	lastWrite   time.Time // for keep alive
	pinged      time.Time // zero unless a ping is unanswered
}

// scratch holds buffers for outgoing packets, so that idle connections hold none.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// Connect sends CONNECT over nc and waits for the CONNACK. On an error nc is
// closed. The caller owns the connection's end: Close, or Disconnect.
func Connect(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	o = o.withDefaults()
	c := &Conn{nc: nc, opts: o, in: reader{src: nc, limit: o.MaxPacket, traffic: o.Traffic}}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	if err := c.handshake(); err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("connect %q: %w", o.ClientID, err)
	}
	return c, nil
}

func (c *Conn) handshake() error {
	packet, err := appendConnect(nil, &c.opts)
	if err != nil {
		return err
	}
	if err := c.write(packet); err != nil {
		return err
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(c.opts.Timeout)); err != nil {
		return err
	}
	p, err := c.in.next()
	if err != nil {
		return err
	}
	if p.Type != CONNACK {
		return fmt.Errorf("%w: packet type %d where CONNACK was due", ErrMalformed, p.Type)
	}
	if p.Reason >= 0x80 {
		return &RefusedError{Type: CONNACK, Reason: p.Reason}
	}
	c.server = p.Server
	if c.server.HasKeepAlive {
		c.opts.KeepAlive = time.Duration(c.server.KeepAlive) * time.Second
	}
	return nil
}

// Server returns what the server stated when it accepted the connection.
func (c *Conn) Server() Server { return c.server }

// Next returns the next packet that is the caller's business: PUBLISH, PUBACK
// or SUBACK. It keeps the connection alive while it waits. After an error the
// connection is of no more use.
func (c *Conn) Next() (Packet, error) {
	for {
		if err := c.nc.SetReadDeadline(c.deadline()); err != nil {
			return Packet{}, err
		}
		p, err := c.in.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.keepAlive(time.Now()); err != nil {
				return Packet{}, err
			}
			continue
		case err != nil:
			return Packet{}, err
		}
		switch p.Type {
		case PINGRESP:
			c.mu.Lock()
			c.pinged = time.Time{}
			c.mu.Unlock()
			continue
		case DISCONNECT:
			return p, &RefusedError{Type: DISCONNECT, Reason: p.Reason}
		case PUBACK:
			c.mu.Lock()
			c.outstanding = max(0, c.outstanding-1)
			c.mu.Unlock()
		case CONNACK:
			return p, fmt.Errorf("%w: a second CONNACK", ErrMalformed)
		}
		return p, nil
	}
}

// deadline is when to look after the connection even if nothing arrives.
func (c *Conn) deadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pinged.IsZero() {
		return c.pinged.Add(c.opts.Timeout)
	}
	if c.opts.KeepAlive == 0 {
		return time.Time{}
	}
	return c.lastWrite.Add(c.opts.KeepAlive * 3 / 4)
}

func (c *Conn) keepAlive(now time.Time) error {
	c.mu.Lock()
	waiting := !c.pinged.IsZero()
	silent := waiting && now.Sub(c.pinged) >= c.opts.Timeout
	due := !waiting && now.Sub(c.lastWrite) >= c.opts.KeepAlive*3/4
	if due {
		c.pinged = now
	}
	c.mu.Unlock()
	switch {
	case silent:
		return fmt.Errorf("%w within %s", ErrSilent, c.opts.Timeout)
	case due:
		return c.write(appendPingreq(nil))
	}
	return nil
}

// Subscribe asks for filters at one QoS and returns the packet identifier that
// the SUBACK will carry.
func (c *Conn) Subscribe(qos byte, filters ...string) (uint16, error) {
	c.mu.Lock()
	id := c.nextID()
	c.mu.Unlock()
	packet, err := appendSubscribe(nil, id, qos, filters)
	if err != nil {
		return 0, err
	}
	return id, c.write(packet)
}

// Publish sends one message at QoS 0 or 1 and returns its packet identifier, 0
// at QoS 0. ErrQuota and ErrTooLarge leave the connection usable.
func (c *Conn) Publish(topic string, payload []byte, qos byte) (uint16, error) {
	if qos > 1 {
		return 0, fmt.Errorf("mqtt: publish to %q: QoS %d, the limit is 1", topic, qos)
	}
	var id uint16
	if qos == 1 {
		c.mu.Lock()
		if c.outstanding >= int(c.server.ReceiveMax) {
			c.mu.Unlock()
			return 0, ErrQuota
		}
		c.outstanding++
		id = c.nextID()
		c.mu.Unlock()
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	packet, err := appendPublish((*buf)[:0], topic, payload, qos, id)
	if err == nil && c.server.MaxPacket > 0 && len(packet) > int(c.server.MaxPacket) {
		err = fmt.Errorf("%w: publish to %q of %d bytes, the server takes %d", ErrTooLarge, topic, len(packet), c.server.MaxPacket)
	}
	if err != nil {
		c.release(qos)
		return 0, err
	}
	if cap(packet) <= keepBuffer {
		*buf = packet
	}
	return id, c.write(packet)
}

// release gives a place in the server's receive maximum back.
func (c *Conn) release(qos byte) {
	if qos == 0 {
		return
	}
	c.mu.Lock()
	c.outstanding--
	c.mu.Unlock()
}

// Ack acknowledges a received QoS 1 message; for QoS 0 it does nothing.
func (c *Conn) Ack(p Packet) error {
	if p.QoS == 0 {
		return nil
	}
	return c.write(appendPuback(make([]byte, 0, 4), p.ID))
}

// Disconnect ends the connection in good order.
func (c *Conn) Disconnect() error {
	err := c.write(appendDisconnect(nil))
	return errors.Join(err, c.nc.Close())
}

// Close cuts the connection without a word, as a lost link does.
func (c *Conn) Close() error { return c.nc.Close() }

// nextID returns the next packet identifier; c.mu is held. Outstanding ones are
// bounded far below 65535 and answered in order, so none is used twice at once.
func (c *Conn) nextID() uint16 {
	c.lastID++
	if c.lastID == 0 {
		c.lastID = 1
	}
	return c.lastID
}

func (c *Conn) write(packet []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if err := c.nc.SetWriteDeadline(now.Add(c.opts.Timeout)); err != nil {
		return err
	}
	if _, err := c.nc.Write(packet); err != nil {
		return err
	}
	c.lastWrite = now
	c.opts.Traffic.PacketsUp.Add(1)
	c.opts.Traffic.BytesUp.Add(int64(len(packet)))
	return nil
}
