package dlt698

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The simulated meter has a codec of its own, written from the frames in
// collections of others and not from ours, and held to those frames by
// TestServer_Vectors: what both get wrong in the same way does not cancel out.

// sum is CRC-16/X-25, bit by bit.
func sum(p []byte) uint16 {
	c := uint16(0xffff)
	for _, b := range p {
		for i := range 8 {
			bit := (c ^ uint16(b>>i)) & 1
			c >>= 1
			if bit == 1 {
				c ^= 0x8408
			}
		}
	}
	return c ^ 0xffff
}

// packet builds a frame: control byte, address as on the meter, client, data.
func packet(control byte, address string, client byte, data []byte) []byte {
	a, err := hex.DecodeString(address)
	if err != nil {
		panic(err)
	}
	slices.Reverse(a)
	body := []byte{control, byte(len(a) - 1)}
	body = append(append(body, a...), client)
	length := 2 + len(body) + 2 + len(data) + 2
	body = append([]byte{byte(length), byte(length >> 8)}, body...)
	body = binary.LittleEndian.AppendUint16(body, sum(body))
	body = append(body, data...)
	body = binary.LittleEndian.AppendUint16(body, sum(body))
	return append(append([]byte{0x68}, body...), 0x16)
}

// question is a request as a meter sees it.
type question struct {
	control byte
	flag    byte // of the address
	address string
	client  byte
	data    []byte
}

var errBadFrame = errors.New("bad frame")

// hear reads the next frame.
func hear(r io.Reader) (q question, err error) {
	one := []byte{0}
	for one[0] != 0x68 {
		if _, err = io.ReadFull(r, one); err != nil {
			return q, err
		}
		if one[0] != 0x68 && one[0] != 0xfe {
			return q, errBadFrame
		}
	}
	head := make([]byte, 2)
	if _, err = io.ReadFull(r, head); err != nil {
		return q, err
	}
	rest := make([]byte, int(head[0])+int(head[1])<<8-1) // without the length, but with 16
	if _, err = io.ReadFull(r, rest); err != nil {
		return q, err
	}
	all := append(head, rest...)
	n := int(rest[1]&15) + 1
	header := 2 + 2 + n + 1
	if sum(all[:header]) != binary.LittleEndian.Uint16(all[header:]) || sum(all[:len(all)-3]) != binary.LittleEndian.Uint16(all[len(all)-3:]) || all[len(all)-1] != 0x16 {
		return q, errBadFrame
	}
	a := bytes.Clone(rest[2 : 2+n])
	slices.Reverse(a)
	return question{rest[0], rest[1], strings.ToUpper(hex.EncodeToString(a)), rest[2+n], all[header+2 : len(all)-3]}, nil
}

// worth is what an attribute of a meter is when it is asked for with the nth
// request: no two values that could be confused are the same. Tag 15H is long64-unsigned.
func worth(meter uint64, nth int, oad uint32) []byte {
	return binary.BigEndian.AppendUint64([]byte{0x15}, meter*1e15+uint64(nth)*1e10+uint64(oad))
}

// apart takes a value to pieces again.
func apart(v uint64) (meter uint64, nth int, oad uint32) {
	return v / 1e15, int(v / 1e10 % 1e5), uint32(v % 1e10)
}

// reply is something to say a while after the request.
type reply struct {
	after time.Duration
	frame []byte
}

// server is the meters on a line. fault, if set, decides what is said to the nth
// request, counted from 0, in place of the good answer.
type server struct {
	meters    map[string]uint64 // number of each, by address; nil = one of any address, number 1
	refuse    map[uint32]byte   // DAR by attribute or record
	constant  map[uint32][]byte // data by attribute
	listMax   int               // longer lists are an error; 0 = none
	poison    uint32            // lists with it are an error; 0 = none
	partSize  int               // results in one part of a list; 0 = all
	frameSize int               // bytes of an APDU in one frame; 0 = all
	acd       bool              // has something to report
	noRecords bool
	fault     func(n int, q question, good []byte) []reply

	mu        sync.Mutex
	asked     []question
	confirmed int      // fragments
	fragments [][]byte // not yet sent, of the answer at hand
	parts     [][]byte // results, of the list at hand
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func word(p []byte) uint32 { return binary.BigEndian.Uint32(p) }

// result is an attribute with its data, or why there is none.
func (s *server) result(meter uint64, nth int, oad uint32) []byte {
	out := binary.BigEndian.AppendUint32(nil, oad)
	if dar, refused := s.refuse[oad]; refused {
		return append(out, 0, dar)
	}
	return append(append(out, 1), s.value(meter, nth, oad)...)
}

func (s *server) value(meter uint64, nth int, oad uint32) []byte {
	if v, ok := s.constant[oad]; ok {
		return v
	}
	return worth(meter, nth, oad)
}

// answer returns the APDU of an answer.
func (s *server) answer(q question, meter uint64, nth int) []byte {
	p := q.data
	piid := p[2]
	if s.acd {
		piid |= 0x40
	}
	out := []byte{0x85, p[1], piid}
	failed := []byte{0xee, piid, 2, 0, 0}
	switch p[1] {
	case 1:
		if o := word(p[3:]); o == s.poison && o != 0 {
			return failed
		}
		out = append(out, s.result(meter, nth, word(p[3:]))...)
	case 2:
		var results [][]byte
		for i := range int(p[3]) {
			oad := word(p[4+4*i:])
			results = append(results, s.result(meter, nth, oad))
			if oad == s.poison && oad != 0 {
				return failed
			}
		}
		if s.listMax > 0 && len(results) > s.listMax {
			return failed
		}
		if s.partSize > 0 && len(results) > s.partSize {
			s.parts = nil
			for c := range slices.Chunk(results, s.partSize) {
				s.parts = append(s.parts, append([]byte{byte(len(c))}, slices.Concat(c...)...))
			}
			return s.part(piid, 1)
		}
		out = append(append(out, byte(len(results))), slices.Concat(results...)...)
	case 3:
		out = append(out, p[3:7]...)
		columns := p[9 : len(p)-1] // behind the selection of the nth last, before the time tag
		out = append(out, columns...)
		switch dar, refused := s.refuse[word(p[3:])]; {
		case refused:
			out = append(out, 0, dar)
		case s.noRecords:
			out = append(out, 1, 0)
		default:
			out = append(out, 1, 1)
			for c := columns[1:]; len(c) > 0; c = c[5:] {
				out = append(out, s.value(meter, nth, word(c[1:]))...)
			}
		}
	case 5:
		return s.part(piid, int(p[3])<<8+int(p[4])+1)
	}
	return append(out, 0, 0)
}

// part is one part of the list at hand, counted from 1.
func (s *server) part(piid byte, n int) []byte {
	out := []byte{0x85, 5, piid, 0, byte(n >> 8), byte(n)}
	if n > len(s.parts) {
		return append(out, 0, 11, 0, 0)
	}
	if n == len(s.parts) {
		out[3] = 1
	}
	return append(append(append(out, 1), s.parts[n-1]...), 0, 0)
}

// reply returns the frame of the answer, or of its first fragment.
func (s *server) reply(q question, address string, apdu []byte) []byte {
	if s.frameSize == 0 || len(apdu) <= s.frameSize {
		return packet(0xc3, address, q.client, apdu)
	}
	s.fragments = nil
	i := uint16(0)
	for c := range slices.Chunk(apdu, s.frameSize) {
		kind := uint16(3)
		if i == 0 {
			kind = 0
		} else if (int(i)+1)*s.frameSize >= len(apdu) {
			kind = 1
		}
		s.fragments = append(s.fragments, packet(0xe3, address, q.client, append(binary.LittleEndian.AppendUint16(nil, kind<<14|i), c...)))
		i++
	}
	return s.fragments[0]
}

// good returns the good answer to a request; nil if none of the meters is meant.
func (s *server) good(q question, nth int) []byte {
	address, meter := q.address, uint64(1)
	if s.meters != nil {
		var known bool
		if meter, known = s.meters[q.address]; !known && q.flag>>6 == 0 {
			return nil
		}
	}
	if q.flag>>6 == 1 {
		for a, n := range s.meters {
			address, meter = a, n
		}
	}
	return s.reply(q, address, s.answer(q, meter, nth))
}

// serve answers in order, each reply at its time, until the medium is cut.
func (s *server) serve(rw io.ReadWriter) {
	type due struct {
		at    time.Time
		frame []byte
	}
	queue := make(chan due, 1000)
	var writer sync.WaitGroup
	writer.Go(func() {
		for d := range queue {
			time.Sleep(time.Until(d.at))
			if _, err := rw.Write(d.frame); err != nil {
				continue // cut; the reader notices as well
			}
		}
	})
	defer writer.Wait()
	defer close(queue)
	for {
		q, err := hear(rw)
		if errors.Is(err, errBadFrame) {
			continue
		}
		if err != nil {
			return
		}
		now := time.Now()
		for _, r := range s.say(q) {
			if r.frame != nil {
				queue <- due{now.Add(r.after), r.frame}
			}
		}
	}
}

func (s *server) say(q question) []reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.control&0x20 != 0 { // a fragment was received
		s.confirmed++
		at := int(binary.LittleEndian.Uint16(q.data)&0xfff) + 1
		if binary.LittleEndian.Uint16(q.data)>>14 != 2 || at >= len(s.fragments) {
			return nil
		}
		return []reply{{0, s.fragments[at]}}
	}
	n := len(s.asked)
	s.asked = append(s.asked, q)
	good := s.good(q, n)
	if s.fault != nil {
		return s.fault(n, q, good)
	}
	return []reply{{0, good}}
}

// The frames are those of others, byte for byte: C1 is answered with C2, and what
// was captured is read as it was meant.
func TestServer_Vectors(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ask := unhex("6817004345AAAAAAAAAAAA10DA5F0501014001020000C60716")
	want := unhex("682100C30510000000000010557E850141400102000109060000000000100000DDBA16")
	s := &server{meters: map[string]uint64{"000000000010": 1}, acd: true, constant: map[uint32][]byte{0x40010200: unhex("0906000000000010")}}
	q, err := hear(bytes.NewReader(append([]byte{0xfe, 0xfe}, ask...)))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.good(q, 0); !bytes.Equal(got, want) {
		t.Errorf("answers %X\nwant    %X", got, want)
	}
	// A list, and a record as a meter on a power line has sent it, inside its wrapper.
	list, err := hear(bytes.NewReader(unhex("68180043050433000000001064D1050200010010020000910416")))
	if err != nil || list.address != "000000003304" || word(list.data[4:]) != 0x00100200 || list.data[3] != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	captured, err := hear(bytes.NewReader(unhex("686B00C305163568000070101524900052850327500202000700002002010000300201000040020100005002010000600201000070020100008002010101060000000005000381C80500000000060002897D06000000000600000000060000F84B0000010004992F4B7C3C8616")))
	if err != nil {
		t.Fatal(err)
	}
	asked := question{client: 0x10, address: "700000683516", data: unhex("0503275002020009010700002002010000300201000040020100005002010000600201000070020100008002010" + "0")}
	s = &server{constant: map[uint32][]byte{
		0x00200201: unhex("0600000000"), 0x00300201: unhex("05000381C8"), 0x00400201: unhex("0500000000"), 0x00500201: unhex("060002897D"),
		0x00600201: unhex("0600000000"), 0x00700201: unhex("0600000000"), 0x00800201: unhex("060000F84B"),
	}}
	if got := s.answer(asked, 1, 0); !bytes.Equal(got, captured.data[3:3+0x52]) {
		t.Errorf("answers %X\nwant    %X", got, captured.data[3:3+0x52])
	}
}
