package wire

import "bytes"

// Scanner finds frames in a stream of bytes, between noise and the remains of
// others. It holds MaxFrame bytes, and what came with the last Write.
type Scanner struct {
	buf []byte
	at  int // what is before it has been dealt with
}

// Write adds what came in. p is copied. Frames that Next has returned are no
// longer valid.
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

// Skip says that nothing more will come of the frame that waits: the line has
// been silent too long. What has arrived of it may still hold others.
func (s *Scanner) Skip() {
	if s.Pending() > 0 {
		s.at++
	}
}

// Next decodes the next frame into f. Without one it returns false. An error is
// about something that began like a frame and is none: it has been passed over,
// and more may follow. What only looks like a beginning is waited for; Skip ends
// that.
func (s *Scanner) Next(f *Frame) (bool, error) {
	skip := bytes.IndexByte(s.buf[s.at:], start)
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
	if len(p) < size {
		return false, nil
	}
	if err := f.Decode(p[:size]); err != nil {
		s.at++ // its length may be wrong, too
		return false, err
	}
	s.at += size
	return true, nil
}
