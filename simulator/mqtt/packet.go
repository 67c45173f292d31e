package mqtt

import (
	"encoding/binary"
	"fmt"
)

// Type is the kind of a control packet.
type Type byte

// The control packets this client sends or receives.
const (
	CONNECT    Type = 1
	CONNACK    Type = 2
	PUBLISH    Type = 3
	PUBACK     Type = 4
	SUBSCRIBE  Type = 8
	SUBACK     Type = 9
	PINGREQ    Type = 12
	PINGRESP   Type = 13
	DISCONNECT Type = 14
)

// Packet is one received control packet. Payload and Reasons alias the
// connection's buffer and hold until the next call of Conn.Next.
type Packet struct {
	Type    Type
	ID      uint16 // PUBLISH at QoS 1, PUBACK, SUBACK
	QoS     byte
	Dup     bool
	Retain  bool
	Topic   string // PUBLISH
	Payload []byte // PUBLISH
	Reason  byte   // CONNACK, PUBACK, DISCONNECT; 0x80 and above mean failure
	Reasons []byte // SUBACK, one for each filter
	Server  Server // CONNACK
}

// Server is what the server stated in its CONNACK.
type Server struct {
	SessionPresent bool
	ReceiveMax     uint16 // QoS 1 messages it takes before it acknowledges one
	MaxPacket      uint32 // largest packet it takes; 0 = no limit stated
	KeepAlive      uint16 // seconds, overrides the client's; 0 = not stated
	HasKeepAlive   bool
}

// Property identifiers of MQTT 5 that matter here.
const (
	propReceiveMax      = 0x21
	propServerKeepAlive = 0x13
	propMaxPacket       = 0x27
)

// propKinds gives the encoding of every property of MQTT 5: 1, 2 and 4 byte
// integers, v variable byte integer, s string or binary, p pair of strings.
var propKinds = [256]byte{
	0x01: 1, 0x02: 4, 0x03: 's', 0x08: 's', 0x09: 's', 0x0b: 'v', 0x11: 4, 0x12: 's',
	0x13: 2, 0x15: 's', 0x16: 's', 0x17: 1, 0x18: 4, 0x19: 1, 0x1a: 's', 0x1c: 's',
	0x1f: 's', 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1, 0x26: 'p', 0x27: 4,
	0x28: 1, 0x29: 1, 0x2a: 1,
}

// Parse decodes one packet from the first byte of its fixed header and the body
// that follows the remaining length. It is strict: the error is ErrMalformed,
// wrapped with what is wrong.
func Parse(header byte, body []byte) (Packet, error) {
	p := Packet{Type: Type(header >> 4)}
	c := cursor{rest: body}
	if flags := header & 0x0f; p.Type != PUBLISH && flags != 0 {
		return p, fmt.Errorf("%w: packet type %d with flags %#x", ErrMalformed, p.Type, flags)
	}
	switch p.Type {
	case PUBLISH:
		parsePublish(&p, header, &c)
	case CONNACK:
		parseConnack(&p, &c)
	case PUBACK:
		p.ID = c.id()
		if len(c.rest) > 0 {
			p.Reason = c.byte()
		}
		if len(c.rest) > 0 {
			c.properties(nil)
		}
		c.end()
	case SUBACK:
		p.ID = c.id()
		c.properties(nil)
		if p.Reasons = c.rest; len(p.Reasons) == 0 {
			c.fail("SUBACK without reason codes")
		}
	case PINGRESP:
		c.end()
	case DISCONNECT:
		if len(c.rest) > 0 {
			p.Reason = c.byte()
		}
		if len(c.rest) > 0 {
			c.properties(nil)
		}
		c.end()
	default:
		c.fail("a packet type no server sends to this client")
	}
	if c.problem != "" {
		return p, fmt.Errorf("%w: packet type %d: %s", ErrMalformed, p.Type, c.problem)
	}
	return p, nil
}

func parsePublish(p *Packet, header byte, c *cursor) {
	p.Dup, p.QoS, p.Retain = header&8 != 0, header>>1&3, header&1 != 0
	if p.QoS > 1 {
		c.fail("QoS above 1, which was never subscribed to")
		return
	}
	p.Topic = string(c.bytes())
	if p.QoS > 0 {
		p.ID = c.id()
	}
	c.properties(nil)
	if p.Topic == "" {
		c.fail("PUBLISH without a topic, though no topic alias was offered")
	}
	p.Payload = c.rest
}

func parseConnack(p *Packet, c *cursor) {
	flags := c.byte()
	if flags > 1 {
		c.fail("reserved CONNACK flags set")
	}
	p.Reason = c.byte()
	p.Server = Server{SessionPresent: flags == 1, ReceiveMax: 65535}
	c.properties(func(id byte, value uint32) {
		switch id {
		case propReceiveMax:
			p.Server.ReceiveMax = uint16(value)
			if value == 0 {
				c.fail("receive maximum of 0")
			}
		case propMaxPacket:
			p.Server.MaxPacket = value
			if value == 0 {
				c.fail("maximum packet size of 0")
			}
		case propServerKeepAlive:
			p.Server.KeepAlive, p.Server.HasKeepAlive = uint16(value), true
		}
	})
	c.end()
}

// cursor reads a body from the front. After the first problem it yields zeroes.
type cursor struct {
	rest    []byte
	problem string
}

func (c *cursor) fail(problem string) {
	if c.problem == "" {
		c.problem = problem
	}
	c.rest = nil
}

func (c *cursor) take(n int) []byte {
	if n > len(c.rest) {
		c.fail("cut short")
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) id() uint16 {
	id := c.uint16()
	if id == 0 {
		c.fail("packet identifier 0")
	}
	return id
}

func (c *cursor) bytes() []byte { return c.take(int(c.uint16())) }

func (c *cursor) end() {
	if len(c.rest) > 0 {
		c.fail("bytes after its end")
	}
}

// properties steps over a property block and shows the integers in it to see.
func (c *cursor) properties(see func(id byte, value uint32)) {
	size, n := uvarint(c.rest)
	if n <= 0 {
		c.fail("bad property length")
		return
	}
	c.rest = c.rest[n:]
	block := cursor{rest: c.take(int(size))}
	for len(block.rest) > 0 {
		id := block.byte()
		var value uint32
		switch propKinds[id] {
		case 1:
			value = uint32(block.byte())
		case 2:
			value = uint32(block.uint16())
		case 4:
			if b := block.take(4); b != nil {
				value = binary.BigEndian.Uint32(b)
			}
		case 'v':
			v, n := uvarint(block.rest)
			if n <= 0 {
				block.fail("bad variable byte integer")
				break
			}
			value, block.rest = v, block.rest[n:]
		case 's':
			block.bytes()
			continue
		case 'p':
			block.bytes()
			block.bytes()
			continue
		default:
			block.fail("an unknown property")
		}
		if see != nil && block.problem == "" {
			see(id, value)
		}
	}
	if block.problem != "" {
		c.fail(block.problem)
	}
}

// uvarint decodes a variable byte integer of at most four bytes. It returns how
// many bytes it took; 0 when b is too short, -1 when it is malformed.
func uvarint(b []byte) (uint32, int) {
	var v uint32
	for i := range 4 {
		if i >= len(b) {
			return 0, 0
		}
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, -1
}
