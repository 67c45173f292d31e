package wire

import (
	"bytes"
	"encoding/binary"
)

// MeterFrame is one carried frame, with its preamble of FE.
type MeterFrame struct {
	Protocol   Protocol
	Bytes      []byte
	Address    Address // of the meter
	HasAddress bool    // the address is one of 12 digits; transparent frames have none that is known
}

// NextMeterFrame cuts the first frame off what is carried. Of protocols other
// than Transparent, start, length and end of a frame must be right; whether its
// checksums are is for the protocol's own codec to say. What is Transparent is
// one frame.
func NextMeterFrame(p Protocol, content []byte) (m MeterFrame, rest []byte, err error) {
	m.Protocol = p
	skip := 0
	for skip < len(content) && content[skip] == 0xfe {
		skip++
	}
	body := content[skip:]
	n := len(body)
	switch p {
	case Transparent:
	case DLT645, DLT645v1997:
		n, err = m.cut645(body)
	case DLT698:
		n, err = m.cut698(body)
	default:
		err = p.check("carried frame")
	}
	if err != nil {
		return MeterFrame{}, nil, err
	}
	m.Bytes = content[:skip+n]
	return m, content[skip+n:], nil
}

func (m *MeterFrame) cut645(b []byte) (int, error) {
	const overhead = 12 // 68 address(6) 68 control length … checksum 16
	if len(b) < overhead || b[0] != start || b[7] != start {
		return 0, syntax(0, "carried frame", ErrCarried, "no start of %v", m.Protocol)
	}
	n := overhead + int(b[9])
	if n > len(b) || b[n-1] != end {
		return 0, syntax(0, "carried frame", ErrCarried, "no end of %v", m.Protocol)
	}
	m.Address, m.HasAddress = Address(b[1:7]), true
	return n, nil
}

func (m *MeterFrame) cut698(b []byte) (int, error) {
	const overhead = 12 // 68 L(2) C flag address(1…) CA HCS(2) FCS(2) 16
	if len(b) < overhead || b[0] != start {
		return 0, syntax(0, "carried frame", ErrCarried, "no start of %v", m.Protocol)
	}
	n := int(binary.LittleEndian.Uint16(b[1:])&(1<<14-1)) + 2
	if n < overhead || n > len(b) || b[n-1] != end {
		return 0, syntax(0, "carried frame", ErrCarried, "no end of %v", m.Protocol)
	}
	if b[4]&15 == byte(addressSize-1) && 5+addressSize < n {
		m.Address, m.HasAddress = Address(b[5:]), true
	}
	return n, nil
}

// MeterFrames returns how many frames are carried.
func MeterFrames(p Protocol, content []byte) (n int, err error) {
	for len(content) > 0 {
		if _, content, err = NextMeterFrame(p, content); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// CheckMeter makes sure that every carried frame is of one meter, as far as the
// protocol tells. An address with AA in it stands for any.
func CheckMeter(p Protocol, content []byte, meter Address) error {
	for len(content) > 0 {
		m, rest, err := NextMeterFrame(p, content)
		if err != nil {
			return err
		}
		if m.HasAddress && m.Address != meter && bytes.IndexByte(m.Address[:], 0xaa) < 0 {
			return syntax(0, "carried frame", ErrForeign, "of %v, not of %v", m.Address, meter)
		}
		content = rest
	}
	return nil
}

// sniff tells what protocol a carried frame is of where the data unit doesn't
// say: Transparent if it looks like none.
func sniff(content []byte) Protocol {
	for _, p := range [...]Protocol{DLT645, DLT698} {
		if n, err := MeterFrames(p, content); err == nil && n > 0 {
			return p
		}
	}
	return Transparent
}
