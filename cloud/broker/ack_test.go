package broker

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// acknowledged is a session over a socket of which the client reads only what a
// test has it read.
func acknowledged(t *testing.T, b *Broker) (*session, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{server.(*net.TCPConn).SetWriteBuffer(1 << 16), client.(*net.TCPConn).SetReadBuffer(1 << 16)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	conn := newGuardedConn(server, b.cfg, b.metrics, func() {})
	s := &session{broker: b, client: b.server.NewClient(conn, "test", t.Name(), false), conn: conn}
	s.acks.session, conn.session = s, s
	t.Cleanup(func() {
		s.client.Stop(nil)
		client.Close()
	})
	return s, client
}

// A client that doesn't read its acknowledgements gets them all, in order and
// whole, when it does; and its neighbours get theirs meanwhile.
func TestAcks_ClientThatDoesNotRead(t *testing.T) {
	b, err := New(Config{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	b.writers = b.writers[:1] // whom both share
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.writers.run(ctx)
	}()
	defer func() { cancel(); <-ended }()
	stuck, stuckClient := acknowledged(t, b)
	lively, livelyClient := acknowledged(t, b)
	const n = 400_000 // 1.6 MB: more than the socket holds
	go func() {
		for i := range n {
			stuck.acks.add(uint16(i))
		}
	}()
	for i := range 100 {
		lively.acks.add(uint16(i))
		expectAck(t, livelyClient, uint16(i))
	}
	for i := range n {
		expectAck(t, stuckClient, uint16(i))
	}
}

func expectAck(t *testing.T, from net.Conn, id uint16) {
	t.Helper()
	var p [4]byte
	if err := from.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(from, p[:]); err != nil {
		t.Fatalf("no acknowledgement of %d: %v", id, err)
	}
	if p[0] != 0x40 || p[1] != 2 || binary.BigEndian.Uint16(p[2:]) != id {
		t.Fatalf("% x, want the acknowledgement of %d", p, id)
	}
}
