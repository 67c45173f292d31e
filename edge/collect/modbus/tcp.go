package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// tcp carries Modbus TCP frames. It implements goburrow's Transporter.
//
// Answers carry the number of their request: others are passed over. Whatever
// else goes wrong closes the connection, and the next request opens a new one.
type tcp struct {
	source   schema.Source
	conn     net.Conn
	lastUsed time.Time
}

// maxIdle is how old a connection may grow unused: beyond it servers and
// firewalls tend to have dropped it silently.
const maxIdle = time.Minute

// Send implements goburrow's Transporter.
func (t *tcp) Send(request []byte) ([]byte, error) {
	if t.conn != nil && time.Since(t.lastUsed) > maxIdle {
		t.close()
	}
	timeout := t.source.Timeout.D()
	if t.conn == nil {
		conn, err := net.DialTimeout("tcp", t.source.Address, timeout)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", collect.ErrLink, err)
		}
		t.conn = conn
	}
	if wait := t.source.Pause.D() - time.Since(t.lastUsed); wait > 0 {
		time.Sleep(wait) // the pause that the device needs; bounded by schema
	}
	answer, err := t.exchange(request, time.Now().Add(timeout))
	t.lastUsed = time.Now()
	if err != nil {
		t.close()
		return nil, err
	}
	return answer, nil
}

func (t *tcp) exchange(request []byte, deadline time.Time) ([]byte, error) {
	if err := t.conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	if _, err := t.conn.Write(request); err != nil {
		return nil, fmt.Errorf("%w: %w", collect.ErrLink, err)
	}
	for {
		answer, err := readTCP(t.conn)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, collect.ErrTimeout
		case errors.Is(err, collect.ErrGarbled):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", collect.ErrLink, err)
		case binary.BigEndian.Uint16(answer) != binary.BigEndian.Uint16(request):
			continue // late: its request was given up
		}
		return answer, checkTCP(request, answer)
	}
}

// checkTCP makes sure that an answer has the unit, function and length asked for.
func checkTCP(request, answer []byte) error {
	if answer[6] != request[6] {
		return fmt.Errorf("%w: unit %d asked, unit %d answered", collect.ErrGarbled, request[6], answer[6])
	}
	if writes(request[7]) && answer[7] == request[7] {
		if len(answer) == tcpAcknowledged && bytes.Equal(answer[8:], request[8:tcpAcknowledged]) {
			return nil
		}
		return fmt.Errorf("%w: % x written, % x acknowledged", collect.ErrGarbled, request[8:], answer[8:])
	}
	function, want := request[7], responseBytes(request[7], binary.BigEndian.Uint16(request[10:12]))
	switch answer[7] {
	case function | exceptionBit:
		if len(answer) == 9 {
			return nil
		}
	case function:
		if len(answer) == 9+want && int(answer[8]) == want {
			return nil
		}
	}
	return fmt.Errorf("%w: not an answer to function %d for %d bytes", collect.ErrGarbled, function, want)
}

func (t *tcp) close() {
	if t.conn != nil {
		t.conn.Close()
		t.conn = nil
	}
}
