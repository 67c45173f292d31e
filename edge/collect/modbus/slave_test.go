package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/schema"
)

// patience is the time limit that sources in tests have for one answer.
const patience = 150 * time.Millisecond

// calm is the time limit where every answer comes at once, and a busy machine is
// not to spoil one.
const calm = schema.Duration(500 * time.Millisecond)

// worth is what a register of a unit holds: no two that are confused easily
// hold the same.
func worth(unit byte, address int) uint16 { return uint16(address*7 + int(unit)) }

// question is a request as a slave sees it.
type question struct {
	head     []byte // of Modbus TCP; nil on a line
	unit     byte
	function byte
	address  int
	quantity int
}

// reply is something to say a while after the request.
type reply struct {
	after time.Duration
	frame []byte
}

// slave answers for all units. fault, if set, decides what is said to the nth
// request, counted from 0, in place of the good answer.
type slave struct {
	rtu   bool
	fault func(n int, q question, good []byte) []reply
	holds func(unit byte, address int) uint16 // nil = worth

	mu      sync.Mutex
	asked   []question
	stretch time.Duration // multiplies how late replies are; 0 = 1
}

func (s *slave) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// frame wraps a PDU for the medium.
func (s *slave) frame(q question, pdu ...byte) []byte {
	if !s.rtu {
		out := binary.BigEndian.AppendUint16(append([]byte{}, q.head[:4]...), uint16(len(pdu)+1))
		return append(append(out, q.unit), pdu...)
	}
	out := append([]byte{q.unit}, pdu...)
	return binary.LittleEndian.AppendUint16(out, crc(out))
}

func (s *slave) good(q question) []byte {
	pdu := []byte{q.function, byte(responseBytes(q.function, uint16(q.quantity)))}
	if q.function <= 2 {
		bits := make([]byte, pdu[1])
		for i := range q.quantity {
			bits[i/8] |= byte(worth(q.unit, q.address+i)&1) << (i % 8)
		}
		return s.frame(q, append(pdu, bits...)...)
	}
	holds := s.holds
	if holds == nil {
		holds = worth
	}
	for i := range q.quantity {
		pdu = binary.BigEndian.AppendUint16(pdu, holds(q.unit, q.address+i))
	}
	return s.frame(q, pdu...)
}

func (s *slave) hear(r io.Reader) (q question, err error) {
	body := make([]byte, 8)
	if !s.rtu {
		q.head = make([]byte, 6)
		if _, err = io.ReadFull(r, q.head); err != nil {
			return q, err
		}
		body = body[:6]
	}
	if _, err = io.ReadFull(r, body); err != nil {
		return q, err
	}
	q.unit, q.function = body[0], body[1]
	q.address, q.quantity = int(binary.BigEndian.Uint16(body[2:])), int(binary.BigEndian.Uint16(body[4:]))
	return q, nil
}

// serve answers in order, each reply at its time, until the medium is cut.
func (s *slave) serve(rw io.ReadWriter) {
	type due struct {
		at    time.Time
		frame []byte
	}
	queue := make(chan due, 1000)
	var writer sync.WaitGroup
	writer.Go(func() {
		for d := range queue {
			time.Sleep(time.Until(d.at))
			if _, err := rw.Write(d.frame); err != nil {
				continue // cut; the reader notices as well
			}
		}
	})
	defer writer.Wait()
	defer close(queue)
	for {
		q, err := s.hear(rw)
		if err != nil {
			return
		}
		now := time.Now()
		s.mu.Lock()
		n := len(s.asked)
		s.asked = append(s.asked, q)
		replies := []reply{{0, s.good(q)}}
		if s.fault != nil {
			replies = s.fault(n, q, replies[0].frame)
		}
		stretch := max(s.stretch, 1)
		s.mu.Unlock()
		for _, r := range replies {
			queue <- due{now.Add(stretch * r.after), r.frame}
		}
	}
}

// outlet is where a slave can be reached, until it is cut.
type outlet struct {
	t       *testing.T
	slave   *slave
	source  schema.Source
	serving sync.WaitGroup

	mu      sync.Mutex
	closers []io.Closer
}

var hosts atomic.Int64

// ownHost is a loopback address that no other test uses, so that a port which
// was let go of can be had again.
func ownHost() string {
	n := hosts.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()%250, n/250%250, 1+n%250)
}

// attach puts a slave on a medium of its own.
func attach(t *testing.T, kind schema.SourceKind, s *slave) *outlet {
	t.Helper()
	hole := 16
	m := &outlet{t: t, slave: s, source: schema.Source{
		Kind: kind, Timeout: schema.Duration(patience), Tries: 2, MaxHole: &hole,
	}}
	s.rtu = kind != schema.SourceModbusTCP
	if kind == schema.SourceModbusRTU {
		m.source.Port = filepath.Join(t.TempDir(), "tty")
		m.source.Baud, m.source.Data, m.source.Parity, m.source.Stop = 115200, 8, "N", 1
	} else {
		m.source.Address = ownHost() + ":0"
	}
	m.join()
	t.Cleanup(m.cut)
	return m
}

// join makes the slave reachable, under the former address if there was one.
func (m *outlet) join() {
	m.t.Helper()
	if m.source.Kind == schema.SourceModbusRTU {
		m.joinLine()
		return
	}
	l, err := net.Listen("tcp", m.source.Address)
	for errors.Is(err, unix.EADDRINUSE) {
		// A program that another test is just starting has its copy of the old
		// listener until it is exec'd.
		<-time.After(time.Millisecond)
		l, err = net.Listen("tcp", m.source.Address)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.source.Address = l.Addr().String()
	m.hold(l)
	m.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			m.hold(conn)
			m.serving.Go(func() { m.slave.serve(conn) })
		}
	})
}

func (m *outlet) joinLine() {
	m.t.Helper()
	master, tty, name := openPTY(m.t)
	m.hold(master, tty)
	link := m.source.Port
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	if err := os.Symlink(name, link); err != nil {
		m.t.Fatal(err)
	}
	m.serving.Go(func() { m.slave.serve(master) })
}

func (m *outlet) hold(c ...io.Closer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closers = append(m.closers, c...)
}

// cut makes the slave unreachable: server and connections closed, line unplugged.
func (m *outlet) cut() {
	m.mu.Lock()
	for _, c := range m.closers {
		c.Close()
	}
	m.closers = nil
	m.mu.Unlock()
	m.serving.Wait()
}

// openPTY returns both ends of a pseudoterminal in raw mode, and the name of
// the second.
func openPTY(t *testing.T) (master, tty *os.File, name string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	name = "/dev/pts/" + strconv.Itoa(n)
	// Kept open, so that the master stays readable while nobody else has the
	// line open.
	if tty, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	raw, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, raw); err != nil {
		t.Fatal(err)
	}
	return master, tty, name
}
