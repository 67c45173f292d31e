package modbus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCRC_Golden(t *testing.T) {
	for _, frame := range []string{
		"1103006B00037687",
		"010402FFFFB880",
		"02074112", // the worked example of Modbus over Serial Line
	} {
		b := unhex(t, frame)
		if err := checkRTU(b); err != nil {
			t.Errorf("%s: %v", frame, err)
		}
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if err := checkRTU(b); !errors.Is(err, collect.ErrGarbled) {
					t.Errorf("%s with bit %d of byte %d turned: %v", frame, bit, i, err)
				}
				b[i] ^= 1 << bit
			}
		}
	}
	for _, short := range []string{"", "11", "1103", "110376", "ffff"} {
		if err := checkRTU(unhex(t, short)); !errors.Is(err, collect.ErrGarbled) {
			t.Errorf("%q: %v", short, err)
		}
	}
}

// canned is a transport that keeps the request and gives a prepared answer.
type canned struct {
	request []byte
	answer  func(request []byte) ([]byte, error)
}

func (c *canned) Send(request []byte) ([]byte, error) {
	c.request = bytes.Clone(request)
	return c.answer(request)
}

func (c *canned) close() {}

func TestRequest_Golden(t *testing.T) {
	for _, c := range []struct {
		kind     schema.SourceKind
		block    block
		request  string
		response string
		data     string
	}{
		{schema.SourceModbusRTU, block{function: 3, address: 0x6b, quantity: 3}, "1103006b00037687", "110306ae415652434049ad", "ae4156524340"},
		{schema.SourceModbusRTUOver, block{function: 1, address: 0x13, quantity: 0x25}, "1101001300250e84", "110105cd6bb20e1b45e6", "cd6bb20e1b"},
		{schema.SourceModbusTCP, block{function: 3, address: 0x6b, quantity: 3}, "00010000000611" + "03006b0003", "00010000000911" + "0306ae4156524340", "ae4156524340"},
		{schema.SourceModbusTCP, block{function: 4, address: 8, quantity: 1}, "00010000000611" + "0400080001", "00010000000511" + "0402000a", "000a"},
		{schema.SourceModbusTCP, block{function: 2, address: 0xc4, quantity: 22}, "00010000000611" + "0200c40016", "00010000000611" + "0203acdb35", "acdb35"},
	} {
		transport := &canned{answer: func([]byte) ([]byte, error) { return unhex(t, c.response), nil }}
		p := newPortOn(schema.Source{Kind: c.kind}, transport)
		p.setUnit(0x11)
		data, err := p.request(c.block)
		if got := hex.EncodeToString(transport.request); got != c.request {
			t.Errorf("%s function %d asks %s, want %s", c.kind, c.block.function, got, c.request)
		}
		if err != nil || hex.EncodeToString(data) != c.data {
			t.Errorf("%s function %d: data %x, %v; want %s", c.kind, c.block.function, data, err, c.data)
		}
	}
}

func TestRTULength_Table(t *testing.T) {
	request := unhex(t, "1103006B00037687")
	for got, want := range map[string]int{"": 0, "11": 0, "1103": 11, "110306": 11, "110306ae41": 11, "1183": 5, "11830276": 5} {
		if n, err := rtuLength(request, unhex(t, got)); err != nil || n != want {
			t.Errorf("%q: %d, %v; want %d", got, n, err, want)
		}
	}
	for _, got := range []string{"1203", "1104", "1184", "110307", "110300", "9103"} {
		if n, err := rtuLength(request, unhex(t, got)); !errors.Is(err, errForeign) || n != 0 {
			t.Errorf("%q: %d, %v; want %v", got, n, err, errForeign)
		}
	}
}

func FuzzReadTCP(f *testing.F) {
	f.Add(unhex(f, "00010000000911"+"0306ae4156524340"))
	f.Add(unhex(f, "00010000000311"+"8302"))
	f.Add(unhex(f, "0001000000fe11"))
	f.Add(unhex(f, "000100000001"))
	f.Add(unhex(f, "ffffffffffffffffffff"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		frame, err := readTCP(r)
		if err != nil {
			if frame != nil {
				t.Fatal("a frame and an error")
			}
			return
		}
		if len(frame) < tcpHeader+1 || len(frame) > tcpHeader+tcpMaxLength-1 || !bytes.HasPrefix(stream, frame) || r.Len() != len(stream)-len(frame) {
			t.Fatalf("frame % x of % x", frame, stream)
		}
		for function := byte(1); function <= 4; function++ {
			request := []byte{0, 1, 0, 0, 0, 6, frame[6], function, 0, 0, 0, 3}
			if checkTCP(request, frame) == nil && len(frame) != 9 && len(frame) != 9+responseBytes(function, 3) {
				t.Fatalf("% x was taken for an answer to % x", frame, request)
			}
		}
	})
}

// script is a line on which a stream arrives in pieces, and then nothing more.
type script struct {
	stream []byte
	piece  int
}

func (s *script) Read(p []byte, _ time.Time) (int, error) {
	if len(s.stream) == 0 {
		return 0, medium.ErrSilence
	}
	n := copy(p, s.stream[:min(s.piece, len(s.stream))])
	s.stream = s.stream[n:]
	return n, nil
}

func (s *script) Write([]byte, time.Time) error { return nil }
func (s *script) Close() error                  { return nil }

func FuzzReceiveRTU(f *testing.F) {
	f.Add(byte(3), uint16(3), byte(1), unhex(f, "110306ae415652434049ad"))
	f.Add(byte(1), uint16(37), byte(200), unhex(f, "110105cd6bb20e1b45e6"))
	f.Add(byte(3), uint16(3), byte(3), unhex(f, "118302c134"))
	f.Add(byte(3), uint16(125), byte(255), bytes.Repeat([]byte{0x11, 3, 250}, 200))
	f.Add(byte(2), uint16(2000), byte(7), []byte{0x11, 2, 250})
	f.Fuzz(func(t *testing.T, function byte, quantity uint16, piece byte, stream []byte) {
		b := fuzzBlock(function, quantity)
		request := binary.BigEndian.AppendUint16([]byte{0x11, b.function, 0, 0}, b.quantity)
		request = binary.LittleEndian.AppendUint16(request, crc(request))
		line := &script{stream: bytes.Clone(stream), piece: max(1, int(piece))}
		transport := &rtu{line: line}
		frame, err := transport.receive(request, time.Time{})
		if taken := len(stream) - len(line.stream); taken > 2*rtuMaxFrame {
			t.Fatalf("%d bytes were read for one answer", taken)
		}
		if err != nil {
			return
		}
		exception := len(frame) == rtuMinResponse && frame[1] == b.function|exceptionBit
		if checkRTU(frame) != nil || frame[0] != 0x11 || !bytes.HasPrefix(stream, frame) ||
			!exception && len(frame) != 5+responseBytes(b.function, b.quantity) {
			t.Fatalf("% x was taken for an answer to % x", frame, request)
		}
	})
}

func fuzzBlock(function byte, quantity uint16) block {
	b := block{function: function%4 + 1}
	b.quantity = quantity%uint16(limit(int(b.function))) + 1
	return b
}

// Whatever passes for an answer has the data that were asked for, or none.
func FuzzRequest(f *testing.F) {
	f.Add(false, byte(2), uint16(2), unhex(f, "0306ae4156524340"))
	f.Add(true, byte(2), uint16(2), unhex(f, "0306ae4156524340"))
	f.Add(true, byte(2), uint16(2), unhex(f, "8302"))
	f.Add(false, byte(0), uint16(36), unhex(f, "0105cd6bb20e1b"))
	f.Fuzz(func(t *testing.T, overTCP bool, function byte, quantity uint16, pdu []byte) {
		b, kind := fuzzBlock(function, quantity), schema.SourceModbusRTU
		if overTCP {
			kind = schema.SourceModbusTCP
		}
		// The frame around the PDU is right, so that the fuzzer gets past it.
		transport := &canned{answer: func(request []byte) ([]byte, error) {
			if overTCP {
				frame := append(bytes.Clone(request[:4]), byte((len(pdu)+1)>>8), byte(len(pdu)+1), request[6])
				frame, err := readTCP(bytes.NewReader(append(frame, pdu...)))
				if err != nil {
					return nil, err
				}
				return frame, checkTCP(request, frame)
			}
			frame := append([]byte{request[0]}, pdu...)
			frame = binary.LittleEndian.AppendUint16(frame, crc(frame))
			return (&rtu{line: &script{stream: frame, piece: rtuMaxFrame}}).receive(request, time.Time{})
		}}
		p := newPortOn(schema.Source{Kind: kind, Tries: 1}, transport)
		data, err := p.read(t.Context(), 0x11, b)
		if err != nil {
			if collect.Reason(err) == "error" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		if len(data) != responseBytes(b.function, b.quantity) {
			t.Fatalf("%d bytes of data for %d of function %d", len(data), b.quantity, b.function)
		}
		last := schema.Item{Function: int(b.function), Address: int(b.quantity) - 1, Type: "uint16", Order: "CDAB", Scale: 1}
		if v, err := decode(b, data, last); v == nil || err != nil {
			t.Fatalf("the last item is %v, %v", v, err)
		}
	})
}
