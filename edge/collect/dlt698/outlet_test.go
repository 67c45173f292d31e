package dlt698

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/schema"
)

// patience is the time limit for one answer where answers are spoilt; calm is the
// one where they are not, and a busy machine is not to spoil any.
const (
	patience = 150 * time.Millisecond
	calm     = schema.Duration(20 * time.Second)
)

// outlet is where a server can be reached, until it is cut.
type outlet struct {
	t       *testing.T
	server  *server
	source  schema.Source
	serving sync.WaitGroup

	mu      sync.Mutex
	closers []io.Closer
}

// attach puts a server on a medium of its own.
func attach(t *testing.T, kind schema.SourceKind, s *server) *outlet {
	t.Helper()
	preamble := 4
	o := &outlet{t: t, server: s, source: schema.Source{Kind: kind, Timeout: calm, Tries: 2, Preamble: &preamble, MaxFrame: 512}}
	if kind == schema.SourceDLT698 {
		o.source.Port = filepath.Join(t.TempDir(), "tty")
		o.source.Baud, o.source.Data, o.source.Parity, o.source.Stop = 115200, 8, "N", 1
	} else {
		o.source.Address = "127.0.0.1:0"
	}
	o.join()
	t.Cleanup(o.cut)
	return o
}

// join makes the server reachable, under the former address if there was one.
func (o *outlet) join() {
	o.t.Helper()
	if o.source.Kind == schema.SourceDLT698 {
		o.joinLine()
		return
	}
	l, err := net.Listen("tcp", o.source.Address)
	if err != nil {
		o.t.Fatal(err)
	}
	o.source.Address = l.Addr().String()
	o.hold(l)
	o.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			o.hold(conn)
			o.serving.Go(func() { o.server.serve(conn) })
		}
	})
}

func (o *outlet) joinLine() {
	o.t.Helper()
	master, tty, name := openPTY(o.t)
	o.hold(master, tty)
	link := o.source.Port
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		o.t.Fatal(err)
	}
	if err := os.Symlink(name, link); err != nil {
		o.t.Fatal(err)
	}
	o.serving.Go(func() { o.server.serve(master) })
}

func (o *outlet) hold(c ...io.Closer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closers = append(o.closers, c...)
}

// cut makes the server unreachable: connections closed, line unplugged.
func (o *outlet) cut() {
	o.mu.Lock()
	for _, c := range o.closers {
		c.Close()
	}
	o.closers = nil
	o.mu.Unlock()
	o.serving.Wait()
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
