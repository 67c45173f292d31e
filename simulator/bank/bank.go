// Package bank is a bank of Modbus TCP slaves in one place: every unit answers for
// itself, from registers that say where they are. It is for measuring and trying
// out masters.
//
// It promises to answer each request of a connection in order, after a time that it
// is told, and to refuse by exception what it doesn't have. It reads only: nothing
// can be written, and it keeps nothing.
package bank

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"time"
)

// Config of a Bank.
type Config struct {
	Units  int           // that answer, from 1 on; 1 to 247
	Places int           // registers and bits of each kind that each has; default 1000
	Delay  time.Duration // between a request and its answer
}

// Bank answers while Serve runs.
type Bank struct{ cfg Config }

// New returns a bank.
func New(cfg Config) (*Bank, error) {
	if cfg.Places == 0 {
		cfg.Places = 1000
	}
	if cfg.Units < 1 || cfg.Units > 247 || cfg.Places < 2 || cfg.Places > 65536 || cfg.Delay < 0 {
		return nil, errors.New("bank: units are 1 to 247, places 2 to 65536, the delay not negative")
	}
	return &Bank{cfg}, nil
}

// Float is what the two input registers at an even address of a unit hold.
func Float(unit, address int) float32 { return float32(unit) + float32(address)/1024 }

// Register is what a holding register of a unit holds.
func Register(unit, address int) uint16 { return uint16(7*address + unit) }

// Bit is what a coil or a discrete input of a unit holds.
func Bit(unit, address int) bool { return Register(unit, address)&1 == 1 }

// Serve answers on a listener until ctx ends, and closes it.
func (b *Bank) Serve(ctx context.Context, l net.Listener) error {
	var connections sync.WaitGroup
	defer connections.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end
		}
		if err != nil {
			return err
		}
		connections.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			b.answer(ctx, conn)
		})
	}
}

// Requests and answers (Modbus Messaging on TCP/IP, 3.1; Application Protocol, 6).
const (
	header       = 7 // transaction, protocol, length, unit
	request      = 5 // function, address, quantity
	maxRegisters = 125
	maxBits      = 2000

	illegalFunction, illegalAddress, illegalValue, noUnit = 1, 2, 3, 11
)

// answer serves one connection until it ends or sends what is no request.
func (b *Bank) answer(ctx context.Context, conn net.Conn) {
	in := bufio.NewReader(conn)
	head, body := make([]byte, header), make([]byte, 253)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		length := int(binary.BigEndian.Uint16(head[4:])) - 1
		if binary.BigEndian.Uint16(head[2:]) != 0 || length < 1 || length > len(body) {
			return
		}
		if _, err := io.ReadFull(in, body[:length]); err != nil {
			return
		}
		if b.cfg.Delay > 0 {
			select {
			case <-time.After(b.cfg.Delay):
			case <-ctx.Done():
				return
			}
		}
		pdu := b.pdu(int(head[6]), body[:length])
		out := binary.BigEndian.AppendUint16(append(make([]byte, 0, header+len(pdu)), head[:4]...), uint16(len(pdu)+1))
		if _, err := conn.Write(append(append(out, head[6]), pdu...)); err != nil {
			return
		}
	}
}

// pdu is the answer to a request.
func (b *Bank) pdu(unit int, asked []byte) []byte {
	function := asked[0]
	refuse := func(code byte) []byte { return []byte{function | 0x80, code} }
	if unit < 1 || unit > b.cfg.Units {
		return refuse(noUnit)
	}
	if function < 1 || function > 4 {
		return refuse(illegalFunction)
	}
	if len(asked) != request {
		return refuse(illegalValue)
	}
	first, n := int(binary.BigEndian.Uint16(asked[1:])), int(binary.BigEndian.Uint16(asked[3:]))
	most := maxRegisters
	if function <= 2 {
		most = maxBits
	}
	switch {
	case n < 1 || n > most:
		return refuse(illegalValue)
	case first+n > b.cfg.Places:
		return refuse(illegalAddress)
	case function <= 2:
		return bits(function, unit, first, n)
	}
	out := append(make([]byte, 0, 2+2*n), function, byte(2*n))
	for at := first; at < first+n; at++ {
		if function == 3 {
			out = binary.BigEndian.AppendUint16(out, Register(unit, at))
			continue
		}
		f := math.Float32bits(Float(unit, at-at%2))
		out = binary.BigEndian.AppendUint16(out, uint16(f>>(16*(1-at%2))))
	}
	return out
}

func bits(function byte, unit, first, n int) []byte {
	out := make([]byte, 2+(n+7)/8)
	out[0], out[1] = function, byte(len(out)-2)
	for i := range n {
		if Bit(unit, first+i) {
			out[2+i/8] |= 1 << (i % 8)
		}
	}
	return out
}
