package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"gnomon/shadow/wire"
)

// reading is a stream that is fed in pieces, and what became of them.
type reading struct {
	stream
	passed  []byte
	taken   [][]byte
	refused string
}

// feed has the stream read pieces of a size and hand on to a buffer of another.
func (r *reading) feed(from []byte, piece, buffer int) {
	p := make([]byte, buffer)
	take := func(f frame, packet []byte) bool {
		got, ok := parsePublish(f, packet, 4)
		if _, request := wire.ParseTopic(string(got.topic)); !ok || !request {
			return false
		}
		r.taken = append(r.taken, bytes.Clone(packet))
		return true
	}
	for {
		n, refused := r.next(p, take)
		r.passed = append(r.passed, p[:n]...)
		if r.refused = refused; refused != "" {
			return
		}
		if n > 0 {
			continue
		}
		if len(from) == 0 {
			return
		}
		space := r.space()
		n = copy(space[:min(len(space), piece)], from)
		r.w += n
		from = from[n:]
	}
}

func newReading() *reading { return &reading{stream: stream{maxConnect: 100, maxPacket: 10_000}} }

// Requests are taken out of the stream, whole, wherever it is cut; everything
// else is handed on as it came.
func TestStream(t *testing.T) {
	small := publishPacket(4, "$aws/things/t/shadow/update", 7, `{"state":{}}`)
	large := publishPacket(4, "things/t/shadow/update", 8, strings.Repeat("x", 5000))
	other := publishPacket(4, "things/t/else", 9, strings.Repeat("y", 3000))
	ping := []byte{0xc0, 0}
	pieces := [][]byte{connectPacket(4, "a"), small, ping, other, large, small, small, ping}
	stream := bytes.Join(pieces, nil)
	passed := bytes.Join([][]byte{pieces[0], ping, other, ping}, nil)
	for _, piece := range []int{1, 2, 3, 5, 100, 2048, 1 << 20} {
		for _, buffer := range []int{1, 16, 256, 4096} {
			r := newReading()
			r.feed(stream, piece, buffer)
			if !bytes.Equal(r.passed, passed) || r.refused != "" {
				t.Errorf("in pieces of %d: %d bytes handed on, refused %q; want %d", piece, len(r.passed), r.refused, len(passed))
			}
			if got, want := fmt.Sprintf("%q", r.taken), fmt.Sprintf("%q", [][]byte{small, large, small, small}); got != want {
				t.Errorf("in pieces of %d: took %.200s", piece, got)
			}
		}
	}
}

func TestStreamRefuses(t *testing.T) {
	connect := connectPacket(4, "a")
	for want, stream := range map[string][]byte{
		"order":  {0xc0, 0},
		"size":   append(connect[:len(connect):len(connect)], 0x32, 0xff, 0x7f),
		"length": append(connect[:len(connect):len(connect)], 0xc0, 0x80, 0x80, 0x80, 0x80, 0),
	} {
		for _, piece := range []int{1, 1000} {
			r := newReading()
			if r.feed(stream, piece, 256); r.refused != want {
				t.Errorf("% x in pieces of %d: refused %q, want %q", stream, piece, r.refused, want)
			}
		}
	}
}

func TestParsePublish(t *testing.T) {
	read := func(version byte, packet []byte) (publish, bool) {
		s := stream{maxPacket: 1 << 20, started: true, buf: packet, w: len(packet)}
		f, known, refused := s.header()
		if !known || refused != "" || f.size() != len(packet) {
			t.Fatalf("% x: %+v, %q", packet, f, refused)
		}
		return parsePublish(f, packet, version)
	}
	v5 := func(properties string) []byte {
		body := "\x00\x01t" + "\x00\x05" + string(rune(len(properties))) + properties + "body"
		return append([]byte{0x32, byte(len(body))}, body...)
	}
	for name, packet := range map[string][]byte{
		"none":   v5(""),
		"format": v5("\x01\x01"),
		"expiry": v5("\x02\x00\x00\x00\x09"),
		"user":   v5("\x26\x00\x01k\x00\x01v\x26\x00\x00\x00\x00"),
	} {
		if p, ok := read(5, packet); !ok || p.id != 5 || string(p.body) != "body" || string(p.topic) != "t" || p.qos != 1 {
			t.Errorf("%s: %+v, %t", name, p, ok)
		}
	}
	for name, packet := range map[string][]byte{
		"alias":         v5("\x23\x00\x01"),
		"response":      v5("\x08\x00\x01r"),
		"cut property":  v5("\x02\x00"),
		"cut string":    v5("\x26\x00\x09k"),
		"bad UTF-8":     v5("\x26\x00\x01\xff\x00\x01v"),
		"format 2":      v5("\x01\x02"),
		"no properties": {0x32, 5, 0, 1, 't', 0, 5},
		"too long":      {0x32, 6, 0, 1, 't', 0, 5, 9},
		"level 2":       {0x34, 5, 0, 1, 't', 0, 5},
		"level 3":       {0x36, 5, 0, 1, 't', 0, 5},
		"duplicate 0":   {0x38, 3, 0, 1, 't'},
		"id 0":          {0x32, 6, 0, 1, 't', 0, 0, 0},
		"no id":         {0x32, 3, 0, 1, 't'},
		"no topic":      {0x32, 1, 0},
	} {
		if p, ok := read(5, packet); ok {
			t.Errorf("%s: taken as %+v", name, p)
		}
	}
	if p, ok := read(4, []byte{0x30, 4, 0, 1, 't', 'b'}); !ok || p.qos != 0 || string(p.body) != "b" {
		t.Errorf("level 0: %+v, %t", p, ok)
	}
}

func FuzzStream(f *testing.F) {
	f.Add(connectPacket(5, "a"), 3)
	f.Add([]byte{0x10, 0xff, 0xff, 0xff, 0xff, 0x7f}, 1)
	f.Add(append(connectPacket(4, "a"), publishPacket(4, "things/t/shadow/get", 1, "")...), 4)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		whole, parts := newReading(), newReading()
		whole.feed(data, len(data)+1, 1<<16)
		parts.feed(data, max(1, piece), 16)
		if !bytes.Equal(whole.passed, parts.passed) || fmt.Sprint(whole.taken) != fmt.Sprint(parts.taken) || whole.refused != parts.refused {
			t.Errorf("in pieces of %d: %d bytes, %d taken, %q; whole: %d, %d, %q", piece,
				len(parts.passed), len(parts.taken), parts.refused, len(whole.passed), len(whole.taken), whole.refused)
		}
		if len(parts.buf) > 2*parts.maxPacket {
			t.Errorf("a buffer of %d bytes", len(parts.buf))
		}
	})
}
