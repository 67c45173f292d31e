package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"gnomon/edge/collect"
)

const (
	exceptionBit   = 0x80
	tcpHeader      = 7   // transaction 2, protocol 2, length 2, unit 1
	tcpMaxLength   = 254 // unit and PDU
	rtuMinResponse = 5   // unit, function, one byte, CRC
	rtuMaxFrame    = 256

	rtuAcknowledged = 8 // unit, function, address, value or quantity, CRC
	tcpAcknowledged = 12
)

// errForeign is an answer that belongs to another request.
var errForeign = errors.New("answer to another request")

// crc is the CRC-16 of Modbus RTU (polynomial A001H reflected, start FFFFH).
func crc(frame []byte) uint16 {
	sum := uint16(0xffff)
	for _, b := range frame {
		sum ^= uint16(b)
		for range 8 {
			if sum&1 != 0 {
				sum = sum>>1 ^ 0xa001
			} else {
				sum >>= 1
			}
		}
	}
	return sum
}

// rtuLength returns how many bytes the answer to request has, as far as got
// tells: 0 while it can't be said yet. An answer that can't be the request's is
// errForeign.
func rtuLength(request, got []byte) (int, error) {
	if len(got) < 2 {
		return 0, nil
	}
	if got[0] != request[0] {
		return 0, fmt.Errorf("%w: unit %d asked, unit %d answered", errForeign, request[0], got[0])
	}
	switch got[1] {
	case request[1] | exceptionBit:
		return rtuMinResponse, nil
	case request[1]:
		if writes(request[1]) {
			if n := min(len(got), 6); !bytes.Equal(got[2:n], request[2:n]) {
				return 0, fmt.Errorf("%w: % x written, % x acknowledged", errForeign, request[2:n], got[2:n])
			}
			return rtuAcknowledged, nil
		}
		want := responseBytes(request[1], binary.BigEndian.Uint16(request[4:6]))
		if len(got) > 2 && int(got[2]) != want {
			return 0, fmt.Errorf("%w: %d bytes asked, %d announced", errForeign, want, got[2])
		}
		return 3 + want + 2, nil
	default:
		return 0, fmt.Errorf("%w: function %d asked, %d answered", errForeign, request[1], got[1])
	}
}

// writes tells whether a function writes: it is acknowledged by what it was about.
func writes(function byte) bool { return function == 5 || function == 6 || function == 16 }

// responseBytes is how many bytes of data a quantity takes: coils and inputs
// are packed eight to a byte.
func responseBytes(function byte, quantity uint16) int {
	if function <= 2 {
		return (int(quantity) + 7) / 8
	}
	return 2 * int(quantity)
}

// checkRTU verifies a whole frame.
func checkRTU(frame []byte) error {
	n := len(frame) - 2
	if n < 2 || crc(frame[:n]) != binary.LittleEndian.Uint16(frame[n:]) {
		return fmt.Errorf("%w: checksum", collect.ErrGarbled)
	}
	return nil
}

// readTCP reads one frame of Modbus TCP.
func readTCP(r io.Reader) ([]byte, error) {
	frame := make([]byte, tcpHeader, tcpHeader+tcpMaxLength)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(frame[4:6]))
	if binary.BigEndian.Uint16(frame[2:4]) != 0 || length < 2 || length > tcpMaxLength {
		return nil, fmt.Errorf("%w: header % x", collect.ErrGarbled, frame)
	}
	frame = frame[:tcpHeader+length-1]
	if _, err := io.ReadFull(r, frame[tcpHeader:]); err != nil {
		return nil, err
	}
	return frame, nil
}
