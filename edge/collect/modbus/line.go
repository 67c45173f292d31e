package modbus

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

// line is a medium for RTU frames.
type line interface {
	// read waits for bytes until deadline. Nothing by then is errSilence.
	read(p []byte, deadline time.Time) (int, error)
	write(p []byte, deadline time.Time) error
	Close() error
}

// errSilence: nobody said anything until the deadline.
var errSilence = errors.New("silence")

// openLine opens the medium of an RTU source.
func openLine(s schema.Source) (line, error) {
	if s.Kind == schema.SourceModbusRTUOver {
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

// slice is how long one read of a serial port blocks: the library has one time
// limit for all reads, so longer ones are made of slices.
const slice = 20 * time.Millisecond

type serialLine struct {
	port serial.Port
	path string
}

func (l *serialLine) read(p []byte, deadline time.Time) (int, error) {
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
			return 0, errSilence
		}
	}
}

func (l *serialLine) write(p []byte, _ time.Time) error {
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

func (l netLine) read(p []byte, deadline time.Time) (int, error) {
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
		return 0, errSilence
	}
	return 0, fmt.Errorf("%w: %w", collect.ErrLink, err)
}

func (l netLine) write(p []byte, deadline time.Time) error {
	if err := l.conn.SetWriteDeadline(deadline); err != nil {
		return fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	if _, err := l.conn.Write(p); err != nil {
		return fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	return nil
}

func (l netLine) Close() error { return l.conn.Close() }
