package dlt698

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
)

// A record that was captured on a power line is taken for what it is.
func TestReader_CapturedRecord(t *testing.T) {
	apdu, err := hex.DecodeString("850327500202000700002002010000300201000040020100005002010000600201000070020100008002010101060000000005000381C80500000000060002897D06000000000600000000060000F84B0000")
	if err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	if err := m.Decode(apdu); err != nil {
		t.Fatal(err)
	}
	r := &reader{got: make(map[slot]found), batch: batch{batchKey{0x50020200, 1}, []wire.ObjectAttribute{
		0x00200201, 0x00300201, 0x00400201, 0x00500201, 0x00600201, 0x00700201, 0x00800201,
	}}}
	if more, err := r.take(&m); more || err != nil {
		t.Fatal(more, err)
	}
	for oad, want := range map[wire.ObjectAttribute]string{0x00200201: "0", 0x00300201: "2298.32", 0x00500201: "1662.69", 0x00800201: "635.63"} {
		if v, err := r.got[slot{r.batch.batchKey, oad}].value.scaled(0.01); err != nil || v.Text() != want {
			t.Errorf("%s is %v, %v, want %s", oad, v, err, want)
		}
	}
	r = &reader{got: make(map[slot]found), batch: batch{batchKey{0x50020200, 1}, []wire.ObjectAttribute{0x00200201}}}
	if _, err := r.take(&m); !errors.Is(err, errNotOurs) || len(r.got) > 0 {
		t.Errorf("the answer to a request for other columns is taken: %v", err)
	}
}

func TestDatum_Scaled(t *testing.T) {
	tests := []struct {
		data  string
		scale float64
		want  string // "" = not a number, "none" = no value
	}{
		{"00", 1, "none"}, {"0301", 1, "true"}, {"0300", 1, "false"},
		{"05FFFFFC18", 0.1, "-100"}, {"05FFFFFC18", 1, "-1000"}, {"06FFFFFFFF", 1, "4294967295"}, {"06FFFFFFFF", 0.01, "4.294967295e+07"},
		{"0FFF", 1, "-1"}, {"10FC18", 0.001, "-1"}, {"11FF", 1, "255"}, {"1208FC", 0.1, "230"}, {"1603", 1, "3"},
		{"148000000000000000", 1, "-9223372036854775808"}, {"15FFFFFFFFFFFFFFFF", 1, "18446744073709551615"},
		{"15000000E8D4A51001", 0.0001, "1.000000000001e+08"},
		{"17436619 9A", 1, "230.1"}, {"18406D400000000000", 1, "234"}, {"177FC00000", 1, ""}, {"18FFF0000000000000", 1, ""},
		{"1C07EA061D0A2D00", 1, "20260629104500"}, {"1C07EA061D0A2D00", 0.1, "20260629104500"}, {"1907EA061D010A2D000000", 1, "20260629104500"},
		{"1CFFFFFFFFFFFFFF", 1, "none"}, {"1C07EA061D0AFFFF", 1, "none"},
		{"010112 08FC", 1, ""}, {"0A0131", 1, ""}, {"040880", 1, ""}, {"0906000000000010", 1, ""}, {"59FF26", 1, ""},
	}
	for _, tt := range tests {
		p, err := hex.DecodeString("85010120000201" + "01" + string(slices.DeleteFunc([]byte(tt.data), func(b byte) bool { return b == ' ' })) + "0000")
		if err != nil {
			t.Fatal(err)
		}
		var m wire.Message
		if err := m.Decode(p); err != nil {
			t.Fatalf("%s: %v", tt.data, err)
		}
		v, err := datumOf(&m, m.Find(1, "response", "normal", "result", "result")+1).scaled(tt.scale)
		switch {
		case tt.want == "none" && !errors.Is(err, collect.ErrNoValue), tt.want == "" && !errors.Is(err, collect.ErrNotNumber):
			t.Errorf("%s is %v, %v", tt.data, v, err)
		case tt.want != "" && tt.want != "none" && (err != nil || v.Text() != tt.want):
			t.Errorf("%s is %v, %v, want %s", tt.data, v, err, tt.want)
		}
	}
}

// Every attribute is asked for once, in batches that fit a frame, are of one
// kind, and are no longer than the meter bears.
func TestGroup_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := make(map[batchKey][]wire.ObjectAttribute)
		keys := []batchKey{{}, {0x50040200, 1}, {0x50040200, 2}, {0x50060200, 1}}
		m := newPort(testSource(), nil).meter(wire.Address{})
		for _, k := range keys {
			for range rapid.IntRange(0, 60).Draw(t, "attributes") {
				o := wire.ObjectAttribute(0x20000200 + rapid.IntRange(0, 40).Draw(t, "element"))
				wanted[k] = append(wanted[k], o)
				if rapid.IntRange(0, 20).Draw(t, "alone") == 0 {
					m.alone[slot{k, o}] = true
				}
			}
			if rapid.Bool().Draw(t, "limited") {
				m.most[k] = rapid.IntRange(1, 9).Draw(t, "most")
			}
		}
		maxFrame := rapid.IntRange(128, 2048).Draw(t, "maxFrame")
		left := make(map[slot]bool)
		for k, oads := range wanted {
			for _, o := range oads {
				left[slot{k, o}] = true
			}
		}
		for _, b := range m.group(wanted, maxFrame) {
			bytes := overhead
			for _, o := range b.oads {
				s := slot{b.batchKey, o}
				if !left[s] {
					t.Fatalf("%v is asked for twice, or was not wanted", s)
				}
				delete(left, s)
				bytes += room(o)
				if m.alone[s] && len(b.oads) > 1 {
					t.Fatalf("%v is asked for with others", s)
				}
			}
			most, limited := m.most[b.batchKey]
			if bytes > maxFrame && len(b.oads) > 1 || limited && len(b.oads) > most {
				t.Fatalf("%d attributes, %d bytes of %d", len(b.oads), bytes, maxFrame)
			}
		}
		if len(left) > 0 {
			t.Fatalf("%d are not asked for", len(left))
		}
	})
}

// No message, whatever it says, gives a value to what was not asked for.
func FuzzAnswer(f *testing.F) {
	s := &server{partSize: 2}
	for _, apdu := range []string{"05010120000201", "050201052000020120000202200102010010020120040201", "0503015004020009010200001002010000200201", "0505010001"} {
		p, err := hex.DecodeString(apdu + "00")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s.answer(question{data: p}, 1, 0))
	}
	var m wire.Message
	f.Fuzz(func(t *testing.T, p []byte) {
		if m.Decode(p) != nil {
			return
		}
		for _, b := range []batch{
			{oads: []wire.ObjectAttribute{0x20000201}},
			{oads: []wire.ObjectAttribute{0x00100201, 0x20000201, 0x20000202, 0x20010201, 0x20040201}},
			{batchKey{0x50040200, 1}, []wire.ObjectAttribute{0x00100201, 0x00200201}},
		} {
			r := &reader{batch: b, got: make(map[slot]found)}
			_, err := r.take(&m)
			if errors.Is(err, errNotOurs) && len(r.got) > 0 {
				t.Errorf("%d taken of what is not ours", len(r.got))
			}
			for s := range r.got {
				if s.batchKey != b.batchKey || !slices.Contains(b.oads, s.oad) {
					t.Errorf("%v was not asked for", s)
				}
			}
		}
	})
}

// No bytes on the line make the driver take a value that the meter didn't send.
func FuzzReceive(f *testing.F) {
	good := packet(0xc3, address, client, []byte{0x85, 1, 7, 0x20, 0, 2, 1, 1, 0x12, 8, 0xfc, 0, 0})
	f.Add(good, 1)
	f.Add(append([]byte{0xfe, 0x68, 0x11}, good...), 7)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		p := newPort(testSource(), nil)
		p.service = 7
		p.line = &script{stream: stream, piece: 1 + max(piece, 0)%64}
		a, err := wire.ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{batch: batch{oads: []wire.ObjectAttribute{0x20000201}}, got: make(map[slot]found)}
		if _, err := p.receive(t.Context(), a, r); err == nil {
			var frame wire.Frame
			var s wire.Scanner
			s.Write(stream)
			for {
				ok, err := s.Next(&frame)
				if ok && frame.FromServer && frame.Client == client {
					return // it was there
				}
				if !ok && err == nil {
					t.Fatalf("%v out of nothing", r.got)
				}
			}
		}
	})
}
