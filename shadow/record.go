package shadow

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unicode/utf8"
)

// The record is how a document is stored: binary, so that it is small and
// keeps the stamps; versioned; and checked by CRC-32C (RFC 3720, B.4).
//
//	"GS" format(1)  flags(1)  uvarint version, desiredVersion, timestamp,
//	bootEpoch, seq  [desired]  [reported]  crc32c(4, little endian)
//
// A value is kind(1) and then, for leaves and arrays, varint(timestamp − stamp);
// for strings and numbers, uvarint length and text; for a Bool one byte, 0 or 1;
// for containers, uvarint count and the members, each with its key in objects.
// Keys ascend.
const (
	recordMagic  = "GS"
	recordFormat = 1

	flagDeleted  = 1 << 0
	flagDesired  = 1 << 1
	flagReported = 1 << 2
	flagsAll     = flagDeleted | flagDesired | flagReported
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendRecord appends the stored form of d to dst.
func (d *Document) AppendRecord(dst []byte) []byte {
	dst, _, _ = d.appendRecord(dst)
	return dst
}

const sumSize = 4

// appendRecord also tells where the sections begin, counted from the beginning of
// the record.
func (d *Document) appendRecord(dst []byte) (_ []byte, desired, reported int) {
	start := len(dst)
	var flags byte
	if d.Deleted {
		flags |= flagDeleted
	}
	if d.Desired != nil {
		flags |= flagDesired
	}
	if d.Reported != nil {
		flags |= flagReported
	}
	dst = append(dst, recordMagic...)
	dst = append(dst, recordFormat, flags)
	for _, n := range []uint64{d.Version, d.DesiredVersion, uint64(d.Timestamp), d.Origin.BootEpoch, d.Origin.Seq} {
		dst = binary.AppendUvarint(dst, n)
	}
	desired = len(dst) - start
	if d.Desired != nil {
		dst = appendValue(dst, d.Desired, d.Timestamp)
	}
	reported = len(dst) - start
	if d.Reported != nil {
		dst = appendValue(dst, d.Reported, d.Timestamp)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli)), desired, reported
}

func appendValue(dst []byte, v *Value, at int64) []byte {
	k := v.Kind()
	dst = append(dst, byte(k))
	if k != Object {
		dst = binary.AppendVarint(dst, at-v.Stamp())
	}
	switch {
	case v.packed():
		return v.appendMembers(dst, at)
	case k == Bool:
		return append(dst, byte(b2i(v.text == "true")))
	case k == Number, k == String:
		return appendText(dst, v.text)
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.members)))
	for _, m := range v.members {
		if k == Object {
			dst = appendText(dst, m.Key)
		}
		dst = appendValue(dst, m.Value, at)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// ParseRecord reads what AppendRecord wrote, and checks that it keeps the
// promises of this package even when the checksum does. The error wraps
// ErrCorrupt. The result shares one copy of record.
func ParseRecord(record []byte) (*Document, error) {
	if len(record) < len(recordMagic)+2+sumSize || string(record[:2]) != recordMagic {
		return nil, fmt.Errorf("%w: not a record", ErrCorrupt)
	}
	if f := record[2]; f != recordFormat {
		return nil, fmt.Errorf("%w: format %d, this version reads %d", ErrCorrupt, f, recordFormat)
	}
	body, sum := record[:len(record)-sumSize], record[len(record)-sumSize:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	r := recordReader{rest: string(body[4:])}
	flags := body[3]
	d := &packedDocument{Document: Document{Deleted: flags&flagDeleted != 0}}
	d.Version, d.DesiredVersion, d.Timestamp = r.uvarint(), r.uvarint(), int64(r.uvarint())
	d.Origin = Origin{BootEpoch: r.uvarint(), Seq: r.uvarint()}
	if flags&flagDesired != 0 {
		d.Desired = r.section(&d.Document, &d.desired)
	}
	if flags&flagReported != 0 {
		d.Reported = r.section(&d.Document, &d.reported)
	}
	if r.bad || r.rest != "" || flags&^flagsAll != 0 {
		return nil, fmt.Errorf("%w: content", ErrCorrupt)
	}
	return &d.Document, nil
}

// recordReader checks a record from the front. Once bad it yields zeros.
type recordReader struct {
	rest string
	bad  bool
}

func (r *recordReader) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 && (i < 9 || c <= 1) {
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.spoil()
	return 0
}

func (r *recordReader) spoil() { r.bad, r.rest = true, "" }

func (r *recordReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *recordReader) take(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.spoil()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// text reads a string or key.
func (r *recordReader) text() string {
	s := r.take(r.uvarint())
	if !utf8.ValidString(s) {
		r.spoil()
	}
	return s
}

// section reads desired or reported, which stays packed, into v.
func (r *recordReader) section(d *Document, v *Value) *Value {
	if head := r.take(1); d.Deleted || head == "" || Kind(head[0]) != Object {
		r.spoil()
		return nil
	}
	members := r.rest
	r.members(Object, d.Timestamp, 1)
	v.pack(members[:len(members)-len(r.rest)], d.Timestamp)
	if v.base() != d.Timestamp {
		r.spoil()
	}
	return v
}

func (r *recordReader) value(at int64, level int) {
	head := r.take(1)
	if head == "" || level > MaxDepth {
		r.spoil()
		return
	}
	k := Kind(head[0])
	if k != Object {
		if stamp := at - r.varint(); stamp<<kindBits>>kindBits != stamp {
			r.spoil()
		}
	}
	switch k {
	case Bool:
		if b := r.take(1); b != "\x00" && b != "\x01" {
			r.spoil()
		}
	case Number:
		if !validNumber(r.text()) {
			r.spoil()
		}
	case String:
		r.text()
	case Array, Object:
		r.members(k, at, level+1)
	default: // a Null is never stored
		r.spoil()
	}
}

func (r *recordReader) members(k Kind, at int64, level int) {
	last := ""
	for i, n := uint64(0), r.uvarint(); i < n && !r.bad; i++ {
		if k == Object {
			key := r.text()
			if i > 0 && last >= key {
				r.spoil()
			}
			last = key
		}
		r.value(at, level)
	}
}
