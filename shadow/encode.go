package shadow

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends v as compact JSON to dst, members in key order, numbers as
// they were written. An absent Value is null.
func (v *Value) AppendJSON(dst []byte) []byte {
	switch v.Kind() {
	case Object:
		if v.packed() {
			c := cursor{rest: v.text}
			return c.appendObjectJSON(dst)
		}
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, m.Key), ':')
			dst = m.Value.AppendJSON(dst)
		}
		return append(dst, '}')
	case Array:
		dst = append(dst, '[')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = m.Value.AppendJSON(dst)
		}
		return append(dst, ']')
	case String:
		return AppendString(dst, v.text)
	case Null:
		return append(dst, "null"...)
	default:
		return append(dst, v.text...)
	}
}

// MarshalJSON lets a Value stand in structures that encoding/json writes.
func (v *Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }

// AppendMetadata appends v's metadata as the contract has it: the shape of v
// with {"timestamp":s} in place of every leaf and of every array element.
func (v *Value) AppendMetadata(dst []byte) []byte {
	return v.AppendMetadataAt(dst, 0)
}

// AppendMetadataAt is AppendMetadata with one stamp for all leaves, those to be
// removed included, unless stamp is 0. It describes a request that was accepted.
func (v *Value) AppendMetadataAt(dst []byte, stamp int64) []byte {
	switch v.Kind() {
	case Object:
		if v.packed() {
			c := cursor{rest: v.text, at: v.base()}
			return c.appendObjectMetadata(dst, stamp)
		}
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, m.Key), ':')
			dst = m.Value.AppendMetadataAt(dst, stamp)
		}
		return append(dst, '}')
	case Array:
		dst = append(dst, '[')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = m.Value.AppendMetadataAt(dst, stamp)
		}
		return append(dst, ']')
	default:
		if stamp == 0 {
			stamp = v.Stamp()
		}
		return appendTimestamp(dst, stamp)
	}
}

// AppendString appends s as a JSON string. Only what must be escaped is.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		start = i + 1
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		const hexDigits = "0123456789abcdef"
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

// JSONLen returns len(v.AppendJSON(nil)) without building it.
func (v *Value) JSONLen() int {
	switch v.Kind() {
	case Object:
		if v.packed() {
			c := cursor{rest: v.text}
			return c.objectLen()
		}
		n := 2 + max(0, len(v.members)-1)
		for _, m := range v.members {
			n += stringLen(m.Key) + 1 + m.Value.JSONLen()
		}
		return n
	case Array:
		n := 2 + max(0, len(v.members)-1)
		for _, m := range v.members {
			n += m.Value.JSONLen()
		}
		return n
	case String:
		return stringLen(v.text)
	case Null:
		return len("null")
	default:
		return len(v.text)
	}
}

func stringLen(s string) int {
	n := len(s) + 2
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= ' ' && c != '"' && c != '\\', c >= utf8.RuneSelf:
		case c == '"', c == '\\', c == '\b', c == '\f', c == '\n', c == '\r', c == '\t':
			n++
		default:
			n += 5
		}
	}
	return n
}

// Digest returns 16 hexadecimal digits that are the same on every machine for
// Equal values and differ for others. Stamps don't count. A section that is
// absent and one without members are the same to a Document, so both have "".
func Digest(v *Value) string {
	if v == nil || v.Kind() == Object && v.Len() == 0 {
		return ""
	}
	sum := sha256.Sum256(v.appendCanonical(make([]byte, 0, 1024)))
	return hex.EncodeToString(sum[:8])
}

// appendCanonical is AppendJSON with every number in normal form.
func (v *Value) appendCanonical(dst []byte) []byte {
	switch v.Kind() {
	case Number:
		d := normalize(v.text)
		if d.negative {
			dst = append(dst, '-')
		}
		dst = append(append(dst, d.digits...), 'e')
		return strconv.AppendInt(dst, int64(d.exp), 10)
	case Object, Array:
		open := byte('[')
		if v.Kind() == Object {
			open = '{'
		}
		dst = append(dst, open)
		for _, m := range v.tree().members {
			dst = append(AppendString(dst, m.Key), ':')
			dst = append(m.Value.appendCanonical(dst), ',')
		}
		return append(dst, ']')
	default:
		return v.AppendJSON(dst)
	}
}
