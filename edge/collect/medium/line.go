package medium

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/goburrow/serial"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Line carries bytes.
type Line interface {
	// Read waits for bytes until deadline. Nothing by then is ErrSilence.
	Read(p []byte, deadline time.Time) (int, error)
	Write(p []byte, deadline time.Time) error
	Close() error
}

// ErrSilence: nobody said anything until the deadline.
var ErrSilence = errors.New("silence")

// Open opens the medium of a source: its serial port, or else the connection to
// its address. Errors of a line are collect.ErrLink, and then it is of no more use.
func Open(s schema.Source) (Line, error) {
	if s.Port == "" {
		conn, err := net.DialTimeout("tcp", s.Address, s.Timeout.D())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", collect.ErrLink, err)
		}
		return netLine{conn}, nil
	}
	port, err := serial.Open(&serial.Config{
		Address: s.Port, BaudRate: s.Baud, DataBits: s.Data, StopBits: s.Stop, Parity: s.Parity, Timeout: slice,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", collect.ErrLink, s.Port, err)
	}
	return &serialLine{port: port, path: s.Port}, nil
}

// Over makes a Line of a connection.
func Over(conn net.Conn) Line { return netLine{conn} }

// slice is how long one read of a serial port blocks: the library has one time
// limit for all reads, so longer ones are made of slices.
const slice = 20 * time.Millisecond

type serialLine struct {
	port serial.Port
	path string
}

func (l *serialLine) Read(p []byte, deadline time.Time) (int, error) {
	for {
		n, err := l.port.Read(p)
		switch {
		case n > 0:
			return n, nil
		case err == nil: // readable and empty: the device is gone
			return 0, fmt.Errorf("%w: %s: hung up", collect.ErrLink, l.path)
		case !errors.Is(err, serial.ErrTimeout):
			return 0, fmt.Errorf("%w: %s: %w", collect.ErrLink, l.path, err)
		case !time.Now().Before(deadline):
			return 0, ErrSilence
		}
	}
}

func (l *serialLine) Write(p []byte, _ time.Time) error {
	n, err := l.port.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", collect.ErrLink, l.path, err)
	}
	return nil
}

func (l *serialLine) Close() error { return l.port.Close() }

type netLine struct{ conn net.Conn }

func (l netLine) Read(p []byte, deadline time.Time) (int, error) {
	// A deadline that has passed would hide what has arrived.
	if soonest := time.Now().Add(time.Millisecond); deadline.Before(soonest) {
		deadline = soonest
	}
	if err := l.conn.SetReadDeadline(deadline); err != nil {
		return 0, fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	n, err := l.conn.Read(p)
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, ErrSilence
	}
	return 0, fmt.Errorf("%w: %w", collect.ErrLink, err)
}

func (l netLine) Write(p []byte, deadline time.Time) error {
	if err := l.conn.SetWriteDeadline(deadline); err != nil {
		return fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	if _, err := l.conn.Write(p); err != nil {
		return fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	return nil
}

func (l netLine) Close() error { return l.conn.Close() }
