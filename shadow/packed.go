package shadow

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// An Object may be packed: kept as the bytes that stand for its members in a
// record, which take a seventh of the room of a tree and cost a garbage collector
// nothing. The sections of a stored document are. A packed Object is walked, and
// merged into, as it is; nobody outside of this package can tell.
//
// In memory its text is the uvarint count and the members, and in the place of a
// stamp, which an Object hasn't, is the second that the stamps within are counted
// back from.
const packedBit = 1 << (kindBits - 1)

func newPacked(text string, at int64) *Value { return new(Value).pack(text, at) }

// pack makes v, of which nobody knows yet, a packed Object.
func (v *Value) pack(text string, at int64) *Value {
	v.meta, v.text = uint64(at)<<kindBits|packedBit|uint64(Object), text
	return v
}

func (v *Value) packed() bool { return v != nil && v.meta&packedBit != 0 }

// base is the second that the stamps within a packed Object are counted back from.
func (v *Value) base() int64 { return int64(v.meta) >> kindBits }

// tree returns v with its own members as such; those within may still be packed.
func (v *Value) tree() *Value {
	if !v.packed() {
		return v
	}
	c := v.walk()
	members := make([]Member, c.left)
	for i := range members {
		members[i].Key, members[i].Value = c.next()
	}
	return newValue(Object, 0, "", members)
}

// frozen is b as a string, without a copy: nobody changes b any more.
func frozen(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// cursor walks over the members of a packed Object, or over encoded values. What
// it walks over was encoded here or checked before.
type cursor struct {
	rest string
	left int // members
	at   int64
}

func (v *Value) walk() cursor {
	c := cursor{rest: v.text, at: v.base()}
	c.left = int(c.uvarint())
	return c
}

func (c *cursor) uvarint() uint64 {
	if b := c.rest[0]; b < 0x80 {
		c.rest = c.rest[1:]
		return uint64(b)
	}
	var n uint64
	for i := 0; ; i++ {
		b := c.rest[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return n
		}
	}
}

func (c *cursor) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (c *cursor) text() string {
	n := c.uvarint()
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

// kind takes the first byte of a value.
func (c *cursor) kind() Kind {
	k := Kind(c.rest[0])
	c.rest = c.rest[1:]
	return k
}

// flag takes what is left of a Bool.
func (c *cursor) flag() string {
	s := boolText(c.rest[0] == 1)
	c.rest = c.rest[1:]
	return s
}

// next returns a member and goes on to the one after it. An Object comes packed.
func (c *cursor) next() (key string, v *Value) {
	c.left--
	key = c.text()
	return key, c.value()
}

func (c *cursor) value() *Value {
	k := c.kind()
	if k == Object {
		members := c.rest
		c.skipMembers(Object)
		return newPacked(members[:len(members)-len(c.rest)], c.at)
	}
	stamp := c.at - c.varint()
	switch k {
	case Bool:
		return newValue(Bool, stamp, c.flag(), nil)
	case Array:
		elems := make([]Member, c.uvarint())
		for i := range elems {
			elems[i].Value = c.value()
		}
		return newValue(Array, stamp, "", elems)
	default:
		return newValue(k, stamp, c.text(), nil)
	}
}

// skip goes past a value.
func (c *cursor) skip() {
	k := c.kind()
	if k != Object {
		c.varint()
	}
	switch k {
	case Bool:
		c.rest = c.rest[1:]
	case Array, Object:
		c.skipMembers(k)
	default:
		c.text()
	}
}

func (c *cursor) skipMembers(k Kind) {
	for n := c.uvarint(); n > 0; n-- {
		if k == Object {
			c.text()
		}
		c.skip()
	}
}

// get returns the member of a packed Object.
func (v *Value) get(key string) *Value {
	for c := v.walk(); c.left > 0; c.left-- {
		switch k := c.text(); {
		case k == key:
			return c.value()
		case k > key:
			return nil
		}
		c.skip()
	}
	return nil
}

// copyValue appends a value to dst, its stamps counted back from at.
func (c *cursor) copyValue(dst []byte, at int64) []byte {
	if c.at == at {
		from := c.rest
		c.skip()
		return append(dst, from[:len(from)-len(c.rest)]...)
	}
	k := c.kind()
	dst = append(dst, byte(k))
	if k != Object {
		dst = binary.AppendVarint(dst, at-c.at+c.varint())
	}
	switch k {
	case Bool:
		dst = append(dst, c.rest[0])
		c.rest = c.rest[1:]
		return dst
	case Array, Object:
		return c.copyMembers(dst, k, at)
	default:
		return appendText(dst, c.text())
	}
}

func (c *cursor) copyMembers(dst []byte, k Kind, at int64) []byte {
	n := c.uvarint()
	dst = binary.AppendUvarint(dst, n)
	for ; n > 0; n-- {
		if k == Object {
			dst = appendText(dst, c.text())
		}
		dst = c.copyValue(dst, at)
	}
	return dst
}

// appendMembers appends those of a packed Object, with their count.
func (v *Value) appendMembers(dst []byte, at int64) []byte {
	if v.base() == at {
		return append(dst, v.text...)
	}
	c := cursor{rest: v.text, at: v.base()}
	return c.copyMembers(dst, Object, at)
}

// mergePacked is Merge for a packed base and a patch that is an Object. All
// stamps of the result are counted back from now.
func mergePacked(base, patch *Value, now int64) *Value {
	c := cursor{rest: base.text, at: base.base()}
	out, _ := c.merge(make([]byte, 0, len(base.text)+256), patch, now)
	return newPacked(frozen(out), now)
}

// merge appends the members of an Object changed by patch, with their count.
func (c *cursor) merge(dst []byte, patch *Value, now int64) ([]byte, int) {
	mark, n := len(dst), 0
	dst = append(dst, 0)
	left := c.uvarint()
	var key string
	more := func() bool {
		if left == 0 {
			return false
		}
		left--
		key = c.text()
		return true
	}
	there := more()
	for name, p := range patch.Members() {
		for there && key < name {
			dst = c.copyValue(appendText(dst, key), now)
			n++
			there = more()
		}
		start, kept := len(dst), false
		dst = appendText(dst, name)
		if there && key == name {
			dst, kept = c.mergeValue(dst, p, now)
			there = more()
		} else {
			dst, kept = appendAdopted(dst, p)
		}
		if kept {
			n++
		} else {
			dst = dst[:start]
		}
	}
	for ; there; there = more() {
		dst = c.copyValue(appendText(dst, key), now)
		n++
	}
	return putCount(dst, mark, n), n
}

func (c *cursor) mergeValue(dst []byte, patch *Value, now int64) (_ []byte, kept bool) {
	if patch.Kind() == Object && Kind(c.rest[0]) == Object {
		c.kind()
		dst, _ = c.merge(append(dst, byte(Object)), patch, now)
		return dst, true
	}
	c.skip()
	return appendAdopted(dst, patch)
}

// appendAdopted is adopt, encoded, with all stamps those that they are counted
// back from. A Null is not kept.
func appendAdopted(dst []byte, v *Value) (_ []byte, kept bool) {
	k := v.Kind()
	dst = append(dst, byte(k))
	if k != Object {
		dst = append(dst, 0)
	}
	switch k {
	case Null:
		return dst, false
	case Bool:
		return append(dst, byte(b2i(v.text == "true"))), true
	case Number, String:
		return appendText(dst, v.text), true
	}
	mark, n := len(dst), 0
	dst = append(dst, 0)
	for key, m := range v.Members() {
		start, kept := len(dst), false
		if k == Object {
			dst = appendText(dst, key)
		}
		if dst, kept = appendAdopted(dst, m); !kept {
			dst = dst[:start]
			continue
		}
		n++
	}
	return putCount(dst, mark, n), true
}

// putCount puts a count where there is one byte for it.
func putCount(dst []byte, mark, n int) []byte {
	if n < 0x80 {
		dst[mark] = byte(n)
		return dst
	}
	var count [binary.MaxVarintLen64]byte
	width := binary.PutUvarint(count[:], uint64(n))
	dst = append(dst, count[:width-1]...) // room
	copy(dst[mark+width:], dst[mark+1:len(dst)-width+1])
	copy(dst[mark:], count[:width])
	return dst
}

// jsonLenAtMost bounds JSONLen from above, for a packed Object without looking at
// it: no byte of a record stands for more than six of JSON (\u001f).
func (v *Value) jsonLenAtMost() int {
	if v.packed() {
		return 6*len(v.text) + 2
	}
	return v.JSONLen()
}

// Pack returns the stored form of d and the same document kept in it.
func (d *Document) Pack() (record []byte, packed *Document) {
	size := 64
	for _, v := range []*Value{d.Desired, d.Reported} {
		if v.packed() {
			size += len(v.text) + 16
		} else if v != nil {
			size += v.JSONLen() * 3 / 2
		}
	}
	record, desired, reported := d.appendRecord(make([]byte, 0, size))
	own := &packedDocument{Document: *d}
	text := strings.Clone(frozen(record)) // whoever has the record may change it
	if d.Desired != nil {
		own.Desired = own.desired.pack(text[desired+1:reported], d.Timestamp)
	}
	if d.Reported != nil {
		own.Reported = own.reported.pack(text[reported+1:len(text)-sumSize], d.Timestamp)
	}
	return record, &own.Document
}

// packedDocument is a document and its sections in one piece: hundreds of
// thousands are kept, and a garbage collection looks at each piece.
type packedDocument struct {
	Document
	desired, reported Value
}
