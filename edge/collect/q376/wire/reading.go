package wire

import "encoding/binary"

// Limits are what a module takes of concurrent readings. The standard has codes
// for their violation and no numbers; State Grid's tests accept 13 meter frames
// in one frame and have 14 denied with 110.
type Limits struct {
	MeterFrames int // carried in one frame
	Payload     int // bytes of them
	Meters      int // read at once; the concentrator keeps count
}

// DefaultLimits is what every module is known to take.
var DefaultLimits = Limits{MeterFrames: 13, Payload: 1000, Meters: 20}

// ConcurrentRead is F1H-F1 down: frames for one meter, that of the frame's
// Destination.
type ConcurrentRead struct {
	Protocol Protocol
	Reserved byte   // 0
	Content  []byte // meter frames, one after the other
}

// Decode reads the data unit.
func (r *ConcurrentRead) Decode(data []byte) error {
	c := cursor{data: data}
	r.Protocol, r.Reserved = c.protocol("protocol"), c.byte("reserved")
	r.Content = c.message(2, "meter frames")
	return c.end()
}

// Append encodes the data unit behind dst, without looking at limits: see Check.
func (r *ConcurrentRead) Append(dst []byte) ([]byte, error) {
	if err := r.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	if err := bounded(len(r.Content), MaxData-4, "meter frames"); err != nil {
		return dst, err
	}
	dst = append(dst, byte(r.Protocol), r.Reserved)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.Content)))
	return append(dst, r.Content...), nil
}

// Check tells whether a module of these limits takes the request. What is wrong
// is the Deny that it answers with, but for requests that hold no meter frames.
func (r *ConcurrentRead) Check(l Limits) error {
	n, err := MeterFrames(r.Protocol, r.Content)
	switch {
	case err != nil:
		return err
	case n == 0:
		return syntax(0, "meter frames", ErrLength, "none are carried")
	case n > l.MeterFrames:
		return syntax(0, "meter frames", DenyTooManyFrames, "%d frames, %d are the limit", n, l.MeterFrames)
	case len(r.Content) > l.Payload:
		return syntax(0, "meter frames", DenyLength, "%d bytes, %d are the limit", len(r.Content), l.Payload)
	}
	return nil
}

// ConcurrentReply is F1H-F1 up, of the meter that is the frame's Source.
type ConcurrentReply struct {
	Protocol Protocol
	Content  []byte // meter frames; none = the meter could not be read
}

// Failed tells whether the module gave up on the meter.
func (r *ConcurrentReply) Failed() bool { return len(r.Content) == 0 }

// Decode reads the data unit.
func (r *ConcurrentReply) Decode(data []byte) error {
	c := cursor{data: data}
	r.Protocol, r.Content = c.protocol("protocol"), c.message(2, "meter frames")
	return c.end()
}

// Append encodes the data unit behind dst.
func (r *ConcurrentReply) Append(dst []byte) ([]byte, error) {
	if err := r.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	if err := bounded(len(r.Content), MaxData-3, "meter frames"); err != nil {
		return dst, err
	}
	dst = append(dst, byte(r.Protocol))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.Content)))
	return append(dst, r.Content...), nil
}

// Monitor is 13H-F1 down: one meter is read now.
type Monitor struct {
	Protocol       Protocol
	DelaySensitive bool      // the module asks for a corrected frame when it knows the way: 14H-F3
	SubNodes       Addresses // of the node
	Content        []byte
}

// Decode reads the data unit.
func (m *Monitor) Decode(data []byte) error {
	c := cursor{data: data}
	m.Protocol, m.DelaySensitive = c.protocol("protocol"), c.flag("delay flag")
	m.SubNodes = c.records(1, addressSize, "attached nodes")
	m.Content = c.message(1, "meter frame")
	return c.end()
}

// Append encodes the data unit behind dst.
func (m *Monitor) Append(dst []byte) ([]byte, error) {
	if err := m.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	if err := small(len(m.Content), "meter frame"); err != nil {
		return dst, err
	}
	out := append(dst, byte(m.Protocol), bit(m.DelaySensitive, 1))
	out, err := appendAddresses(out, m.SubNodes, "attached nodes")
	if err != nil {
		return dst, err
	}
	return append(append(out, byte(len(m.Content))), m.Content...), nil
}

// MonitorReply is 13H-F1 up.
type MonitorReply struct {
	Delay    uint16 // seconds from the meter to here
	Protocol Protocol
	Content  []byte // none = the meter could not be read
}

// Decode reads the data unit.
func (m *MonitorReply) Decode(data []byte) error {
	c := cursor{data: data}
	m.Delay, m.Protocol, m.Content = c.uint16("delay"), c.protocol("protocol"), c.message(1, "meter frame")
	return c.end()
}

// Append encodes the data unit behind dst.
func (m *MonitorReply) Append(dst []byte) ([]byte, error) {
	if err := m.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	if err := small(len(m.Content), "meter frame"); err != nil {
		return dst, err
	}
	dst = binary.LittleEndian.AppendUint16(dst, m.Delay)
	return append(append(dst, byte(m.Protocol), byte(len(m.Content))), m.Content...), nil
}

// Forward is 02H-F1, both ways.
type Forward struct {
	Protocol Protocol
	Content  []byte
}

// Decode reads the data unit.
func (f *Forward) Decode(data []byte) error {
	c := cursor{data: data}
	f.Protocol, f.Content = c.protocol("protocol"), c.message(1, "meter frame")
	return c.end()
}

// Append encodes the data unit behind dst.
func (f *Forward) Append(dst []byte) ([]byte, error) {
	if err := f.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	if err := small(len(f.Content), "meter frame"); err != nil {
		return dst, err
	}
	return append(append(dst, byte(f.Protocol), byte(len(f.Content))), f.Content...), nil
}

// flag reads 0 or 1.
func (c *cursor) flag(field string) bool {
	b := c.byte(field)
	if b > 1 {
		c.at--
		c.fail(field, ErrValue, "%d, must be 0 or 1", b)
	}
	return b == 1
}

func appendAddresses(dst []byte, list Addresses, field string) ([]byte, error) {
	if list.Len() > 255 || len(list)%addressSize != 0 {
		return dst, syntax(0, field, ErrTooMany, "%d bytes of addresses, 255 of %d bytes are the limit", len(list), addressSize)
	}
	return append(append(dst, byte(list.Len())), list...), nil
}
