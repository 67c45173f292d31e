package broker

import "bytes"

// stream follows the packet boundaries of what a client sends. It refuses a
// packet that is too large before anything is allocated for it, hands shadow
// requests to whoever takes them, and everything else on to mochi, byte by byte
// as it came. Nothing overtakes: a request is looked at only when mochi asks for
// more, which it does when it has dealt with all that came before.
type stream struct {
	maxConnect, maxPacket int

	buf     []byte // read; what lies between r and w has not been handed on
	r, w    int
	await   int  // bytes that a request at r has in all, if the rest is still to come
	passing int  // bytes from r on of the packet that mochi is getting
	started bool // the CONNECT's header has been seen
}

// frame is a packet's fixed header (MQTT 5.0, 2.1).
type frame struct {
	kind, flags byte
	head, body  int // bytes
}

func (f frame) size() int { return f.head + f.body }

const (
	packetConnect = 1
	packetPublish = 3
	usualBuffer   = 2048 // bytes
)

// next hands on to p what mochi shall see of what is there, having had take look
// at each request that comes before. It returns 0 when more has to be read, and
// says why when a packet is refused.
func (s *stream) next(p []byte, take func(f frame, packet []byte) bool) (n int, refused string) {
	for s.r < s.w {
		if s.passing == 0 {
			f, known, refused := s.header()
			if !known || refused != "" {
				return 0, refused
			}
			s.started = true
			if take != nil && f.kind == packetPublish {
				mine, decided := s.request(f)
				if !decided {
					return 0, ""
				}
				if mine && take(f, s.buf[s.r:s.r+f.size()]) {
					s.r += f.size()
					continue
				}
			}
			s.passing = f.size()
		}
		n = copy(p, s.buf[s.r:min(s.w, s.r+s.passing)])
		s.r += n
		s.passing -= n
		return n, ""
	}
	return 0, ""
}

// header reads the fixed header at r, if it is there in full.
func (s *stream) header() (f frame, known bool, refused string) {
	b := s.buf[s.r:s.w]
	f.kind, f.flags = b[0]>>4, b[0]&0x0f
	if first := !s.started; first != (f.kind == packetConnect) {
		return f, false, "order" // CONNECT first, and only then
	}
	limit := s.maxPacket
	if f.kind == packetConnect {
		limit = s.maxConnect
	}
	for i, c := range b[1:] {
		f.body |= int(c&0x7f) << (7 * i)
		switch {
		case f.body > limit:
			return f, false, "size"
		case c < 0x80:
			f.head = i + 2
			return f, true, ""
		case i == 3:
			return f, false, "length"
		}
	}
	return f, false, ""
}

var requestPrefixes = [...][]byte{[]byte("$aws/things/"), []byte("things/")}

// request tells whether a PUBLISH at r may be a shadow request; as soon as that
// can be told, and when it may be, as soon as all of it is there.
func (s *stream) request(f frame) (mine, decided bool) {
	s.await = 0
	there := s.buf[s.r+f.head : min(s.w, s.r+f.size())]
	for _, prefix := range requestPrefixes {
		have := there[min(2, len(there)):]
		n := min(len(have), len(prefix))
		if !bytes.Equal(have[:n], prefix[:n]) || f.body < 2+len(prefix) {
			continue
		}
		if len(there) < f.body {
			s.await = f.size()
			return true, false
		}
		return true, true
	}
	return false, true
}

// space returns where to read to.
func (s *stream) space() []byte {
	if s.r == s.w {
		s.r, s.w = 0, 0
		if len(s.buf) != usualBuffer {
			s.buf = make([]byte, usualBuffer)
		}
	}
	if s.w == len(s.buf) || s.r+s.await > len(s.buf) {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if s.w == len(s.buf) { // a request that is larger: no faster than it comes
		larger := make([]byte, min(2*len(s.buf), max(s.await, len(s.buf)+1)))
		copy(larger, s.buf)
		s.buf = larger
	}
	return s.buf[s.w:]
}
