package wire

import "encoding/binary"

// ReadReport is 06H-F2: what was read when the module itself decides whom to read.
type ReadReport struct {
	Index    uint16 // of the node in the routing table
	Protocol Protocol
	Delay    uint16 // seconds from the meter to here
	Content  []byte
}

// Decode reads the data unit.
func (r *ReadReport) Decode(data []byte) error {
	c := cursor{data: data}
	r.Index, r.Protocol, r.Delay = c.uint16("index"), c.protocol("protocol"), c.uint16("delay")
	r.Content = c.message(1, "meter frame")
	return c.end()
}

// Append encodes the data unit behind dst.
func (r *ReadReport) Append(dst []byte) ([]byte, error) {
	if err := r.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	if err := small(len(r.Content), "meter frame"); err != nil {
		return dst, err
	}
	dst = append(binary.LittleEndian.AppendUint16(dst, r.Index), byte(r.Protocol))
	dst = binary.LittleEndian.AppendUint16(dst, r.Delay)
	return append(append(dst, byte(len(r.Content))), r.Content...), nil
}

// Work is what 06H-F3 says has changed.
type Work byte

// The changes.
const (
	ReadingEnded   Work = 1
	SearchEnded    Work = 2
	AreaEnded      Work = 3 // the search for the supply area
	CollectionIdle Work = 4 // Anhui: all of this period's reports of tasks are out
)

// DecodeWork reads 06H-F3.
func DecodeWork(data []byte) (Work, error) {
	c := cursor{data: data}
	w := Work(c.byte("change"))
	return w, c.end()
}

// EventReport is 06H-F5.
type EventReport struct {
	Device  byte // what kind of node has it: see its explanation
	Kind    byte // a Protocol, or PowerEvent or AreaRefusal
	Content []byte
}

// What events are of beside protocols.
const (
	PowerEvent  = 4 // nodes lost power, or have it again
	AreaRefusal = 5 // nodes were refused because they are of another supply area
)

// Decode reads the data unit.
func (r *EventReport) Decode(data []byte) error {
	c := cursor{data: data}
	r.Device, r.Kind = c.byte("device"), c.byte("kind")
	r.Content = c.message(1, "event")
	return c.end()
}

// Append encodes the data unit behind dst.
func (r *EventReport) Append(dst []byte) ([]byte, error) {
	if err := small(len(r.Content), "event"); err != nil {
		return dst, err
	}
	return append(append(dst, r.Device, r.Kind, byte(len(r.Content))), r.Content...), nil
}

// Power is a PowerEvent's content.
type Power struct {
	Restored bool      // otherwise lost
	Nodes    Addresses // of modules
	Meters   []byte    // of a collector instead: addresses, each with 0 = no power, 1 = power
}

const collector = 0

// Power reads the content of a PowerEvent.
func (r *EventReport) Power() (p Power, err error) {
	c := cursor{data: r.Content}
	switch kind := c.byte("event"); {
	case c.err != nil:
		return p, c.err
	case r.Kind != PowerEvent || kind != 1 && kind != 2:
		return p, syntax(0, "event", ErrValue, "kind %d, event %d: not of power", r.Kind, kind)
	default:
		p.Restored = kind == 2
	}
	each := addressSize
	if r.Device == collector {
		each++
	}
	if c.left()%each != 0 {
		return Power{}, syntax(1, "nodes", ErrLength, "%d bytes, must be a multiple of %d", c.left(), each)
	}
	list := c.take(c.left(), "nodes")
	if r.Device == collector {
		p.Meters = list
	} else {
		p.Nodes = list
	}
	return p, nil
}
