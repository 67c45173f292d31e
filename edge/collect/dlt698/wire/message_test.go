package wire

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// writer makes bytes of any message of a form, so that every service and every
// data type is met with whatever it can hold.
type writer struct {
	t     *rapid.T
	out   []byte
	count int // of the list written last
	width int
	nodes int
}

func (w *writer) number(width int) {
	w.out = append(w.out, rapid.SliceOfN(rapid.Byte(), width, width).Draw(w.t, "number")...)
}

func (w *writer) write(of *form, depth int) {
	w.nodes++
	if of.kind == kindData {
		tags := []byte{0, 3, 5, 6, 9, 10, 12, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 80, 81, 83, 84, 85, 86, 87, 89, 93, 94, 95, 4}
		if depth < 14 && w.nodes < 200 {
			tags = append(tags, 1, 2, 1, 2, 82, 88, 90, 91, 92, 96)
		}
		tag := rapid.SampledFrom(tags).Draw(w.t, "tag")
		w.out = append(w.out, tag)
		of = dataForms[tag]
	}
	if n := of.kind.width() + of.kind.octets() + of.size; n > 0 {
		w.number(n)
		return
	}
	switch {
	case of.kind == Null:
	case of.kind == KindRow:
		for range w.width {
			w.write(data, depth+1)
		}
	case of.kind == KindOptional:
		there := byte(rapid.IntRange(0, 1).Draw(w.t, "optional"))
		if w.out = append(w.out, there); there == 1 {
			w.write(of.elem, depth+1)
		}
	case of.alts != nil:
		a := rapid.SampledFrom(of.alts).Draw(w.t, "choice")
		w.out = append(w.out, a.tag)
		w.write(a.form, depth+1)
	case of.elem != nil:
		n := rapid.IntRange(0, 3).Draw(w.t, "count")
		w.out = append(w.out, byte(n))
		for range n {
			w.write(of.elem, depth+1)
		}
		w.count = n
	case of.fields != nil:
		for i, f := range of.fields {
			if w.write(f.form, depth+1); of == resultRecord && i == 1 {
				w.width = w.count
			}
		}
	default:
		n := rapid.SampledFrom([]int{0, 1, 7, 127, 128, 256}).Draw(w.t, "length")
		w.out = appendLength(w.out, n, 0)
		if of.kind == BitString {
			n = (n + 7) / 8
		}
		w.number(n)
	}
}

func TestMessage_RoundTrip(t *testing.T) {
	var m Message
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{t: t}
		w.write(unit, 0)
		if err := m.Decode(w.out); err != nil {
			t.Fatalf("%X: %v", w.out, err)
		}
		if again := m.Append(nil); !bytes.Equal(again, w.out) {
			t.Fatalf("encoded as %X, want %X", again, w.out)
		}
		if _, err := ExplainAPDU(w.out); err != nil && m.Find(1, "unit", "plain") < 0 {
			t.Fatal(err)
		}
	})
}

func TestMessage_Refuses(t *testing.T) {
	answer := func(data ...byte) []byte {
		return append(append([]byte{0x85, 1, 1, 0xf0, 0, 2, 0, 1}, data...), 0, 0)
	}
	tests := []struct {
		name string
		p    []byte
		want error
	}{
		{"nothing", nil, ErrCut},
		{"unknown service", []byte{0x04, 1}, ErrUnknown},
		{"unknown kind of it", []byte{0x85, 9, 1}, ErrUnknown},
		{"unknown type", answer(7), ErrUnknown},
		{"type beyond all", answer(0xf0), ErrUnknown},
		{"option neither there nor not", []byte{5, 1, 1, 0x20, 0, 2, 0, 2}, ErrUnknown},
		{"nested", answer(bytes.Repeat([]byte{1, 1}, 200)...), ErrTooDeep},
		{"more elements than bytes", answer(1, 0x82, 0xff, 0xff), ErrCut},
		{"too many elements", answer(append([]byte{1, 0x82, 0x30, 0}, make([]byte, 0x3000)...)...), ErrTooMany},
		{"too many rows without columns", []byte{0x85, 3, 1, 0x50, 4, 2, 0, 0, 1, 0x82, 0xff, 0xff, 0, 0}, ErrTooMany},
		{"no length", answer(9, 0x83, 0, 0, 1), ErrLength},
		{"string longer than the rest", answer(9, 0x7f), ErrCut},
		{"bits longer than the rest", answer(4, 0x7f), ErrCut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			err := m.Decode(tt.p)
			var where *SyntaxError
			if !errors.Is(err, tt.want) || !errors.As(err, &where) || where.Offset > len(tt.p) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// What a captured record says is known, and adds up: the combined energy is the
// sum of two quadrants.
func TestMessage_CapturedRecord(t *testing.T) {
	var f Frame
	if err := f.Decode(unhex(t, vectors["record answer"])); err != nil {
		t.Fatal(err)
	}
	var m, inner Message
	if err := m.Decode(f.Data); err != nil {
		t.Fatal(err)
	}
	if err := inner.Decode(m.Nodes[m.Find(1, "unit", "plain")].Bytes); err != nil {
		t.Fatal(err)
	}
	rows := inner.Find(1, "response", "record", "result", "result", "rows")
	if rows < 0 || inner.Nodes[rows].Num != 1 {
		t.Fatalf("rows at %d", rows)
	}
	var got []int64
	for c := range inner.Children(rows + 1) {
		v, ok := inner.Nodes[c].Int()
		if !ok {
			t.Errorf("%v is no number", inner.Nodes[c].Kind)
		}
		got = append(got, v)
	}
	want := []int64{0, 229832, 0, 166269, 0, 0, 63563}
	if len(got) != len(want) || got[1] != got[3]+got[6] {
		t.Errorf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("column %d is %d, want %d", i, got[i], want[i])
		}
	}
}

// Requests are the very bytes that others send.
func TestAppend_Vectors(t *testing.T) {
	for name, apdu := range map[string][]byte{
		"get": AppendGet(nil, 1, 0x40010200), "get esam": AppendGet(nil, 0x15, 0xf1010200),
	} {
		var f Frame
		if err := f.Decode(unhex(t, vectors[name])); err != nil || !bytes.Equal(f.Data, apdu) {
			t.Errorf("%s: %X, want %X", name, apdu, f.Data)
		}
	}
	for name, apdu := range map[string][]byte{
		"get list": AppendGet(nil, 1, 0x20000200, 0x20010200), "get next": AppendGetNext(nil, 1, 3),
		"get record latest": AppendGetRecord(nil, 1, 0x50040200, 1, []ObjectAttribute{0x20210200, 0x00100200}),
	} {
		for _, c := range unitCases(t) {
			if c.name == name && !bytes.Equal(c.p, apdu) {
				t.Errorf("%s: %X, want %X", name, apdu, c.p)
			}
		}
	}
}

func TestDecode_AllocatesNothing(t *testing.T) {
	p := unhex(t, vectors["record answer"])
	request := unhex(t, vectors["get"])
	var f Frame
	var m, inner Message
	var s Scanner
	out := make([]byte, 0, 1024)
	work := func() {
		s.Write(p)
		if ok, err := s.Next(&f); !ok || err != nil {
			t.Fatal(err)
		}
		if err := m.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		at := m.Find(1, "unit", "plain")
		if err := inner.Decode(m.Nodes[at].Bytes); err != nil {
			t.Fatal(err)
		}
		f.Data = m.Append(out[:0])
		if err := f.Decode(request); err != nil {
			t.Fatal(err)
		}
		f.Data = AppendGet(out[:0], 1, 0x40010200)
		if _, err := f.Append(out[200:200]); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, work); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		n        Node
		exponent int
		want     string
	}{
		{Node{Kind: DoubleLongUnsigned, Num: 229832}, -2, "2298.32"}, {Node{Kind: LongUnsigned, Num: 5}, -3, "0.005"},
		{Node{Kind: DoubleLong, Num: ^uint64(0)}, -1, "-0.1"}, {Node{Kind: Unsigned, Num: 7}, 2, "700"}, {Node{Kind: Unsigned, Num: 7}, 0, "7"},
		{Node{Kind: Long64, Num: 1 << 63}, -1, "-922337203685477580.8"},
	} {
		if got := decimal(&c.n, c.exponent); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
