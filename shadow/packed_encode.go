package shadow

import "strconv"

// appendJSON is Value.AppendJSON of the value that c is at.
func (c *cursor) appendJSON(dst []byte) []byte {
	k := c.kind()
	if k != Object {
		c.varint()
	}
	switch k {
	case Bool:
		return append(dst, c.flag()...)
	case String:
		return AppendString(dst, c.text())
	case Array:
		dst = append(dst, '[')
		for i, n := 0, int(c.uvarint()); i < n; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = c.appendJSON(dst)
		}
		return append(dst, ']')
	case Object:
		return c.appendObjectJSON(dst)
	default:
		return append(dst, c.text()...)
	}
}

func (c *cursor) appendObjectJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i, n := 0, int(c.uvarint()); i < n; i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.appendJSON(append(AppendString(dst, c.text()), ':'))
	}
	return append(dst, '}')
}

// appendMetadata is Value.AppendMetadataAt of the value that c is at.
func (c *cursor) appendMetadata(dst []byte, stamp int64) []byte {
	k := c.kind()
	own := stamp
	if k != Object {
		if own = c.at - c.varint(); stamp != 0 {
			own = stamp
		}
	}
	switch k {
	case Bool:
		c.flag()
	case Array:
		dst = append(dst, '[')
		for i, n := 0, int(c.uvarint()); i < n; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = c.appendMetadata(dst, stamp)
		}
		return append(dst, ']')
	case Object:
		return c.appendObjectMetadata(dst, stamp)
	default:
		c.text()
	}
	return appendTimestamp(dst, own)
}

func (c *cursor) appendObjectMetadata(dst []byte, stamp int64) []byte {
	dst = append(dst, '{')
	for i, n := 0, int(c.uvarint()); i < n; i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.appendMetadata(append(AppendString(dst, c.text()), ':'), stamp)
	}
	return append(dst, '}')
}

func appendTimestamp(dst []byte, stamp int64) []byte {
	dst = append(dst, `{"timestamp":`...)
	return append(strconv.AppendInt(dst, stamp, 10), '}')
}

// jsonLen is Value.JSONLen of the value that c is at.
func (c *cursor) jsonLen() int {
	k := c.kind()
	if k != Object {
		c.varint()
	}
	switch k {
	case Bool:
		return len(c.flag())
	case String:
		return stringLen(c.text())
	case Array:
		count := int(c.uvarint())
		n := 2 + max(0, count-1)
		for ; count > 0; count-- {
			n += c.jsonLen()
		}
		return n
	case Object:
		return c.objectLen()
	default:
		return len(c.text())
	}
}

func (c *cursor) objectLen() int {
	count := int(c.uvarint())
	n := 2 + max(0, count-1)
	for ; count > 0; count-- {
		n += stringLen(c.text()) + 1
		n += c.jsonLen()
	}
	return n
}
