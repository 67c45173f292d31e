package day

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"net"
	"sync"
	"time"
)

// transcript is all that was said on a line, and when.
type transcript struct {
	mu    sync.Mutex
	bytes int
	sum   hash.Hash
}

func (t *transcript) note(from string, said []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sum == nil {
		t.sum = sha256.New()
	}
	t.bytes += len(said)
	fmt.Fprintf(t.sum, "%s %d %X\n", from, time.Now().UnixNano(), said)
}

// String tells one transcript from another.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sum == nil {
		return "nothing"
	}
	return fmt.Sprintf("%d bytes, %X", t.bytes, t.sum.Sum(nil))
}

// tapped is a line that is listened to.
type tapped struct {
	net.Conn
	transcript *transcript
}

func (l *tapped) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.transcript.note("cco", p[:n])
	}
	return n, err
}

func (l *tapped) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if n > 0 {
		l.transcript.note("node", p[:n])
	}
	return n, err
}
