package readings

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A segment is a row of frames: two bytes of magic, the kind, the length of the
// payload, a checksum of kind, length and payload, and the payload. The first is a
// head. What follows a frame that doesn't check out is looked for by the magic.
const (
	frameHead  = 2 + 1 + 4 + 4
	formatHead = 1
)

var magic = []byte{'G', 'r'}

// kind is what a frame is.
type kind byte

const (
	kindHead    kind = 'S' // format, number of the segment, and the horizon (see Store.horizon)
	kindRows    kind = 'R' // its number among these of the segment, when it was put, and a batch for the cloud
	kindTried   kind = 'T' // when it was put, and a batch of what was asked for again in vain: the cloud knows that it is missing
	kindAcked   kind = 'A' // runs of frames that the cloud has
	kindRefused kind = 'X' // runs of frames that the cloud will never take
	kindDropped kind = 'D' // a policy, and times of its rows that were dropped while older ones are kept
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendFrame(dst []byte, k kind, payload []byte) []byte {
	head := len(dst)
	dst = append(append(dst, magic...), byte(k))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, checksum(dst[head+2:], payload))
	return append(dst, payload...)
}

func checksum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload)
}

// frame is one that checked out.
type frame struct {
	kind    kind
	payload []byte
	at      int // in the segment
}

// frameAt returns the frame at the beginning of b and what follows it.
func frameAt(b []byte) (f frame, rest []byte, ok bool) {
	if len(b) < frameHead || !bytes.HasPrefix(b, magic) {
		return f, nil, false
	}
	n := binary.LittleEndian.Uint32(b[3:])
	if uint64(n) > uint64(len(b)-frameHead) {
		return f, nil, false
	}
	payload := b[frameHead:][:n]
	if checksum(b[2:7], payload) != binary.LittleEndian.Uint32(b[7:]) {
		return f, nil, false
	}
	return frame{kind: kind(b[2]), payload: payload}, b[frameHead+int(n):], true
}

// framesOf returns what checks out of a segment. cut tells that its end doesn't,
// as after a power cut; damaged that something before a frame that does doesn't.
func framesOf(content []byte) (all []frame, cut, damaged bool) {
	for rest := content; len(rest) > 0; {
		f, after, ok := frameAt(rest)
		if ok {
			damaged = damaged || cut
			cut = false
			f.at = len(content) - len(rest)
			all = append(all, f)
			rest = after
			continue
		}
		cut = true
		next := bytes.Index(rest[1:], magic)
		if next < 0 {
			break
		}
		rest = rest[1+next:]
	}
	return all, cut, damaged
}

// rowsOf takes the payload of a frame of rows apart. A frame of kindTried has no
// number.
func (f *frame) rowsOf() (number int, put time.Time, batch []byte, ok bool) {
	rest := f.payload
	if f.kind == kindRows {
		u, n := binary.Uvarint(rest)
		if n <= 0 || u > segmentBytes {
			return 0, put, nil, false
		}
		number, rest = int(u), rest[n:]
	}
	ms, n := binary.Varint(rest)
	if n <= 0 {
		return 0, put, nil, false
	}
	return number, time.UnixMilli(ms).UTC(), rest[n:], true
}

// run is frames of rows that follow each other in a segment.
type run struct {
	segment uint64
	first   int
	count   int
}

func appendRuns(dst []byte, runs []run) []byte {
	for _, r := range runs {
		dst = binary.AppendUvarint(dst, r.segment)
		dst = binary.AppendUvarint(dst, uint64(r.first))
		dst = binary.AppendUvarint(dst, uint64(r.count))
	}
	return dst
}

func runsOf(payload []byte) (runs []run) {
	for len(payload) > 0 {
		var of [3]uint64
		for i := range of {
			u, n := binary.Uvarint(payload)
			if n <= 0 {
				return runs
			}
			of[i], payload = u, payload[n:]
		}
		if of[1] > segmentBytes || of[2] > segmentBytes {
			return runs
		}
		runs = append(runs, run{of[0], int(of[1]), int(of[2])})
	}
	return runs
}

func headFrame(number uint64, horizon int64) []byte {
	payload := binary.AppendUvarint(binary.AppendUvarint(nil, formatHead), number)
	return binary.AppendVarint(payload, horizon)
}

// headOf reads the payload of a head.
func headOf(payload []byte) (format, number uint64, horizon int64, ok bool) {
	format, n := binary.Uvarint(payload)
	if n <= 0 {
		return 0, 0, 0, false
	}
	number, m := binary.Uvarint(payload[n:])
	if m <= 0 {
		return 0, 0, 0, false
	}
	horizon, k := binary.Varint(payload[n+m:])
	return format, number, horizon, k > 0
}
