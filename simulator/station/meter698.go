package station

import (
	"encoding/binary"
	"time"

	"gnomon/edge/collect/dlt698/wire"
)

// The tags of DL/T 698.45 that a meter uses here.
const (
	tagArray     = 0x01
	tagInt32     = 0x05
	tagUint32    = 0x06
	tagOctets    = 0x09
	tagInt16     = 0x10
	tagUint16    = 0x12
	tagDateTimeS = 0x1c
	tagInterval  = 0x54

	darUndefined = 0x04
)

const (
	oadAddress = 0x40010200
	oadTime    = 0x20210200
	oadMinute  = 0x50020200
	oadDay     = 0x50040200
	oadMonth   = 0x50060200
)

// quantity698 is what an object attribute stands for.
func quantity698(oad uint32) (q quantity, ok bool) {
	oi, attribute, index := oad>>16, oad>>8&0xff, int(oad&0xff)
	if attribute != 2 {
		return q, false
	}
	part := index - 1 // the first element is the total
	switch oi {
	case 0x0000, 0x0010, 0x0020, 0x0030, 0x0040, 0x0050, 0x0060, 0x0070, 0x0080:
		return quantity{energy + measure(oi>>4), part}, index >= 1 && index <= 5
	case 0x2000:
		return quantity{voltage, index}, index >= 1
	case 0x2001:
		return quantity{current, index}, index >= 1
	case 0x2004:
		return quantity{power, part}, index >= 1
	case 0x2005:
		return quantity{reactive, part}, index >= 1
	case 0x200a:
		return quantity{factor, part}, index >= 1
	case 0x200f:
		return quantity{frequency, 0}, index == 0
	}
	return q, false
}

// tagOf is the type that a quantity has on the wire.
func tagOf(what measure) byte {
	switch what {
	case voltage, frequency:
		return tagUint16
	case factor:
		return tagInt16
	case current, power, reactive, apparent:
		return tagInt32
	}
	return tagUint32
}

// answer698 is what a DL/T 698.45 meter says. It answers plain requests; real
// ones may want them wrapped.
func (m *Meter) answer698(frame []byte, now time.Time) []byte {
	for len(frame) > 0 && frame[0] == 0xfe {
		frame = frame[1:]
	}
	var f wire.Frame
	own, err := wire.ParseAddress(m.Digits())
	if err != nil || f.Decode(frame) != nil || f.FromServer || f.Function != wire.UserData || !f.Server.Covers(own) {
		return nil
	}
	apdu := m.get698(f.Data, now)
	if apdu == nil {
		return nil
	}
	out, err := (&wire.Frame{FromServer: true, ByClient: true, Function: wire.UserData, Server: own, Client: f.Client, Data: apdu}).Append(nil)
	if err != nil {
		return nil
	}
	return out
}

// get698 answers a request to read.
func (m *Meter) get698(p []byte, now time.Time) []byte {
	if len(p) < 8 || p[0] != wire.GetRequest {
		return []byte{0xee, 0x00, 0x01, 0, 0} // the request can't be parsed
	}
	out := []byte{0x85, p[1], p[2]}
	switch p[1] {
	case wire.GetNormal:
		out = m.single698(append(out, p[3:7]...), binary.BigEndian.Uint32(p[3:]), now)
	case wire.GetNormalList:
		n := int(p[3])
		if n > 127 || len(p) < 4+4*n {
			return []byte{0xee, 0x00, 0x01, 0, 0}
		}
		out = append(out, p[3])
		for i := range n {
			at := p[4+4*i:]
			out = m.single698(append(out, at[:4]...), binary.BigEndian.Uint32(at), now)
		}
	case wire.GetRecord:
		if out = m.record698(out, p[3:], now); out == nil {
			return []byte{0xee, 0x00, 0x01, 0, 0}
		}
	default:
		return []byte{0xee, 0x00, 0x02, 0, 0}
	}
	return append(out, 0, 0) // nothing follows, no time tag
}

// single698 appends the result of one attribute.
func (m *Meter) single698(out []byte, oad uint32, now time.Time) []byte {
	data, ok := m.attribute698(oad, m.clock(now))
	if !ok {
		return append(out, 0, darUndefined)
	}
	return append(append(out, 1), data...)
}

// attribute698 is the data of an attribute.
func (m *Meter) attribute698(oad uint32, t time.Time) ([]byte, bool) {
	if oad == oadAddress {
		out := []byte{tagOctets, 6}
		for i := range m.Address {
			out = append(out, m.Address[5-i])
		}
		return out, true
	}
	if oad == oadTime {
		out := binary.BigEndian.AppendUint16([]byte{tagDateTimeS}, uint16(t.Year()))
		return append(out, byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second())), true
	}
	q, ok := quantity698(oad)
	if !ok {
		return nil, false
	}
	v, ok := m.value(q, t)
	if !ok {
		return nil, false
	}
	tag := tagOf(q.what)
	if tag == tagUint16 || tag == tagInt16 {
		return binary.BigEndian.AppendUint16([]byte{tag}, uint16(v)), true
	}
	return binary.BigEndian.AppendUint32([]byte{tag}, uint32(v)), true
}

// record698 answers for columns of some records; nil if it can't be parsed.
func (m *Meter) record698(out, p []byte, now time.Time) []byte {
	if len(p) < 4 {
		return nil
	}
	record := binary.BigEndian.Uint32(p)
	times, columns, ok := m.rows698(record, p[4:], now)
	if !ok || len(columns) < 1 || len(columns) < 1+5*int(columns[0]) {
		return nil
	}
	columns = columns[:1+5*int(columns[0])]
	out = append(append(out, p[:4]...), columns...)
	if record != oadMinute && record != oadDay && record != oadMonth {
		return append(out, 0, darUndefined)
	}
	if len(times) > maxRows698 {
		times = times[:maxRows698]
	}
	out = append(out, tagArray, byte(len(times)))
	for _, at := range times {
		for c := columns[1:]; len(c) >= 5; c = c[5:] {
			data, ok := m.attribute698(binary.BigEndian.Uint32(c[1:]), at)
			if !ok {
				data = []byte{0}
			}
			out = append(out, data...)
		}
	}
	return out
}

// maxRows698 is how many records a meter gives in one answer.
const maxRows698 = 100
