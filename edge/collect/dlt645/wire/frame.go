package wire

import (
	"errors"
	"fmt"
)

// The bytes of a frame that are always the same.
const (
	preamble = 0xfe
	start    = 0x68
	end      = 0x16
	offset   = 0x33 // is added to every byte of the data
)

// The limits of a frame.
const (
	MaxData      = 200 // bytes of data in one frame
	MaxWriteData = 50  // of them in a request to write
	MaxPreamble  = 4
	Overhead     = 12 // 68 address(6) 68 control length … checksum 16
	MaxFrame     = Overhead + MaxData
)

// Frame is one frame, without preamble. Its data is plain: the 33H that are
// added on the wire are taken off.
type Frame struct {
	Address Address
	Control Control
	length  uint8
	data    [MaxData]byte
}

// Data returns the data of a frame. It is overwritten with the frame.
func (f *Frame) Data() []byte { return f.data[:f.length] }

// SetData sets the data of a frame.
func (f *Frame) SetData(data []byte) error {
	if len(data) > MaxData {
		return fmt.Errorf("%w: %d bytes of data, a frame holds %d", ErrLength, len(data), MaxData)
	}
	f.length = uint8(copy(f.data[:], data))
	return nil
}

// Append appends the frame as it is sent, after a preamble of so many FE.
func (f *Frame) Append(dst []byte, preambles int) []byte {
	for range preambles {
		dst = append(dst, preamble)
	}
	from := len(dst)
	dst = append(dst, start)
	dst = append(dst, f.Address[:]...)
	dst = append(dst, start, byte(f.Control), f.length)
	for _, b := range f.Data() {
		dst = append(dst, b+offset)
	}
	return append(dst, sum(dst[from:]), end)
}

// sum is the checksum of DL/T 645.
func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}

// Preamble counts the FE before a frame.
func Preamble(b []byte) int {
	n := 0
	for ; n < len(b) && b[n] == preamble; n++ {
	}
	return n
}

// Decode reads the one frame that b is, without preamble, into f.
func (f *Frame) Decode(b []byte) error {
	n, err := f.decode(b)
	if err == nil && n < len(b) {
		err = fmt.Errorf("%w: %d bytes after the frame", ErrLength, len(b)-n)
	}
	return err
}

// decode reads the frame that b begins with. ErrShort: it may be one, but is
// not all there.
func (f *Frame) decode(b []byte) (n int, err error) {
	switch {
	case len(b) > 0 && b[0] != start:
		return 0, fmt.Errorf("%w: byte 0 is %02XH, not 68H", ErrStart, b[0])
	case len(b) > 7 && b[7] != start:
		return 0, fmt.Errorf("%w: byte 7 is %02XH, not 68H", ErrStart, b[7])
	case len(b) > 9 && b[9] > MaxData:
		return 0, fmt.Errorf("%w: %d bytes of data announced, a frame holds %d", ErrLength, b[9], MaxData)
	case len(b) < 10:
		return 0, fmt.Errorf("%w: %d bytes, a frame has at least %d", ErrShort, len(b), Overhead)
	}
	n = Overhead + int(b[9])
	if len(b) < n {
		return 0, fmt.Errorf("%w: %d bytes of %d", ErrShort, len(b), n)
	}
	if want, got := sum(b[:n-2]), b[n-2]; want != got {
		return 0, fmt.Errorf("%w: is %02XH, should be %02XH", ErrChecksum, got, want)
	}
	if b[n-1] != end {
		return 0, fmt.Errorf("%w: the last byte is %02XH, not 16H", ErrEnd, b[n-1])
	}
	copy(f.Address[:], b[1:7])
	f.Control, f.length = Control(b[8]), b[9]
	for i, c := range b[10 : n-2] {
		f.data[i] = c - offset
	}
	return n, f.Address.Check()
}

// Next finds the first whole frame in what came over a line, and returns how
// many bytes are done with. Noise, preambles and broken frames are passed over;
// err is the reason for the last of those that began like a frame. A frame that
// may still grow whole is waited for, unless nothing more will come.
func (f *Frame) Next(b []byte, last bool) (n int, found bool, err error) {
	for at := 0; at < len(b); at++ {
		if b[at] != start {
			continue
		}
		size, problem := f.decode(b[at:])
		switch {
		case problem == nil:
			return at + size, true, nil
		case errors.Is(problem, ErrShort) && !last:
			return at, false, err
		case !errors.Is(problem, ErrStart):
			err = problem
		}
	}
	return len(b), false, err
}
