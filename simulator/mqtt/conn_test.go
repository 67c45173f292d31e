package mqtt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker runs a real broker on a free loopback port for the test.
func broker(t *testing.T) string {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	check(t, s.AddHook(new(open), nil))
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	check(t, s.AddListener(l))
	check(t, s.Serve())
	t.Cleanup(func() { _ = s.Close() })
	return l.Address()
}

// open lets everybody do everything.
type open struct{ mochi.HookBase }

func (*open) Provides(b byte) bool                                     { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }
func (*open) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*open) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

func dial(t *testing.T, addr string, o Options) *Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	c, err := Connect(t.Context(), nc, o)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestPublishReachesASubscriberAndIsAcknowledged(t *testing.T) {
	addr := broker(t)
	var traffic Traffic
	sub := dial(t, addr, Options{ClientID: "sub", Traffic: &traffic})
	id, err := sub.Subscribe(1, "$aws/things/t/shadow/#", "plain")
	check(t, err)
	p, err := sub.Next()
	check(t, err)
	if p.Type != SUBACK || p.ID != id || !bytes.Equal(p.Reasons, []byte{1, 1}) {
		t.Fatalf("SUBACK: %+v, want identifier %d and two times QoS 1", p, id)
	}

	pub := dial(t, addr, Options{ClientID: "pub"})
	payload := bytes.Repeat([]byte("x"), 20_000) // larger than any buffer to begin with
	for _, topic := range []string{"plain", "$aws/things/t/shadow/desired"} {
		sent, err := pub.Publish(topic, payload, 1)
		check(t, err)
		ack, err := pub.Next()
		check(t, err)
		if ack.Type != PUBACK || ack.ID != sent || ack.Reason >= 0x80 {
			t.Fatalf("PUBACK: %+v, want identifier %d", ack, sent)
		}
		got, err := sub.Next()
		check(t, err)
		if got.Topic != topic || !bytes.Equal(got.Payload, payload) || got.QoS != 1 {
			t.Fatalf("received %d bytes on %q at QoS %d", len(got.Payload), got.Topic, got.QoS)
		}
		check(t, sub.Ack(got))
	}
	if up, down := traffic.PacketsUp.Load(), traffic.PacketsDown.Load(); up != 4 || down != 4 {
		t.Errorf("counted %d packets up and %d down, want CONNECT, SUBSCRIBE, 2 PUBACK and CONNACK, SUBACK, 2 PUBLISH", up, down)
	}
	if n := traffic.BytesDown.Load(); n < 40_000 || n > 41_000 {
		t.Errorf("counted %d bytes down", n)
	}
	check(t, pub.Disconnect())
}

func TestPingsWhileNothingHappens(t *testing.T) {
	addr := broker(t)
	c := dial(t, addr, Options{ClientID: "quiet", KeepAlive: time.Second})
	_, err := c.Subscribe(0, "late")
	check(t, err)
	_, err = c.Next()
	check(t, err)
	// The broker drops a client after 1.5 times its keep alive.
	time.AfterFunc(2500*time.Millisecond, func() {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer nc.Close()
		if p, err := Connect(context.Background(), nc, Options{ClientID: "waker"}); err == nil {
			_, _ = p.Publish("late", nil, 0)
			_ = p.Disconnect()
		}
	})
	p, err := c.Next()
	if err != nil || p.Topic != "late" {
		t.Fatalf("after 2.5 s of silence: %+v, %v", p, err)
	}
	if c.opts.Traffic.PacketsUp.Load() < 4 {
		t.Errorf("%d packets up, want at least two pings", c.opts.Traffic.PacketsUp.Load())
	}
}

// scripted is a server that answers the handshake with reply and then does then.
func scripted(t *testing.T, reply []byte, then func(net.Conn)) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		if _, err := server.Read(make([]byte, 4096)); err != nil {
			return
		}
		if _, err := server.Write(reply); err != nil {
			return
		}
		if then != nil {
			then(server)
		}
	}()
	t.Cleanup(func() { client.Close(); <-done })
	return client
}

var accepted = []byte{0x20, 6, 0, 0, 3, 0x21, 0, 2} // receive maximum 2

func TestServersMisbehaviourIsAnErrorOfItsKind(t *testing.T) {
	swallow := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	send := func(b ...byte) func(net.Conn) {
		return func(c net.Conn) { _, _ = c.Write(b); swallow(c) }
	}
	for _, tc := range []struct {
		name  string
		reply []byte
		then  func(net.Conn)
		want  error
		says  string
	}{
		{"refused", []byte{0x20, 3, 0, 0x87, 0}, nil, nil, "not authorized"},
		{"not a CONNACK", []byte{0xd0, 0}, nil, ErrMalformed, "CONNACK was due"},
		{"hangs up", accepted, func(net.Conn) {}, io.EOF, ""},
		{"hangs up inside a packet", accepted, func(c net.Conn) { _, _ = c.Write([]byte{0x30, 9, 0}) }, io.ErrUnexpectedEOF, ""},
		{"too large", accepted, send(0x30, 0xff, 0xff, 0xff, 0x7f), ErrTooLarge, "the limit is 1024"},
		{"endless length", accepted, send(0x30, 0xff, 0xff, 0xff, 0xff, 1), ErrMalformed, "four bytes"},
		{"says goodbye", accepted, send(0xe0, 2, 0x8b, 0), nil, "shutting down"},
		{"second CONNACK", accepted, send(accepted...), ErrMalformed, "second"},
		{"silent", accepted, swallow, ErrSilent, "within 50ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc := scripted(t, tc.reply, tc.then)
			c, err := Connect(t.Context(), nc, Options{ClientID: "c", MaxPacket: 1024, Timeout: 50 * time.Millisecond, KeepAlive: 20 * time.Millisecond})
			if err == nil {
				_, err = c.Next()
			}
			if tc.name == "hangs up" && errors.Is(err, io.ErrClosedPipe) {
				return // which of the two it is: the pipe may close before the client has read
			}
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v saying %q", err, tc.want, tc.says)
			}
		})
	}
}

func TestReceiveMaximumOfTheServerIsKept(t *testing.T) {
	nc := scripted(t, accepted, func(c net.Conn) {
		buf := make([]byte, 256)
		for range 2 {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
		_, _ = c.Write([]byte{0x40, 2, 0, 1})
		_, _ = io.Copy(io.Discard, c)
	})
	c, err := Connect(t.Context(), nc, Options{ClientID: "c"})
	check(t, err)
	for range 2 {
		_, err := c.Publish("t", nil, 1)
		check(t, err)
	}
	if _, err := c.Publish("t", nil, 1); !errors.Is(err, ErrQuota) {
		t.Fatalf("third message: %v, want ErrQuota", err)
	}
	_, err = c.Next()
	check(t, err)
	if _, err := c.Publish("t", nil, 1); err != nil {
		t.Fatalf("after a PUBACK: %v", err)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, server) }()
	if _, err := Connect(ctx, client, Options{ClientID: "c"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the context's end", err)
	}
}
