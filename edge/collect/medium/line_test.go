package medium

import (
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/collect"
	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is a deadline that a machine that is busy keeps, and far one that no test waits for.
func soon() time.Time { return time.Now().Add(30 * time.Millisecond) }
func far() time.Time  { return time.Now().Add(time.Minute) }

func TestOpen_TCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	line, err := Open(schema.Source{Address: l.Addr().String(), Timeout: schema.Duration(5 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if _, err := line.Read(buf, soon()); !errors.Is(err, ErrSilence) {
		t.Errorf("silence reads as %v", err)
	}
	if err := line.Write([]byte("ask"), far()); err != nil {
		t.Fatal(err)
	}
	if n, err := peer.Read(buf); err != nil || string(buf[:n]) != "ask" {
		t.Errorf("the other end heard %q, %v", buf[:n], err)
	}
	if _, err := peer.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if n, err := line.Read(buf, far()); err != nil || string(buf[:n]) != "answer" {
		t.Errorf("heard %q, %v", buf[:n], err)
	}
	peer.Close()
	if _, err := line.Read(buf, far()); !errors.Is(err, collect.ErrLink) {
		t.Errorf("a closed connection reads as %v", err)
	}
}

func TestOpen_Fails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, s := range []schema.Source{
		{Address: address, Timeout: schema.Duration(5 * time.Second)},
		{Port: t.TempDir() + "/none", Baud: 9600, Data: 8, Parity: "N", Stop: 1},
	} {
		if line, err := Open(s); !errors.Is(err, collect.ErrLink) {
			t.Errorf("%+v: %v, %v", s, line, err)
		}
	}
}
