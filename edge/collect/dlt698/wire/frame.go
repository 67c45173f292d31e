package wire

import (
	"encoding/binary"
)

// Limits of a link frame.
const (
	MaxFrame   = 16383 + 2 // what 14 bits of length can say in bytes
	minFrame   = 1 + 2 + 1 + 2 + 1 + 2 + 2 + 1
	lengthMask = 1<<14 - 1
)

// Function is what a frame is for.
type Function byte

// The functions.
const (
	LinkManagement Function = 1
	UserData       Function = 3
)

func (f Function) String() string {
	switch f {
	case LinkManagement:
		return "link management"
	case UserData:
		return "user data"
	}
	return "reserved"
}

// Frame is a link frame without what follows from the rest of it.
type Frame struct {
	FromServer bool // DIR: the server has sent it
	ByClient   bool // PRM: the client has begun the exchange
	Fragmented bool // Data is a fragment
	Scrambled  bool // Data is sent with 33H added to every byte
	Kilobytes  bool // the length counts 1024 bytes
	Function   Function
	Server     Address
	Client     byte
	Data       []byte // APDU or fragment, not scrambled

	clear []byte // Data of a scrambled frame
}

// The bits of the control byte.
const (
	bitDIR      = 1 << 7
	bitPRM      = 1 << 6
	bitFragment = 1 << 5
	bitReserved = 1 << 4
	bitScramble = 1 << 3
	scrambleKey = 0x33
)

// Size returns how many bytes the frame at the start of p has, of which at least
// three must be there.
func Size(p []byte) (int, error) {
	if p[0] != 0x68 {
		return 0, syntax(0, "start", ErrStart, "%02X", p[0])
	}
	word := binary.LittleEndian.Uint16(p[1:])
	if word&(1<<15) != 0 {
		return 0, syntax(1, "length", ErrReserved, "%04X", word)
	}
	n := int(word & lengthMask)
	if word&(1<<14) != 0 {
		n *= 1024
	}
	if n+2 < minFrame || n+2 > MaxFrame {
		return 0, syntax(1, "length", ErrLength, "%d bytes, must be from %d to %d", n, minFrame-2, MaxFrame-2)
	}
	return n + 2, nil
}

// Decode reads one frame that fills p.
func (f *Frame) Decode(p []byte) error {
	if len(p) < 3 {
		return syntax(len(p), "length", ErrCut, "%d bytes are no frame", len(p))
	}
	size, err := Size(p)
	if err != nil {
		return err
	}
	head, err := f.decodeHead(p[:min(size, len(p))])
	if err != nil {
		return err
	}
	switch {
	case len(p) < size:
		return syntax(len(p), "frame", ErrCut, "%d bytes announced, %d there", size, len(p))
	case len(p) > size:
		return syntax(size, "frame", ErrTrailing, "%d bytes announced, %d there", size, len(p))
	case p[size-1] != 0x16:
		return syntax(size-1, "end", ErrEnd, "%02X", p[size-1])
	}
	sum := size - 3
	if sum < head {
		return syntax(sum, "frame", ErrLength, "%d bytes have no room for a header of %d", size, head)
	}
	if want, got := Checksum(p[1:sum]), binary.LittleEndian.Uint16(p[sum:]); want != got {
		return syntax(sum, "FCS", ErrFCS, "computed %04X, received %04X", want, got)
	}
	f.Data = p[head:sum]
	if f.Scrambled {
		f.clear = append(f.clear[:0], f.Data...)
		for i := range f.clear {
			f.clear[i] -= scrambleKey
		}
		f.Data = f.clear
	}
	return nil
}

// decodeHead reads up to and with the header's checksum, and returns where the
// data begin.
func (f *Frame) decodeHead(p []byte) (int, error) {
	if len(p) < 5 {
		return 0, syntax(len(p), "control", ErrCut, "")
	}
	c, flag := p[3], p[4]
	n := int(flag&15) + 1
	head := 5 + n + 1 + 2
	if len(p) < head {
		return 0, syntax(len(p), "header", ErrCut, "%d bytes needed, %d there", head, len(p))
	}
	if want, got := Checksum(p[1:head-2]), binary.LittleEndian.Uint16(p[head-2:]); want != got {
		return 0, syntax(head-2, "HCS", ErrHCS, "computed %04X, received %04X", want, got)
	}
	if c&bitReserved != 0 {
		return 0, syntax(3, "control", ErrReserved, "%02X", c)
	}
	f.FromServer, f.ByClient = c&bitDIR != 0, c&bitPRM != 0
	f.Fragmented, f.Scrambled = c&bitFragment != 0, c&bitScramble != 0
	f.Kilobytes = p[2]&(1<<6) != 0
	f.Function = Function(c & 7)
	f.Server = Address{Type: AddressType(flag >> 6), Logical: flag >> 4 & 3, Len: byte(n)}
	for i := range n {
		f.Server.Bytes[i] = p[4+n-i]
	}
	f.Client = p[5+n]
	return head, nil
}

func (f *Frame) control() byte {
	c := byte(f.Function) & 7
	for _, b := range [...]struct {
		set bool
		bit byte
	}{{f.FromServer, bitDIR}, {f.ByClient, bitPRM}, {f.Fragmented, bitFragment}, {f.Scrambled, bitScramble}} {
		if b.set {
			c |= b.bit
		}
	}
	return c
}

// Append encodes the frame behind dst. On an error dst is returned as it was.
func (f *Frame) Append(dst []byte) ([]byte, error) {
	n := int(f.Server.Len)
	if n < 1 || n > MaxAddress || f.Server.Type > 3 || f.Server.Logical > 3 {
		return dst, syntax(4, "address", ErrAddress, "%d bytes, type %d, logical %d", n, f.Server.Type, f.Server.Logical)
	}
	length := 2 + 1 + 1 + n + 1 + 2 + len(f.Data) + 2
	if length+2 > MaxFrame {
		return dst, syntax(1, "length", ErrLength, "%d bytes, at most %d", length, MaxFrame-2)
	}
	word := uint16(length)
	if f.Kilobytes {
		if length%1024 != 0 {
			return dst, syntax(1, "length", ErrLength, "%d bytes are no multiple of 1024", length)
		}
		word = 1<<14 | uint16(length/1024)
	}
	start := len(dst)
	dst = append(dst, 0x68)
	dst = binary.LittleEndian.AppendUint16(dst, word)
	dst = append(dst, f.control(), byte(f.Server.Type)<<6|f.Server.Logical<<4|byte(n-1))
	for i := range n {
		dst = append(dst, f.Server.Bytes[n-1-i])
	}
	dst = append(dst, f.Client)
	dst = binary.LittleEndian.AppendUint16(dst, Checksum(dst[start+1:]))
	data := len(dst)
	dst = append(dst, f.Data...)
	if f.Scrambled {
		for i := data; i < len(dst); i++ {
			dst[i] += scrambleKey
		}
	}
	dst = binary.LittleEndian.AppendUint16(dst, Checksum(dst[start+1:]))
	return append(dst, 0x16), nil
}
