package wire

import "encoding/binary"

// ReadQuery is 14H-F1 up: the module asks what to read from a meter.
type ReadQuery struct {
	Phase byte // 0 = not known, 1 to 3
	Meter Address
	Index uint16 // of the node in the routing table
}

// Decode reads the data unit.
func (q *ReadQuery) Decode(data []byte) error {
	c := cursor{data: data}
	q.Phase, q.Meter, q.Index = c.byte("phase"), c.decimal("meter"), c.uint16("index")
	return c.end()
}

// Append encodes the data unit behind dst.
func (q ReadQuery) Append(dst []byte) ([]byte, error) {
	if err := q.Meter.Check(); err != nil {
		return dst, err
	}
	dst = append(append(dst, q.Phase), q.Meter[:]...)
	return binary.LittleEndian.AppendUint16(dst, q.Index), nil
}

// Verdict is what is to be done about a meter.
type Verdict byte

// The verdicts.
const (
	ReadFailed Verdict = 0 // leave it
	ReadDone   Verdict = 1 // nothing more is wanted of it
	ReadThis   Verdict = 2
)

// ReadAnswer is 14H-F1 down.
type ReadAnswer struct {
	Verdict        Verdict
	DelaySensitive bool
	Content        []byte // of ReadThis
	SubNodes       Addresses
}

// Decode reads the data unit.
func (a *ReadAnswer) Decode(data []byte) error {
	c := cursor{data: data}
	a.Verdict, a.DelaySensitive = Verdict(c.byte("verdict")), c.flag("delay flag")
	a.Content = c.message(1, "meter frame")
	a.SubNodes = c.records(1, addressSize, "attached nodes")
	if err := c.end(); err != nil {
		return err
	}
	return a.check()
}

func (a *ReadAnswer) check() error {
	switch {
	case a.Verdict > ReadThis:
		return syntax(0, "verdict", ErrValue, "%d, must be from 0 to 2", a.Verdict)
	case (a.Verdict == ReadThis) != (len(a.Content) > 0):
		return syntax(2, "meter frame", ErrLength, "%d bytes with verdict %d", len(a.Content), a.Verdict)
	case a.Verdict != ReadThis && len(a.SubNodes) > 0:
		return syntax(3, "attached nodes", ErrTooMany, "%d with verdict %d", a.SubNodes.Len(), a.Verdict)
	}
	return small(len(a.Content), "meter frame")
}

// Append encodes the data unit behind dst.
func (a *ReadAnswer) Append(dst []byte) ([]byte, error) {
	if err := a.check(); err != nil {
		return dst, err
	}
	out := append(dst, byte(a.Verdict), bit(a.DelaySensitive, 1), byte(len(a.Content)))
	out, err := appendAddresses(append(out, a.Content...), a.SubNodes, "attached nodes")
	if err != nil {
		return dst, err
	}
	return out, nil
}

// AppendClock encodes 14H-F2 down, and 05H-F101.
func AppendClock(dst []byte, t Clock) ([]byte, error) {
	b, err := t.BCD()
	if err != nil {
		return dst, err
	}
	return append(dst, b[:]...), nil
}

// DecodeClock reads 14H-F2 down, and 05H-F101.
func DecodeClock(data []byte) (Clock, error) {
	c := cursor{data: data}
	t := c.clock(false, "time")
	return t, c.end()
}

// DelayQuery is 14H-F3 up: the module knows how long a frame will take, and asks
// for it to be corrected.
type DelayQuery struct {
	Meter   Address
	Delay   uint16 // seconds
	Content []byte
}

// Decode reads the data unit.
func (q *DelayQuery) Decode(data []byte) error {
	c := cursor{data: data}
	q.Meter, q.Delay, q.Content = c.decimal("meter"), c.uint16("delay"), c.message(1, "meter frame")
	return c.end()
}

// Append encodes the data unit behind dst.
func (q *DelayQuery) Append(dst []byte) ([]byte, error) {
	if err := q.Meter.Check(); err != nil {
		return dst, err
	}
	if err := small(len(q.Content), "meter frame"); err != nil {
		return dst, err
	}
	dst = binary.LittleEndian.AppendUint16(append(dst, q.Meter[:]...), q.Delay)
	return append(append(dst, byte(len(q.Content))), q.Content...), nil
}

// AppendDelayAnswer encodes 14H-F3 down: the corrected frame, or none to give up.
func AppendDelayAnswer(dst, content []byte) ([]byte, error) {
	if err := small(len(content), "meter frame"); err != nil {
		return dst, err
	}
	return append(append(dst, byte(len(content))), content...), nil
}

// DecodeDelayAnswer reads 14H-F3 down.
func DecodeDelayAnswer(data []byte) ([]byte, error) {
	c := cursor{data: data}
	content := c.message(1, "meter frame")
	return content, c.end()
}
