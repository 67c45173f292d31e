package wire

import (
	"bytes"
)

// Scanner finds frames in a stream of bytes, between preambles, noise and the
// remains of other frames. It holds MaxFrame bytes at most.
type Scanner struct {
	buf []byte
	at  int // what is before it has been dealt with
}

// Write adds what came in. p is copied.
func (s *Scanner) Write(p []byte) {
	if s.at > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.at:])]
		s.at = 0
	}
	s.buf = append(s.buf, p...)
}

// Reset forgets everything.
func (s *Scanner) Reset() { s.buf, s.at = s.buf[:0], 0 }

// Pending returns how many bytes wait that may be the beginning of a frame.
func (s *Scanner) Pending() int { return len(s.buf) - s.at }

// Next decodes the next frame into f, whose Data stays valid until the next
// Write. Without one it returns false. An error is about something that began
// like a frame and is none: it has been passed over, and more may follow.
func (s *Scanner) Next(f *Frame) (bool, error) {
	skip := bytes.IndexByte(s.buf[s.at:], 0x68)
	if skip < 0 {
		s.at = len(s.buf)
		return false, nil
	}
	s.at += skip
	p := s.buf[s.at:]
	if len(p) < 3 {
		return false, nil
	}
	size, err := Size(p)
	if err != nil {
		s.at++
		return false, err
	}
	if len(p) >= 5 && len(p) >= 8+int(p[4]&15)+1 {
		if _, err := f.decodeHead(p); err != nil {
			s.at++
			return false, err
		}
	}
	if len(p) < size {
		return false, nil
	}
	err = f.Decode(p[:size])
	switch {
	case err == nil:
		s.at += size
		return true, nil
	case p[size-1] == 0x16:
		s.at += size // its header was good, so its length is: nothing within it is a frame
	default:
		s.at++ // cut, and something else came after it
	}
	return false, err
}
