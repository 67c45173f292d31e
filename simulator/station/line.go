package station

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/collect/q376/wire"
)

// line is the concentrator's end.
type line struct {
	conn io.ReadWriteCloser
	out  chan []byte // what waits to be said; beyond its room it is lost, as on a line nobody reads
	end  chan struct{}
}

const (
	lineRoom  = 256 // frames
	bitsAByte = 11  // 8E1
)

// airtime is how long bytes take on the line to the concentrator.
func (s *Station) airtime(n int) time.Duration {
	if s.cfg.Baud == 0 {
		return 0
	}
	return time.Duration(n) * bitsAByte * time.Second / time.Duration(s.cfg.Baud)
}

// Attach lets a concentrator talk on conn until one of both hangs up. A CCO has
// one line: whoever was attached before is cut off.
func (s *Station) Attach(conn io.ReadWriteCloser) {
	l := &line{conn: conn, out: make(chan []byte, lineRoom), end: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		conn.Close()
		return
	}
	if s.line != nil {
		s.line.conn.Close()
	}
	s.line = l
	s.status.Attached++
	s.mu.Unlock()
	s.begin(func() { s.talk(l) })
	if s.cfg.Ask > 0 {
		s.begin(func() { s.ask(l) })
	}
	s.listen(l)
	close(l.end)
	conn.Close()
	s.mu.Lock()
	if s.line == l {
		s.line = nil
	}
	s.mu.Unlock()
}

// listen takes frames until the line ends.
func (s *Station) listen(l *line) {
	var scanner wire.Scanner
	buf := make([]byte, 4096)
	for {
		n, err := l.conn.Read(buf)
		if err != nil {
			return
		}
		if !s.sleep(s.airtime(n)) {
			return
		}
		scanner.Write(buf[:n])
		for {
			var f wire.Frame
			ok, err := scanner.Next(&f)
			if err != nil {
				s.count(func(t *Status) { t.Garbled++ })
				continue
			}
			if !ok {
				break
			}
			s.take(l, &f)
		}
	}
}

// talk says what waits, one frame after the other.
func (s *Station) talk(l *line) {
	for {
		select {
		case frame := <-l.out:
			if !s.sleep(s.airtime(len(frame))) {
				return
			}
			if _, err := l.conn.Write(frame); err != nil {
				return // listen notices as well
			}
		case <-l.end:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// say puts a frame to those that wait.
func (s *Station) say(l *line, frame []byte) {
	select {
	case l.out <- frame:
	default:
		s.count(func(t *Status) { t.Dropped++ })
	}
}

// Listen serves concentrators, one at a time, until ctx ends.
func (s *Station) Listen(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer s.Close()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.begin(func() { s.Attach(conn) })
	}
}

// ServePTY serves one concentrator at a time on a serial line, which is a
// pseudoterminal with a link to it at path, until ctx ends.
func (s *Station) ServePTY(ctx context.Context, path string) error {
	master, tty, err := openPTY(path)
	if err != nil {
		return err
	}
	defer os.Remove(path) //nolint:errcheck // it may be gone already
	defer tty.Close()
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { master.Close() })
	defer stop()
	s.Attach(master)
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("the serial line was closed")
}

// openPTY returns both ends of a pseudoterminal in raw mode. The second stays
// open, so that the first can be read while nobody else has the line open.
func openPTY(link string) (master, tty *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	name := filepath.Join("/dev/pts", strconv.Itoa(n))
	if tty, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	raw, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err == nil {
		raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, raw)
	}
	if err == nil {
		err = os.Symlink(name, link)
	}
	if err != nil {
		tty.Close()
		return nil, nil, err
	}
	return master, tty, nil
}
