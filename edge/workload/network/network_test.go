package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gnomon/edge/workload"
	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever pool and whatever order: addresses differ, lie in the pool, are neither
// its own, the bridge's nor the broadcast one, and a name gets its address again.
func TestChoose(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		bits := rapid.IntRange(20, 29).Draw(r, "bits")
		c := Config{Pool: netip.PrefixFrom(netip.MustParseAddr("10.1.2.3"), bits), Pool6: netip.MustParsePrefix("fd00:1::/64")}
		taken, at := map[int]bool{}, map[string]int{}
		for i := range min(c.size(), 40) {
			name := fmt.Sprintf("app-%d", i)
			n, err := c.choose(name, taken)
			if err != nil || taken[n] {
				r.Fatalf("%s: %d %v", name, n, err)
			}
			taken[n], at[name] = true, n
			a := nth(c.Pool, n)
			last := nth(c.Pool, 1<<(32-bits)-1)
			if !c.Pool.Contains(a) || a == c.Pool.Masked().Addr() || a == gateway(c.Pool).Addr() || a == last || !c.Pool6.Contains(nth(c.Pool6, n)) {
				r.Fatalf("%s of %s", a, c.Pool)
			}
		}
		for name, n := range at {
			delete(taken, n)
			if again, err := c.choose(name, taken); err != nil || again != n && len(taken) == 0 {
				r.Fatalf("%s: %d, before %d, %v", name, again, n, err)
			}
			taken[n] = true
		}
	})
	full := map[int]bool{}
	c := Config{Pool: netip.MustParsePrefix("10.0.0.0/29")}
	for n := range 8 {
		full[n] = true
	}
	if _, err := c.choose("x", full); !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "has 5") {
		t.Error(err)
	}
}

func TestResolv(t *testing.T) {
	node := "# by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch a.example\noptions edns0\n"
	for name, c := range map[string]struct {
		dns  *schema.DNS
		own  bool
		want string
	}{
		"the node's":        {nil, false, "nameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch a.example\noptions edns0\n"},
		"of the node's own": {nil, true, "nameserver 10.0.0.2\nsearch a.example\noptions edns0\n"},
		"servers":           {&schema.DNS{Servers: []string{"::1"}}, true, "nameserver ::1\nsearch a.example\noptions edns0\n"},
		"search":            {&schema.DNS{Search: []string{"b", "c"}}, false, "nameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch b c\noptions edns0\n"},
	} {
		if got := resolv(node, c.dns, c.own); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
	}
}

func TestBridge_ChecksNamesAndPools(t *testing.T) {
	good := workload.DefaultBridge()
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for part, spoil := range map[string]func(*workload.Bridge){
		"bridge": func(b *workload.Bridge) { b.Name = "br 0" }, "14": func(b *workload.Bridge) { b.Name = "a23456789012345" },
		"IPv4": func(b *workload.Bridge) { b.Pool = netip.MustParsePrefix("10.0.0.0/30") }, "pool fd00": func(b *workload.Bridge) { b.Pool = netip.MustParsePrefix("fd00::/64") },
		"IPv6": func(b *workload.Bridge) { b.Pool6 = netip.MustParsePrefix("10.0.0.0/24") }, "state": func(b *workload.Bridge) { b.State = "x" },
	} {
		b := good
		spoil(&b)
		if err := b.Check(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", part, err)
		}
	}
}

// listenBoth listens on one number for TCP and UDP.
func listenBoth(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 { // a number that is free for TCP may be taken for UDP
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			l.Close()
			continue
		}
		t.Cleanup(func() { _ = l.Close(); _ = p.Close() })
		return l, p
	}
	t.Fatal("no number is free for both TCP and UDP")
	return nil, nil
}

// A Forwarder passes both directions and their ends on, keeps peers apart, and
// turns away who comes when it is full.
func TestForwarder(t *testing.T) {
	echo, packets := listenBoth(t)
	inside := echo.Addr().(*net.TCPAddr).Port
	go serveEcho(echo)
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(buf[:n], from)
		}
	}()
	outside := freePort(t)
	ports := []schema.Port{{Host: outside, Container: inside, Protocol: "tcp"}, {Host: outside, Container: inside, Protocol: "udp"}}
	sockets, err := Reserve(ports)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewForwarder(Lease{Address: netip.MustParseAddr("127.0.0.1")}, ports, sockets)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	address := fmt.Sprintf("127.0.0.1:%d", outside)
	askTCP(t, address)
	for i := range 3 { // peers are told apart
		c, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		text, buf := fmt.Sprint("packet ", i), make([]byte, 100)
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != text {
			t.Errorf("%q %v", buf[:n], err)
		}
		c.Close()
	}
	var held []net.Conn
	for range MaxConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x")) // answered, so it is one of those passed on
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("connection %d: %v", len(held), err)
		}
		held = append(held, c)
	}
	extra, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = extra.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := extra.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	extra.Close()
	for _, c := range held {
		c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("forwarded after the end")
	}
}

func serveEcho(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			c.Close()
		}()
	}
}

func askTCP(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("to the end")); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "to the end" {
		t.Errorf("%q %v", b, err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestReserve_NamesWhatIsTaken(t *testing.T) {
	for _, protocol := range []string{"tcp", "udp"} {
		p := []schema.Port{{Host: freePort(t), Protocol: protocol}}
		first, err := Reserve(p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Reserve(append([]schema.Port{{Host: freePort(t), Protocol: "udp"}}, p...)); !errors.Is(err, workload.ErrPortTaken) || again != nil ||
			!strings.Contains(err.Error(), fmt.Sprintf("%d/%s", p[0].Host, protocol)) {
			t.Errorf("%s: %v %v", protocol, again, err)
		}
		Close(first)
		again, err := Reserve(p)
		if err != nil {
			t.Errorf("given back, and still taken: %v", err)
		}
		Close(again)
	}
}
