package dlt645

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/schema"
)

// The slave is written after the standard's text alone and shares no code with
// the package, so that a mistake in one isn't cancelled out by the same in the
// other. TestSlave holds it to frames that others have published.

// request is what a slave has heard.
type request struct {
	address  string // 12 digits, as people write it
	function byte
	di       string // 8 hex digits, DI3 first; "" = none
	sequence byte   // of a follow-up
}

// reply is something to say a while after the request.
type reply struct {
	after time.Duration
	frame []byte
}

// slave is meters on one line. fault, if set, decides what is said to the nth
// request, counted from 0, in place of the good answer.
type slave struct {
	meters map[string]map[string]string // address → DI → data, as hex in the order on the wire
	chunk  int                          // bytes of data in one frame; 0 = all
	echo   bool                         // the line hears what is said on it
	fault  func(n int, r request, good []byte) []reply

	mu    sync.Mutex
	asked []request
}

func backwards(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	for i := range len(b) / 2 {
		b[i], b[len(b)-1-i] = b[len(b)-1-i], b[i]
	}
	return b
}

// says builds a meter's frame: address, control code, data in hex.
func says(address string, control byte, data ...byte) []byte {
	f := append([]byte{0x68}, backwards(address)...)
	f = append(f, 0x68, control, byte(len(data)))
	for _, d := range data {
		f = append(f, d+0x33)
	}
	total := 0
	for _, b := range f {
		total += int(b)
	}
	return append(f, byte(total%256), 0x16)
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// good is the answer of the meter that is asked; nil where none is.
func (s *slave) good(r request) []byte {
	for address, items := range s.meters {
		if !strings.HasSuffix(address, strings.TrimLeft(r.address, "A")) {
			continue
		}
		switch r.function {
		case 0x13:
			return says(address, 0x93, backwards(address)...)
		case 0x11, 0x12:
			data, ok := items[r.di]
			if !ok {
				return says(address, r.function|0xc0, 0x02)
			}
			return s.part(address, r, mustHex(data))
		}
	}
	return nil
}

// part is one frame of an answer that may take several.
func (s *slave) part(address string, r request, data []byte) []byte {
	control, from := r.function|0x80, 0
	if s.chunk > 0 {
		from = int(r.sequence) * s.chunk
		if from+s.chunk < len(data) {
			control |= 0x20
			data = data[:from+s.chunk]
		}
	}
	out := append(backwards(r.di), data[min(from, len(data)):]...)
	if r.function == 0x12 {
		out = append(out, r.sequence)
	}
	return says(address, control, out...)
}

// hear reads a request, byte by byte.
func hear(in io.Reader, said *[]byte) (r request, err error) {
	one := make([]byte, 1)
	next := func() byte {
		if err == nil {
			_, err = io.ReadFull(in, one)
			*said = append(*said, one[0])
		}
		return one[0]
	}
	for err == nil && next() != 0x68 {
	}
	var address string
	for range 6 {
		address = fmt.Sprintf("%02X", next()) + address
	}
	second, control := next(), next()
	data := make([]byte, next())
	for i := range data {
		data[i] = next() - 0x33
	}
	next()
	last := next()
	if err != nil || second != 0x68 || last != 0x16 {
		return r, errors.Join(err, errors.New("no frame"))
	}
	r.address, r.function = address, control
	if len(data) >= 4 {
		r.di = fmt.Sprintf("%02X%02X%02X%02X", data[3], data[2], data[1], data[0])
	}
	if control == 0x12 && len(data) == 5 {
		r.sequence = data[4]
	}
	return r, nil
}

func (s *slave) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// times counts the requests for an identifier.
func (s *slave) times(di string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		if r.di == di {
			n++
		}
	}
	return n
}

// replies is what is said to a request.
func (s *slave) replies(r request, said []byte) []reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.asked)
	s.asked = append(s.asked, r)
	out := []reply{{0, s.good(r)}}
	if s.fault != nil {
		out = s.fault(n, r, out[0].frame)
	}
	if s.echo {
		out = append([]reply{{0, said}}, out...)
	}
	return out
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
		var said []byte
		r, err := hear(rw, &said)
		if err != nil {
			return
		}
		now := time.Now()
		for _, d := range s.replies(r, said) {
			if len(d.frame) > 0 {
				queue <- due{now.Add(d.after), d.frame}
			}
		}
	}
}

// TestSlave holds the slave to frames that others have published.
func TestSlave(t *testing.T) {
	s := &slave{meters: map[string]map[string]string{
		"000000000161": {"00010000": "26000000", "02010100": "0110", "00020000": "26010000"},
		"171118445100": {"02800002": "0350"},
	}}
	for _, c := range []struct {
		request request
		want    string
	}{
		{request{address: "000000000161", function: 0x11, di: "00010000"}, "6861010000000068910833333433593333338A16"},
		{request{address: "000000000161", function: 0x11, di: "02010100"}, "686101000000006891063334343534431016"},
		{request{address: "000000000161", function: 0x11, di: "00020000"}, "6861010000000068910833333533593433338C16"},
		{request{address: "171118445100", function: 0x11, di: "02800002"}, "680051441811176891063533B33536834516"},
	} {
		if got := strings.ToUpper(hex.EncodeToString(s.good(c.request))); got != c.want {
			t.Errorf("%+v: %s, want %s", c.request, got, c.want)
		}
	}
	for frame, want := range map[string]request{
		"FEFE68610100000000681104333334331416": {address: "000000000161", function: 0x11, di: "00010000"},
		"68AAAAAAAAAAAA681300DF16":             {address: "AAAAAAAAAAAA", function: 0x13},
	} {
		var said []byte
		got, err := hear(strings.NewReader(string(mustHex(frame))), &said)
		if err != nil || got != want || len(said) != len(frame)/2 {
			t.Errorf("%s: %+v, %v", frame, got, err)
		}
	}
}

// medium is where a slave can be reached, until it is cut.
type bus struct {
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
	return fmt.Sprintf("127.%d.%d.%d", 1+(os.Getpid()+125)%250, n/250%250, 1+n%250)
}

// attach puts a slave on a medium of its own.
func attach(t *testing.T, kind schema.SourceKind, s *slave) *bus {
	t.Helper()
	preamble := 4
	b := &bus{t: t, slave: s, source: schema.Source{
		Kind: kind, Timeout: schema.Duration(calm), Tries: 2, Preamble: &preamble,
	}}
	if kind == schema.SourceDLT645 {
		b.source.Port = filepath.Join(t.TempDir(), "tty")
		b.source.Baud, b.source.Data, b.source.Parity, b.source.Stop = 115200, 8, "E", 1
	} else {
		b.source.Address = ownHost() + ":0"
	}
	b.join()
	t.Cleanup(b.cut)
	return b
}

// join makes the slave reachable, under the former address if there was one.
func (b *bus) join() {
	b.t.Helper()
	if b.source.Kind == schema.SourceDLT645 {
		b.joinLine()
		return
	}
	l, err := net.Listen("tcp", b.source.Address)
	for errors.Is(err, unix.EADDRINUSE) {
		// A program that another test is just starting has its copy of the old
		// listener until it is exec'd.
		<-time.After(time.Millisecond)
		l, err = net.Listen("tcp", b.source.Address)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.source.Address = l.Addr().String()
	b.hold(l)
	b.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.hold(conn)
			b.serving.Go(func() { b.slave.serve(conn) })
		}
	})
}

func (b *bus) joinLine() {
	b.t.Helper()
	master, tty, name := openPTY(b.t)
	b.hold(master, tty)
	link := b.source.Port
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	if err := os.Symlink(name, link); err != nil {
		b.t.Fatal(err)
	}
	b.serving.Go(func() { b.slave.serve(master) })
}

func (b *bus) hold(c ...io.Closer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closers = append(b.closers, c...)
}

// cut makes the slave unreachable: server and connections closed, line unplugged.
func (b *bus) cut() {
	b.mu.Lock()
	for _, c := range b.closers {
		c.Close()
	}
	b.closers = nil
	b.mu.Unlock()
	b.serving.Wait()
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
