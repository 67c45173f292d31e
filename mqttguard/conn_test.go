package mqttguard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func packet(first byte, size int) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(size)), make([]byte, size)...)
}

// read feeds a connection in pieces of a size and returns what came through.
func read(t *testing.T, sent []byte, piece int) (got []byte, refused string, err error) {
	t.Helper()
	far, near := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		for len(sent) > 0 {
			n := min(piece, len(sent))
			if _, err := far.Write(sent[:n]); err != nil {
				return
			}
			sent = sent[n:]
		}
	}()
	c := NewConn(near, Limits{Connect: 100, Packet: 1000, ConnectTimeout: 5 * time.Second, WriteTimeout: time.Second}, func() {}, func(r string) { refused = r })
	got, err = io.ReadAll(c)
	return got, refused, err
}

func TestPackets(t *testing.T) {
	hello := packet(0x10, 100)
	for _, c := range []struct {
		name    string
		sent    []byte
		refused string
	}{
		{"whole packets", bytes.Join([][]byte{hello, packet(0x30, 1000), packet(0xc0, 0), packet(0x82, 5)}, nil), ""},
		{"CONNECT too large", packet(0x10, 101), "size"},
		{"a packet too large", append(bytes.Clone(hello), packet(0x30, 1001)...), "size"},
		{"no CONNECT first", packet(0x30, 5), "order"},
		{"CONNECT twice", append(bytes.Clone(hello), hello...), "order"},
		{"a length without end", append(bytes.Clone(hello), 0x30, 0x80, 0x80, 0x80, 0x80), "length"},
	} {
		for _, piece := range []int{1, 3, 1 << 20} {
			got, refused, err := read(t, bytes.Clone(c.sent), piece)
			switch {
			case refused != c.refused:
				t.Errorf("%s in pieces of %d: refused %q, want %q", c.name, piece, refused, c.refused)
			case c.refused == "" && (err != nil || !bytes.Equal(got, c.sent)):
				t.Errorf("%s in pieces of %d: %d of %d bytes, %v", c.name, piece, len(got), len(c.sent), err)
			case c.refused != "" && !errors.Is(err, ErrPacket):
				t.Errorf("%s in pieces of %d: %v", c.name, piece, err)
			}
		}
	}
}

// Connections that don't say CONNECT are bounded by address, and give their
// places back.
func TestHalfOpen(t *testing.T) {
	refused := make(chan string, 10)
	l := New(Config{
		Address: "127.0.0.1:0", HalfOpen: 2,
		Wrap: func(conn net.Conn, connected func()) Guarded {
			return NewConn(conn, Limits{Connect: 100, Packet: 100, ConnectTimeout: time.Minute, WriteTimeout: time.Second}, connected, func(string) {})
		},
		Refused:   func(r string) { refused <- r },
		Malformed: func(Guarded, any, []byte) {},
		Ended:     func(Guarded, error) {},
	})
	if err := l.Bind(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Serve(func(_ string, c net.Conn) error {
			_, err := io.Copy(io.Discard, c)
			return err
		})
	}()
	var open []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	if r := <-refused; r != "half-open" {
		t.Errorf("refused for %q", r)
	}
	open[0].Close()
	for end := time.Now().Add(5 * time.Second); l.HalfOpen() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d half-open", l.HalfOpen())
		}
	}
	l.Shutdown(func() {})
	<-done
	if n := l.HalfOpen(); n != 0 {
		t.Errorf("%d half-open after the end", n)
	}
}

// Whatever a handler's panic is, it ends its own connection only.
func TestPanics(t *testing.T) {
	causes := make(chan any, 1)
	l := New(Config{
		Address: "127.0.0.1:0",
		Wrap: func(conn net.Conn, connected func()) Guarded {
			return NewConn(conn, Limits{Connect: 100, Packet: 100, ConnectTimeout: time.Minute, WriteTimeout: time.Second}, connected, func(string) {})
		},
		Refused:   func(string) {},
		Malformed: func(_ Guarded, cause any, _ []byte) { causes <- cause },
		Ended:     func(Guarded, error) {},
	})
	if err := l.Bind(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Serve(func(string, net.Conn) error { panic("decoder") })
	}()
	for range 2 {
		c, err := net.Dial("tcp", l.Address())
		if err != nil {
			t.Fatal(err)
		}
		if cause := <-causes; cause != "decoder" {
			t.Errorf("%v", cause)
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection lives on: %v", err)
		}
		c.Close()
	}
	l.Shutdown(func() {})
	<-done
}
