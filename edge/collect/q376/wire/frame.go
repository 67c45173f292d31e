package wire

import (
	"encoding/binary"
)

// The bytes of a frame that are always the same.
const (
	start = 0x68
	end   = 0x16
)

// The limits of a frame. The standard lets a length be 65,535; modules take far
// less, and so do we.
const (
	MaxRelays = 15
	MaxData   = 2048 // bytes of a data unit
	minFrame  = 15   // 68 L(2) C R(6) AFN DT(2) CS 16
	MaxFrame  = minFrame + (2+MaxRelays)*addressSize + MaxData
)

// Frame is one frame. Its Data point into the bytes that were decoded.
type Frame struct {
	Control     Control
	Info        Info
	Source      Address // A1: down the main node, up the meter
	Destination Address // A3: down the meter, up the main node
	AFN         AFN
	Fn          Fn
	Data        []byte

	relays [MaxRelays]Address
}

// Relays are the addresses A2 on the way down. Frames of the module have none,
// whatever relay level they tell.
func (f *Frame) Relays() []Address { return f.relays[:f.relayCount()] }

func (f *Frame) relayCount() int {
	if f.Control.Up() || !f.Info.HasAddress() {
		return 0
	}
	return f.Info.RelayLevel()
}

// SetRelays sets the way down, and the relay level with it.
func (f *Frame) SetRelays(relays []Address) error {
	if len(relays) > MaxRelays {
		return syntax(0, "relays", ErrTooMany, "%d relays, %d are the limit", len(relays), MaxRelays)
	}
	copy(f.relays[:], relays)
	f.Info[0] = f.Info[0]&15 | byte(len(relays))<<4
	return nil
}

// Exchange identifies a request and what answers it.
type Exchange struct {
	Sequence byte
	Meter    Address // zero if the frame has no address field, as denials have none
}

// Exchange returns the exchange that a frame is of: requests down and answers up
// for the same meter have the same.
func (f *Frame) Exchange() Exchange {
	e := Exchange{Sequence: f.Info.Sequence()}
	switch {
	case !f.Info.HasAddress():
	case f.Control.Up():
		e.Meter = f.Source
	default:
		e.Meter = f.Destination
	}
	return e
}

// Size returns how many bytes the frame at the start of p has, of which at least
// three must be there.
func Size(p []byte) (int, error) {
	if len(p) < 3 {
		return 0, syntax(len(p), "length", ErrCut, "%d bytes, a frame has at least %d", len(p), minFrame)
	}
	if p[0] != start {
		return 0, syntax(0, "start", ErrStart, "is %02XH", p[0])
	}
	n := int(binary.LittleEndian.Uint16(p[1:]))
	if n < minFrame || n > MaxFrame {
		return 0, syntax(1, "length", ErrLength, "%d bytes, must be from %d to %d", n, minFrame, MaxFrame)
	}
	return n, nil
}

// Decode reads one frame that fills p.
func (f *Frame) Decode(p []byte) error {
	size, err := Size(p)
	switch {
	case err != nil:
		return err
	case len(p) < size:
		return syntax(len(p), "frame", ErrCut, "%d bytes announced, %d there", size, len(p))
	case len(p) > size:
		return syntax(size, "frame", ErrTrailing, "%d bytes announced, %d there", size, len(p))
	case p[size-1] != end:
		return syntax(size-1, "end", ErrEnd, "is %02XH", p[size-1])
	}
	if want, got := sum(p[3:size-2]), p[size-2]; want != got {
		return syntax(size-2, "checksum", ErrChecksum, "is %02XH, should be %02XH", got, want)
	}
	return f.decodeBody(p[:size-2])
}

// decodeBody reads what is before the checksum.
func (f *Frame) decodeBody(p []byte) error {
	f.Control, f.Info = Control(p[3]), Info(p[4:10])
	f.Source, f.Destination = Address{}, Address{}
	c := cursor{data: p, at: 10}
	if f.Info.HasAddress() {
		f.Source = c.decimal("source address A1")
		for i := range f.relayCount() {
			f.relays[i] = c.decimal("relay address A2")
		}
		f.Destination = c.decimal("destination address A3")
	}
	f.AFN = AFN(c.byte("AFN"))
	dt := c.take(2, "data unit identifier")
	if c.err != nil {
		return c.err
	}
	fn, ok := fnOf(dt[0], dt[1])
	if !ok {
		return syntax(c.at-2, "data unit identifier", ErrFn, "DT1 %02XH, DT2 %02XH: must be one bit, and from 00H to 1EH", dt[0], dt[1])
	}
	f.Fn, f.Data = fn, p[c.at:]
	if len(f.Data) > MaxData {
		return syntax(c.at, "data unit", ErrLength, "%d bytes, %d are the limit", len(f.Data), MaxData)
	}
	return nil
}

// Append encodes the frame behind dst. On an error dst is returned as it was.
func (f *Frame) Append(dst []byte) ([]byte, error) {
	if f.Fn < 1 || f.Fn > MaxFn {
		return dst, syntax(0, "Fn", ErrFn, "F%d, must be from F1 to F%d", f.Fn, MaxFn)
	}
	if len(f.Data) > MaxData {
		return dst, syntax(0, "data unit", ErrLength, "%d bytes, %d are the limit", len(f.Data), MaxData)
	}
	from := len(dst)
	out := append(dst, start, 0, 0, byte(f.Control))
	out = append(out, f.Info[:]...)
	if f.Info.HasAddress() {
		out = append(out, f.Source[:]...)
		for i := range f.relayCount() {
			out = append(out, f.relays[i][:]...)
		}
		out = append(out, f.Destination[:]...)
		for a := Addresses(out[from+10:]); len(a) > 0; a = a[addressSize:] {
			if !a.At(0).decimal() {
				return dst, syntax(len(out)-len(a)-from, "address", ErrAddress, "%s: must be 12 digits", a.At(0))
			}
		}
	}
	dt1, dt2 := f.Fn.identifier()
	out = append(append(out, byte(f.AFN), dt1, dt2), f.Data...)
	binary.LittleEndian.PutUint16(out[from+1:], uint16(len(out)-from+2))
	return append(out, sum(out[from+3:]), end), nil
}

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}
