package wire

import (
	"bytes"
	"errors"
	"testing"
)

// Whatever decodes is encoded to the same bytes, and whatever there is, is
// explained or refused with a reason.
func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.frame))
	}
	f.Add(unhex(f, "FEFE68610100000000681104333334331516"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var frame Frame
		err := frame.Decode(b)
		if err == nil && !bytes.Equal(frame.Append(nil, 0), b) {
			t.Fatalf("% X becomes % X", b, frame.Append(nil, 0))
		}
		e, reason := Explain(b)
		if err == nil && reason != nil || reason == nil && e == nil {
			t.Fatalf("% X: decoded with %v, explained with %v", b, err, reason)
		}
	})
}

// What means something is explained whatever it is: the data of frames that are
// sound.
func FuzzExplain(f *testing.F) {
	for _, g := range golden {
		f.Add(byte(g.control), unhex(f, g.data))
	}
	f.Add(byte(Read.Answer()), append(unhex(f, "01000006"), sealed(f, record)...))
	f.Add(byte(Read.Answer()), unhex(f, "00FF0101"+"1234561029062612"))
	for c := Write; c <= ClearEvents; c++ {
		f.Add(byte(c), unhex(f, "02010004022233447856341201020304"))
	}
	f.Fuzz(func(t *testing.T, control byte, data []byte) {
		frame := Frame{Address: Wildcard, Control: Control(control)}
		if frame.SetData(data) != nil {
			return
		}
		e, err := Explain(frame.Append(nil, 1))
		if err != nil || e == nil || e.Preamble != 1 {
			t.Fatalf("%+v, %v", e, err)
		}
	})
}

// A frame is found whatever is before it, and however it is cut into pieces.
func FuzzNext(f *testing.F) {
	f.Add([]byte{}, byte(0))
	f.Add([]byte{0x68, 0xfe, 0x68}, byte(3))
	f.Add(unhex(f, "68610100000000689110333334331516"), byte(1))
	f.Fuzz(func(t *testing.T, noise []byte, piece byte) {
		want := Frame{Address: Address{0x61, 1}, Control: Read.Answer()}
		if err := want.SetData([]byte{0, 1, 1, 2, 1, 0x10}); err != nil {
			t.Fatal(err)
		}
		stream := want.Append(bytes.Clone(noise), 4)
		var got Frame
		var have []byte
		for len(stream) > 0 {
			n := min(len(stream), int(piece)+1)
			have, stream = append(have, stream[:n]...), stream[n:]
			for {
				done, found, _ := got.Next(have, len(stream) == 0)
				if done > len(have) || found && done < Overhead {
					t.Fatalf("%d bytes of %d", done, len(have))
				}
				have = have[done:]
				if !found {
					break
				}
				if got == want {
					return
				}
			}
		}
		// Only noise that is itself a frame and ends within ours can hide it.
		if !bytes.Contains(noise, []byte{start}) {
			t.Fatalf("not found after % X", noise)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(sealed(f, record))
	f.Add([]byte{0xe0, 0xe0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		again, err := r.Append(nil)
		if err != nil || n > len(b) {
			t.Fatalf("%d bytes of %d: %v", n, len(b), err)
		}
		if got, _, err := DecodeRecord(again); err != nil || got.At != r.At {
			t.Fatalf("% X becomes % X: %v", b[:n], again, err)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	stream := unhex(t, "FEFEFEFE686101000000006891063334343534431016")
	value := format(t, "XX.XXXX", true)
	var f Frame
	buf := make([]byte, 0, MaxFrame+MaxPreamble)
	allocs := testing.AllocsPerRun(100, func() {
		if _, found, err := f.Next(stream, false); !found || err != nil {
			t.Fatal(err)
		}
		_, data, err := DIOf(f.Data())
		if err != nil || len(data) != 2 {
			t.Fatal(err)
		}
		n, err := value.Decode([]byte{0x56, 0x34, 0x92})
		if err != nil {
			t.Fatal(err)
		}
		if buf, err = value.Append(buf[:0], n); err != nil {
			t.Fatal(err)
		}
		if err := f.AskRead(f.Address, 0x02010100); err != nil {
			t.Fatal(err)
		}
		buf = f.Append(buf[:0], 4)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
