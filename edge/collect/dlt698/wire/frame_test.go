package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestChecksum_Golden(t *testing.T) {
	if got := Checksum([]byte("123456789")); got != 0x906e { // the check value of CRC-16/X-25
		t.Errorf("%04X", got)
	}
}

func TestFrame_Decode(t *testing.T) {
	var f Frame
	if err := f.Decode(unhex(t, vectors["answer"])); err != nil {
		t.Fatal(err)
	}
	address, _ := ParseAddress("000000000010")
	if !f.FromServer || !f.ByClient || f.Fragmented || f.Scrambled || f.Function != UserData || f.Server != address || f.Client != 0x10 {
		t.Errorf("%+v", f)
	}
	if err := f.Decode(unhex(t, vectors["get"])); err != nil {
		t.Fatal(err)
	}
	if f.FromServer || f.Server.Type != Wildcard || !f.Server.Covers(address) {
		t.Errorf("%+v", f)
	}
}

// No frame with a bit turned is a frame.
func TestFrame_EveryBitCounts(t *testing.T) {
	good := unhex(t, vectors["answer"])
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if err := new(Frame).Decode(bad); err == nil {
				t.Errorf("bit %d of byte %d turned is not noticed", bit, i)
			}
		}
	}
}

func TestFrame_Refuses(t *testing.T) {
	good := unhex(t, vectors["answer"])
	changed := func(at int, b byte) []byte {
		p := bytes.Clone(good)
		p[at] = b
		return p
	}
	tests := []struct {
		name string
		p    []byte
		want error
	}{
		{"nothing", nil, ErrCut},
		{"two bytes", good[:2], ErrCut},
		{"start", changed(0, 0x67), ErrStart},
		{"length zero", changed(1, 0), ErrLength},
		{"length with reserved bit", changed(2, 0x80), ErrReserved},
		{"too many kilobytes", changed(2, 0x7f), ErrLength},
		{"address", changed(5, 0x11), ErrHCS},
		{"control", changed(3, 0x83), ErrHCS},
		{"data", changed(len(good)-6, 1), ErrFCS},
		{"end", changed(len(good)-1, 0x17), ErrEnd},
		{"cut in the header", good[:9], ErrCut},
		{"cut", good[:len(good)-1], ErrCut},
		{"one too many", append(bytes.Clone(good), 0), ErrTrailing},
		// Of a test script for concentrators: a frame of another protocol whose own checksum is wrong.
		{"of another protocol", unhex(t, "682F00430400000000CB888888999904020000000000F10100020010006801000000000068110433333433B3166116"), ErrHCS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := new(Frame).Decode(tt.p)
			var where *SyntaxError
			if !errors.Is(err, tt.want) || !errors.As(err, &where) || where.Field == "" {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if _, err := Explain(tt.p); !errors.Is(err, tt.want) {
				t.Errorf("explained with %v, want %v", err, tt.want)
			}
		})
	}
}

func anyFrame() *rapid.Generator[Frame] {
	return rapid.Custom(func(t *rapid.T) Frame {
		f := Frame{
			FromServer: rapid.Bool().Draw(t, "dir"), ByClient: rapid.Bool().Draw(t, "prm"), Fragmented: rapid.Bool().Draw(t, "fragment"),
			Scrambled: rapid.Bool().Draw(t, "scramble"), Function: Function(rapid.IntRange(0, 7).Draw(t, "function")),
			Client: rapid.Byte().Draw(t, "client"), Data: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
		}
		address := rapid.SliceOfN(rapid.Byte(), 1, MaxAddress).Draw(t, "address")
		f.Server = Address{Type: AddressType(rapid.IntRange(0, 3).Draw(t, "type")), Logical: byte(rapid.IntRange(0, 3).Draw(t, "logical")), Len: byte(copy(make([]byte, MaxAddress), address))}
		copy(f.Server.Bytes[:], address)
		return f
	})
}

func equal(a, b Frame) bool {
	data := bytes.Equal(a.Data, b.Data)
	a.Data, b.Data, a.clear, b.clear = nil, nil, nil, nil
	return data && a.FromServer == b.FromServer && a.ByClient == b.ByClient && a.Fragmented == b.Fragmented && a.Scrambled == b.Scrambled &&
		a.Kilobytes == b.Kilobytes && a.Function == b.Function && a.Server == b.Server && a.Client == b.Client
}

func TestFrame_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyFrame().Draw(t, "frame")
		p, err := in.Append([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		var out Frame
		if err := out.Decode(p[len("before"):]); err != nil || !equal(in, out) {
			t.Fatalf("%+v, %v\nwant %+v", out, err, in)
		}
	})
}

func TestFrame_Kilobytes(t *testing.T) {
	address, _ := ParseAddress("000000000010")
	f := Frame{Kilobytes: true, Function: UserData, Server: address, Data: make([]byte, 1024-15)}
	p, err := f.Append(nil)
	if err != nil || len(p) != 1026 || p[1] != 1 || p[2] != 0x40 {
		t.Fatalf("%d bytes, % X, %v", len(p), p[:min(3, len(p))], err)
	}
	var out Frame
	if err := out.Decode(p); err != nil || !equal(f, out) {
		t.Errorf("%+v, %v", out, err)
	}
	f.Data = f.Data[1:]
	if _, err := f.Append(nil); !errors.Is(err, ErrLength) {
		t.Errorf("%v", err)
	}
}

func TestFrame_AppendRefuses(t *testing.T) {
	address, _ := ParseAddress("000000000010")
	for name, f := range map[string]Frame{
		"no address": {}, "type": {Server: Address{Type: 4, Len: 1}}, "long": {Server: address, Data: make([]byte, MaxFrame)},
	} {
		if p, err := f.Append([]byte{7}); err == nil || !bytes.Equal(p, []byte{7}) {
			t.Errorf("%s: %X, %v", name, p, err)
		}
	}
}

func TestAddress(t *testing.T) {
	meter, _ := ParseAddress("000000000010")
	for s, want := range map[string]bool{
		"000000000010": true, "000000000011": false, "AAAAAAAAAAAA": true, "aaaaaaaaaa10": true, "AAAAAAAAAA11": false, "AA": false,
	} {
		a, err := ParseAddress(s)
		if err != nil || a.Covers(meter) != want {
			t.Errorf("%s: %v, %v", s, a.Covers(meter), err)
		}
	}
	for _, s := range []string{"", "1", "0x12", "12345g", "BB", "000000000000000000000000000000000000"} {
		if a, err := ParseAddress(s); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v, %v", s, a, err)
		}
	}
	all := Address{Type: Broadcast, Len: 1, Bytes: [MaxAddress]byte{0xaa}}
	if all.Covers(meter) || meter.Covers(all) || all.String() != "broadcast AA" {
		t.Errorf("%v", all)
	}
	second := meter
	second.Logical = 1
	if meter.Covers(second) || second.String() != "000000000010 logical 1" {
		t.Errorf("%v", second)
	}
}

// Whatever lies between frames, and however the bytes come in, every good frame
// is found, and nothing else.
func TestScanner_FindsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []Frame
		for range rapid.IntRange(1, 5).Draw(t, "frames") {
			f := anyFrame().Draw(t, "frame")
			p, err := f.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			switch rapid.SampledFrom([]string{"good", "preamble", "noise", "bad", "bad header"}).Draw(t, "kind") {
			case "preamble":
				stream = append(stream, 0xfe, 0xfe, 0xfe, 0xfe)
			case "noise": // that cannot be the beginning of a frame
				stream = append(stream, 0x00, 0x16, 0x68, 0x00, 0x80, 0x11)
			case "bad":
				p[len(p)-2] ^= 0x5a
				stream = append(stream, p...)
				continue
			case "bad header":
				p[4+int(f.Server.Len)] ^= 0x01
				stream = append(stream, p...)
				stream = append(stream, bytes.Repeat([]byte{0}, MaxFrame)...) // in which what looks like a frame may end
				continue
			}
			stream = append(stream, p...)
			want = append(want, f)
		}
		var s Scanner
		var got []Frame
		for piece := range slices.Chunk(stream, rapid.IntRange(1, 40).Draw(t, "piece")) {
			s.Write(piece)
			for {
				var f Frame
				ok, err := s.Next(&f)
				if ok {
					f.Data = bytes.Clone(f.Data)
					got = append(got, f)
				}
				if !ok && err == nil {
					break
				}
			}
			if s.Pending() > MaxFrame {
				t.Fatalf("%d bytes held", s.Pending())
			}
		}
		if !slices.EqualFunc(got, want, equal) {
			t.Fatalf("found %d frames, want %d", len(got), len(want))
		}
	})
}

// What follows a frame that was cut is found once as many bytes are there as
// the cut one had announced.
func TestScanner_CutFrame(t *testing.T) {
	good := unhex(t, vectors["answer"])
	var s Scanner
	s.Write(append(bytes.Clone(good[:len(good)-4]), good...))
	var f Frame
	found := 0
	for {
		ok, err := s.Next(&f)
		if ok {
			found++
		}
		if !ok && err == nil {
			break
		}
	}
	if found != 1 {
		t.Errorf("%d found", found)
	}
}

func TestJoiner(t *testing.T) {
	part := func(kind FragmentKind, index uint16, text string) Fragment {
		return Fragment{Kind: kind, Index: index, Part: []byte(text)}
	}
	tests := []struct {
		name  string
		parts []Fragment
		want  string
		err   error
	}{
		{"two", []Fragment{part(FirstFragment, 0, "ab"), part(LastFragment, 1, "c")}, "abc", nil},
		{"three", []Fragment{part(FirstFragment, 0, "ab"), part(MiddleFragment, 1, "c"), part(LastFragment, 2, "d")}, "abcd", nil},
		{"again", []Fragment{part(FirstFragment, 0, "ab"), part(MiddleFragment, 1, "c"), part(MiddleFragment, 1, "c"), part(LastFragment, 2, "d")}, "abcd", nil},
		{"anew", []Fragment{part(FirstFragment, 0, "xy"), part(FirstFragment, 0, "ab"), part(LastFragment, 1, "c")}, "abc", nil},
		{"gap", []Fragment{part(FirstFragment, 0, "ab"), part(LastFragment, 2, "c")}, "", ErrFragment},
		{"no first", []Fragment{part(LastFragment, 1, "c")}, "", ErrFragment},
		{"confirmation", []Fragment{part(FirstFragment, 0, "ab"), part(FragmentReceived, 0, "")}, "", ErrFragment},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var j Joiner
			var got []byte
			var err error
			for _, f := range tt.parts {
				var again Fragment // as it comes over the wire
				if err = again.Decode(f.Append(nil)); err != nil {
					t.Fatal(err)
				}
				if got, _, err = j.Add(again); err != nil {
					break
				}
			}
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestJoiner_Bounds(t *testing.T) {
	var j Joiner
	endless := func(size int) (n int, err error) {
		for kind := FirstFragment; err == nil; kind = MiddleFragment {
			_, _, err = j.Add(Fragment{Kind: kind, Index: uint16(n), Part: make([]byte, size)})
			n++
		}
		return n, err
	}
	if n, err := endless(1000); !errors.Is(err, ErrLength) || n*1000 > MaxAPDU+2000 {
		t.Errorf("%d fragments: %v", n, err)
	}
	if n, err := endless(1); !errors.Is(err, ErrTooMany) || n > MaxFragments+1 {
		t.Errorf("%d fragments: %v", n, err)
	}
}
