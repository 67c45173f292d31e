package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/schema"
)

// Bounds of a Forwarder, for each port. Who comes when there are as many is
// dropped.
const (
	MaxConnections = 256
	MaxSessions    = 256 // peers of a UDP port
	sessionIdle    = 90 * time.Second
	dialPatience   = 10 * time.Second
	backlog        = 128
)

// Forwarder passes on what arrives at reserved ports. The container sees the
// bridge as its peer, not who really asks: that is the price of doing without
// the kernel.
type Forwarder struct {
	ends []end
}

type end struct {
	to     netip.AddrPort
	listen net.Listener
	packet net.PacketConn
}

// NewForwarder takes sockets of Reserve, in the order of the ports, over.
func NewForwarder(l Lease, ports []schema.Port, sockets []*os.File) (*Forwarder, error) {
	f := &Forwarder{}
	for i, p := range ports {
		e := end{to: netip.AddrPortFrom(l.Address, uint16(p.Container))}
		var err error
		if p.Protocol == "udp" {
			e.packet, err = net.FilePacketConn(sockets[i])
		} else {
			e.listen, err = listen(sockets[i])
		}
		sockets[i].Close() // net has a copy of its own
		if err != nil {
			f.close()
			Close(sockets[i+1:])
			return nil, fmt.Errorf("forward port %d/%s: %w", p.Host, p.Protocol, err)
		}
		f.ends = append(f.ends, e)
	}
	return f, nil
}

// listen makes a socket of Reserve one that connections can be made to, which,
// when they linger, won't be in the way of its successor.
func listen(s *os.File) (net.Listener, error) {
	fd := int(s.Fd())
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return nil, err
	}
	return net.FileListener(s)
}

func (f *Forwarder) close() {
	for _, e := range f.ends {
		if e.listen != nil {
			e.listen.Close()
		}
		if e.packet != nil {
			e.packet.Close()
		}
	}
}

// Run forwards until ctx ends.
func (f *Forwarder) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, f.close)
	defer stop()
	var wg sync.WaitGroup
	for _, e := range f.ends {
		if e.listen != nil {
			wg.Go(func() { e.accept(ctx) })
		} else {
			wg.Go(func() { e.receive(ctx) })
		}
	}
	wg.Wait()
	return nil
}

func (e end) accept(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, MaxConnections)
	for {
		c, err := e.listen.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil { // such as out of files: it passes
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case room <- struct{}{}:
			wg.Go(func() {
				defer func() { <-room }()
				e.pipe(ctx, c)
			})
		default:
			c.Close()
		}
	}
}

// pipe joins two connections until both directions have ended.
func (e end) pipe(ctx context.Context, c net.Conn) {
	defer c.Close()
	d := net.Dialer{Timeout: dialPatience}
	far, err := d.DialContext(ctx, "tcp", e.to.String())
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { c.Close(); far.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		half(far, c)
	}()
	half(c, far)
	<-done
}

// half copies one direction and passes its end on. What fails ends both.
func half(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if w, ok := to.(interface{ CloseWrite() error }); ok && err == nil && w.CloseWrite() == nil {
		return
	}
	to.Close()
	from.Close()
}

// receive keeps a session for each peer, so that answers find back.
func (e end) receive(ctx context.Context) {
	var mu sync.Mutex
	sessions := map[string]net.Conn{}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range sessions {
			s.Close()
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, peer, err := e.packet.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			continue
		}
		mu.Lock()
		s, known := sessions[peer.String()]
		if !known && len(sessions) < MaxSessions {
			if s, err = net.Dial("udp", e.to.String()); err == nil {
				sessions[peer.String()] = s
				wg.Go(func() {
					e.answer(s, peer)
					mu.Lock()
					delete(sessions, peer.String())
					mu.Unlock()
					s.Close()
				})
			}
		}
		mu.Unlock()
		if s != nil {
			_ = s.SetReadDeadline(time.Now().Add(sessionIdle))
			_, _ = s.Write(buf[:n])
		}
	}
}

// answer passes answers on until the session has been idle for long.
func (e end) answer(s net.Conn, peer net.Addr) {
	buf := make([]byte, 64<<10)
	_ = s.SetReadDeadline(time.Now().Add(sessionIdle))
	for {
		n, err := s.Read(buf)
		if errors.Is(err, unix.ECONNREFUSED) {
			continue // nobody listens yet
		}
		if err != nil {
			return
		}
		_ = s.SetReadDeadline(time.Now().Add(sessionIdle))
		if _, err := e.packet.WriteTo(buf[:n], peer); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}
