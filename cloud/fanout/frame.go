package fanout

import (
	"encoding/binary"
	"errors"
)

// The kinds of entries.
const (
	kindNotice    = 'n' // a committed change
	kindConnected = 'c' // a client has connected
	kindEnd       = 'e' // the sender ends; nothing comes after
	kindWord      = 't' // what became of a change, for traces
)

type entry struct {
	kind byte
	body []byte
}

// A frame is what goes over a channel at once: format (1 byte), who sends it (8
// bytes), its number among those that this sender sends over this channel
// (uvarint), and entries: kind (1 byte), length (uvarint), body.
const frameFormat = 1

type origin [8]byte

type frame struct {
	from    origin
	number  uint64
	entries []entry
}

var errFrame = errors.New("malformed frame")

func (f *frame) append(dst []byte) []byte {
	dst = append(dst, frameFormat)
	dst = append(dst, f.from[:]...)
	dst = binary.AppendUvarint(dst, f.number)
	for _, e := range f.entries {
		dst = binary.AppendUvarint(append(dst, e.kind), uint64(len(e.body)))
		dst = append(dst, e.body...)
	}
	return dst
}

func parseFrame(b []byte) (*frame, error) {
	f := &frame{}
	if len(b) < 1+len(f.from) || b[0] != frameFormat {
		return nil, errFrame
	}
	b = b[1+copy(f.from[:], b[1:]):]
	n, used := binary.Uvarint(b)
	if used <= 0 {
		return nil, errFrame
	}
	f.number, b = n, b[used:]
	for len(b) > 0 {
		size, used := binary.Uvarint(b[1:])
		if used <= 0 || size > uint64(len(b)-1-used) {
			return nil, errFrame
		}
		end := 1 + used + int(size)
		f.entries = append(f.entries, entry{b[0], b[1+used : end]})
		b = b[end:]
	}
	return f, nil
}
