package shadow

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The record is how a document is stored: binary, so that it is small and
// keeps the stamps; versioned; and checked by CRC-32C (RFC 3720, B.4).
//
//	"GS" format(1)  flags(1)  uvarint version, desiredVersion, timestamp,
//	bootEpoch, seq  [desired]  [reported]  crc32c(4, little endian)
//
// A value is kind(1) and then, for leaves and arrays, varint(timestamp − stamp);
// for strings and numbers, uvarint length and text; for a Bool one byte; for
// containers, uvarint count and the members, each with its key in objects.
const (
	recordMagic  = "GS"
	recordFormat = 1

	flagDeleted  = 1 << 0
	flagDesired  = 1 << 1
	flagReported = 1 << 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendRecord appends the stored form of d to dst.
func (d *Document) AppendRecord(dst []byte) []byte {
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
	if d.Desired != nil {
		dst = appendValue(dst, d.Desired, d.Timestamp)
	}
	if d.Reported != nil {
		dst = appendValue(dst, d.Reported, d.Timestamp)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func appendValue(dst []byte, v *Value, at int64) []byte {
	k := v.Kind()
	dst = append(dst, byte(k))
	if k != Object {
		dst = binary.AppendVarint(dst, at-v.Stamp())
	}
	switch k {
	case Bool:
		return append(dst, byte(b2i(v.text == "true")))
	case Number, String:
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

// maxRecordDepth bounds the recursion over a record, far above any Limits.
const maxRecordDepth = 200

// ParseRecord reads what AppendRecord wrote. The error wraps ErrCorrupt.
func ParseRecord(record []byte) (*Document, error) {
	if len(record) < len(recordMagic)+2+4 || string(record[:2]) != recordMagic {
		return nil, fmt.Errorf("%w: not a record", ErrCorrupt)
	}
	if f := record[2]; f != recordFormat {
		return nil, fmt.Errorf("%w: format %d, this version reads %d", ErrCorrupt, f, recordFormat)
	}
	body, sum := record[:len(record)-4], record[len(record)-4:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	r := recordReader{rest: string(body[4:])}
	flags := body[3]
	d := &Document{Deleted: flags&flagDeleted != 0}
	d.Version, d.DesiredVersion, d.Timestamp = r.uvarint(), r.uvarint(), int64(r.uvarint())
	d.Origin = Origin{BootEpoch: r.uvarint(), Seq: r.uvarint()}
	if flags&flagDesired != 0 {
		d.Desired = r.value(d.Timestamp, 0)
	}
	if flags&flagReported != 0 {
		d.Reported = r.value(d.Timestamp, 0)
	}
	if r.bad || r.rest != "" {
		return nil, fmt.Errorf("%w: content", ErrCorrupt)
	}
	return d, nil
}

// recordReader takes a record apart from the front. Once bad it yields zeros.
type recordReader struct {
	rest string
	bad  bool
}

func (r *recordReader) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.bad, r.rest = true, ""
	return 0
}

func (r *recordReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *recordReader) take(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *recordReader) value(at int64, level int) *Value {
	head := r.take(1)
	if head == "" || Kind(head[0]) > Object || Kind(head[0]) == Null || level > maxRecordDepth {
		r.bad, r.rest = true, ""
		return nil
	}
	k, stamp := Kind(head[0]), int64(0)
	if k != Object {
		stamp = at - r.varint()
	}
	switch k {
	case Bool:
		return newValue(Bool, stamp, boolText(r.take(1) == "\x01"), nil)
	case Number, String:
		return newValue(k, stamp, r.take(r.uvarint()), nil)
	}
	n := r.uvarint()
	if n > uint64(len(r.rest)) { // every member takes a byte at least
		r.bad, r.rest = true, ""
		return nil
	}
	members := make([]Member, n)
	for i := range members {
		if k == Object {
			members[i].Key = r.take(r.uvarint())
		}
		members[i].Value = r.value(at, level+1)
	}
	return newValue(k, stamp, "", members)
}
