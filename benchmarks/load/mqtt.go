package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// MQTT describes publishers at quality of service 1, over MQTT 3.1.1.
type MQTT struct {
	Address string
	Clients int
	Window  int // unacknowledged publishes of one client
	// Packet returns what a client publishes: topic, payload, and where within
	// the payload eight digits count up; Vary may be nil.
	Packet func(client int) (topic string, payload []byte, digits int)
	// Topics, when above 0, is how many topics the eight zeros in the topic go
	// through. Each client begins at a place of its own, so that together they
	// have visited all of them when each has visited its share.
	Topics int
}

// Fleet is connected publishers.
type Fleet struct {
	cfg     MQTT
	clients []*publisher
}

type publisher struct {
	conn   net.Conn
	in     *bufio.Reader
	packet []byte
	topic  []byte // the digits of the topic within packet; nil: fixed
	id     []byte // the packet identifier within packet
	digits []byte // the counter within packet
	n      uint64
	topics int
}

// Connect connects all publishers.
func (m MQTT) Connect(ctx context.Context) (*Fleet, error) {
	f := &Fleet{cfg: m}
	for i := range m.Clients {
		p, err := m.connect(ctx, i)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.clients = append(f.clients, p)
	}
	return f, nil
}

func (m MQTT) connect(ctx context.Context, i int) (*publisher, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", m.Address)
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("load-%d", i)
	connect := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, byte(len(id))}, id...)
	if _, err := conn.Write(connect); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := &publisher{conn: conn, in: bufio.NewReaderSize(conn, 256), topics: m.Topics, n: uint64(i) * uint64(m.Topics) / uint64(m.Clients)}
	var connack [4]byte
	if _, err := io.ReadFull(p.in, connack[:]); err != nil || connack[3] != 0 {
		return nil, errors.Join(fmt.Errorf("connack % x: %w", connack, err), conn.Close())
	}
	p.encode(m.Packet(i))
	return p, nil
}

// encode lays the packet out once; Run changes counters in place.
func (p *publisher) encode(topic string, payload []byte, digits int) {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = append(body, topic...)
	body = append(body, 0, 1)
	at := len(body)
	body = append(body, payload...)
	head := []byte{0x32}
	for n := len(body); ; {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b |= 0x80
		}
		head = append(head, b)
		if n == 0 {
			break
		}
	}
	p.packet = append(head, body...)
	h := len(head)
	p.id = p.packet[h+at-2 : h+at]
	p.digits = p.packet[h+at+digits : h+at+digits+8]
	if p.topics > 0 {
		for i := 0; i+8 <= len(topic); i++ {
			if topic[i:i+8] == "00000000" {
				p.topic = p.packet[h+2+i : h+10+i]
				break
			}
		}
	}
}

// stride visits all topics in an order without neighbours.
const stride = 7919 // a prime, and no divisor of any round number

// next changes the packet into the next one.
func (p *publisher) next() []byte {
	p.n++
	binary.BigEndian.PutUint16(p.id, uint16(p.n%65535)+1)
	decimal(p.digits, p.n)
	if p.topic != nil {
		decimal(p.topic, p.n*stride%uint64(p.topics))
	}
	return p.packet
}

func decimal(to []byte, n uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = byte('0' + n%10)
		n /= 10
	}
}

// Run publishes for d and returns how many publishes were acknowledged within it.
func (f *Fleet) Run(d time.Duration) (operations int64, err error) {
	var stop atomic.Bool
	var total atomic.Int64
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for _, p := range f.clients {
		group.Go(func() {
			n, err := p.run(f.cfg.Window, &stop)
			total.Add(n)
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	timer := time.NewTimer(d)
	<-timer.C
	stop.Store(true)
	group.Wait()
	if e := failed.Load(); e != nil {
		return 0, *e
	}
	return total.Load(), nil
}

// Once publishes n packets in all, spread over the publishers, and waits for
// their acknowledgements.
func (f *Fleet) Once(n int) error {
	var group sync.WaitGroup
	errs := make([]error, len(f.clients))
	for i, p := range f.clients {
		share := n / len(f.clients)
		if i < n%len(f.clients) {
			share++
		}
		group.Go(func() { errs[i] = p.publish(share, f.cfg.Window) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (p *publisher) run(window int, stop *atomic.Bool) (acked int64, err error) {
	inFlight := 0
	var out []byte
	for !stop.Load() {
		out = out[:0]
		for ; inFlight < window; inFlight++ {
			out = append(out, p.next()...)
		}
		if _, err := p.conn.Write(out); err != nil {
			return acked, err
		}
		n, err := p.acks()
		if err != nil {
			return acked, err
		}
		inFlight -= n
		acked += int64(n)
	}
	for inFlight > 0 { // beyond the time: not counted
		n, err := p.acks()
		if err != nil {
			return acked, err
		}
		inFlight -= n
	}
	return acked, nil
}

func (p *publisher) publish(n, window int) error {
	inFlight := 0
	var out []byte
	for n > 0 || inFlight > 0 {
		out = out[:0]
		for ; inFlight < window && n > 0; inFlight, n = inFlight+1, n-1 {
			out = append(out, p.next()...)
		}
		if _, err := p.conn.Write(out); err != nil {
			return err
		}
		got, err := p.acks()
		if err != nil {
			return err
		}
		inFlight -= got
	}
	return nil
}

// acks waits for one PUBACK and takes what came with it.
func (p *publisher) acks() (n int, err error) {
	for n == 0 || p.in.Buffered() >= 4 {
		var ack [4]byte
		if _, err := io.ReadFull(p.in, ack[:]); err != nil {
			return n, err
		}
		if ack[0] != 0x40 || ack[1] != 2 {
			return n, fmt.Errorf("no PUBACK: % x", ack)
		}
		n++
	}
	return n, nil
}

// Close disconnects all.
func (f *Fleet) Close() {
	for _, p := range f.clients {
		p.conn.Close()
	}
}
