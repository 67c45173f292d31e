package mqtt

import (
	"errors"
	"fmt"
	"io"
)

const (
	firstBuffer = 512  // a node's usual messages fit
	keepBuffer  = 4096 // a buffer that grew beyond it is dropped once empty
)

// reader cuts packets out of a byte stream through one buffer, which starts
// small, grows to the largest packet seen up to limit and shrinks again. A read
// that ended in a timeout loses nothing: the next call goes on where it was.
type reader struct {
	src     io.Reader
	buf     []byte // buf[start:end] is unread
	start   int
	end     int
	limit   int
	traffic *Traffic
}

// next returns the next packet, aliasing the buffer until the following call.
func (r *reader) next() (Packet, error) {
	r.compact()
	for {
		head, size, err := r.frame()
		if err != nil {
			return Packet{}, err
		}
		if total := head + size; head > 0 && r.end-r.start >= total {
			frame := r.buf[r.start : r.start+total]
			r.start += total
			r.traffic.PacketsDown.Add(1)
			r.traffic.BytesDown.Add(int64(total))
			return Parse(frame[0], frame[head:])
		}
		if err := r.fill(head + size); err != nil {
			return Packet{}, err
		}
	}
}

// frame looks at the fixed header of the packet at start: its length and the
// length of the body; 0, 0 while the header is incomplete.
func (r *reader) frame() (head, size int, err error) {
	unread := r.buf[r.start:r.end]
	if len(unread) < 2 {
		return 0, 0, nil
	}
	length, n := uvarint(unread[1:])
	switch {
	case n < 0:
		return 0, 0, fmt.Errorf("%w: remaining length of more than four bytes", ErrMalformed)
	case n == 0:
		return 0, 0, nil
	case 1+n+int(length) > r.limit:
		return 0, 0, fmt.Errorf("%w: received one of %d bytes, the limit is %d", ErrTooLarge, 1+n+int(length), r.limit)
	}
	return 1 + n, int(length), nil
}

// compact makes room before a new packet, when no packet handed out is in use.
func (r *reader) compact() {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if cap(r.buf) > keepBuffer {
			r.buf = nil
		}
		return
	}
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
}

// fill reads once, after growing the buffer to hold want bytes.
func (r *reader) fill(want int) error {
	if want = max(want, firstBuffer); want > len(r.buf) {
		grown := make([]byte, max(want, min(2*len(r.buf), r.limit)))
		r.end = copy(grown, r.buf[r.start:r.end])
		r.buf, r.start = grown, 0
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && r.end > r.start {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
