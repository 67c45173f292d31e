package wire

import "encoding/binary"

// cursor reads a data unit from front to back. After an error everything it
// returns is zero.
type cursor struct {
	data []byte
	at   int
	err  error
}

func (c *cursor) left() int { return len(c.data) - c.at }

func (c *cursor) fail(field string, err error, detail string, args ...any) {
	if c.err == nil {
		c.err = syntax(c.at, field, err, detail, args...)
	}
}

// take returns the next n bytes, or nil.
func (c *cursor) take(n int, field string) []byte {
	if c.err != nil {
		return nil
	}
	if n > c.left() {
		c.cut(n, field)
		return nil
	}
	c.at += n
	return c.data[c.at-n : c.at : c.at]
}

func (c *cursor) cut(n int, field string) {
	c.err = syntax(c.at, field, ErrCut, "%d bytes needed, %d there", n, c.left())
}

// uint reads a number of up to eight bytes, the lowest first.
func (c *cursor) uint(size int, field string) (n uint64) {
	for i, b := range c.take(size, field) {
		n |= uint64(b) << (8 * i)
	}
	return n
}

func (c *cursor) byte(field string) byte {
	if b := c.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16(field string) uint16 {
	if b := c.take(2, field); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// address reads six bytes, of whatever kind.
func (c *cursor) address(field string) (a Address) {
	copy(a[:], c.take(addressSize, field))
	return a
}

// decimal reads an address that must be made of digits.
func (c *cursor) decimal(field string) Address {
	a := c.address(field)
	if c.err == nil && !a.decimal() {
		c.at -= addressSize
		c.refuse(a, field)
	}
	return a
}

func (c *cursor) refuse(a Address, field string) {
	c.err = syntax(c.at, field, ErrAddress, "%s: must be 12 digits", a)
}

func (c *cursor) protocol(field string) Protocol {
	p := Protocol(c.byte(field))
	if c.err == nil && p > DLT698 {
		c.at--
		c.fail(field, ErrProtocol, "%02XH", byte(p))
	}
	return p
}

// message reads a length of so many bytes, and as many bytes.
func (c *cursor) message(size int, field string) []byte {
	return c.take(int(c.uint(size, field)), field)
}

// records reads a number of records that has size bytes, and the records.
func (c *cursor) records(size, each int, field string) []byte {
	return c.take(int(c.uint(size, field))*each, field)
}

// decimals reads a number of addresses that has size bytes, and the addresses.
func (c *cursor) decimals(size int, field string) Addresses {
	n := int(c.uint(size, field))
	from := c.at
	for range n {
		if c.decimal(field); c.err != nil {
			return nil
		}
	}
	return c.data[from:c.at:c.at]
}

// end makes sure that nothing is left over.
func (c *cursor) end() error {
	if c.err == nil && c.left() > 0 {
		c.fail("data unit", ErrTrailing, "%d bytes", c.left())
	}
	return c.err
}

// small refuses what doesn't fit a length of one byte.
func small(n int, field string) error { return bounded(n, 255, field) }

func bounded(n, limit int, field string) error {
	if n > limit {
		return syntax(0, field, ErrLength, "%d bytes, %d are the limit", n, limit)
	}
	return nil
}
