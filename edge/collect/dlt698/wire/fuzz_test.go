package wire

import (
	"bytes"
	"testing"
)

func addVectors(f *testing.F, body bool) {
	for _, text := range vectors {
		p := unhex(f, text)
		if body {
			var frame Frame
			if err := frame.Decode(p); err != nil {
				f.Fatal(err)
			}
			p = frame.Data
		}
		f.Add(p)
	}
}

func FuzzFrame(f *testing.F) {
	addVectors(f, false)
	f.Fuzz(func(t *testing.T, p []byte) {
		var in Frame
		if in.Decode(p) != nil {
			return
		}
		again, err := in.Append(nil)
		if err != nil || !bytes.Equal(again, p) {
			t.Errorf("%X, %v", again, err)
		}
	})
}

func FuzzMessage(f *testing.F) {
	addVectors(f, true)
	for _, c := range unitCases(f) {
		f.Add(c.p)
	}
	var m Message
	f.Fuzz(func(t *testing.T, p []byte) {
		if m.Decode(p) != nil {
			return
		}
		if again := m.Append(nil); !bytes.Equal(again, p) {
			t.Errorf("%X", again)
		}
		if len(m.Nodes) > MaxNodes || int(m.Nodes[0].Size) != len(m.Nodes) {
			t.Errorf("%d nodes, %d in the first", len(m.Nodes), m.Nodes[0].Size)
		}
	})
}

func FuzzExplain(f *testing.F) {
	addVectors(f, false)
	for _, c := range unitCases(f) {
		f.Add(c.p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		// As a frame, and as what a frame of good checksums holds.
		if e, err := Explain(p); e == nil && err == nil {
			t.Error("neither an explanation nor a reason")
		}
		o, err := ExplainAPDU(p)
		if o != nil {
			if _, err := o.MarshalJSON(); err != nil {
				t.Error(err)
			}
		} else if err == nil {
			t.Error("neither an explanation nor a reason")
		}
	})
}

func FuzzScanner(f *testing.F) {
	addVectors(f, false)
	f.Fuzz(func(t *testing.T, p []byte) {
		good := unhex(t, vectors["answer"])
		var s Scanner
		var frame Frame
		s.Write(p)
		for steps := 0; ; steps++ {
			ok, err := s.Next(&frame)
			if !ok && err == nil {
				break
			}
			if steps > len(p) {
				t.Fatal("does not come to an end")
			}
		}
		s.Reset()
		s.Write(good)
		if ok, err := s.Next(&frame); !ok || err != nil {
			t.Errorf("a good frame after that: %v, %v", ok, err)
		}
	})
}

func FuzzJoiner(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0x01, 0x40, 2})
	f.Fuzz(func(t *testing.T, p []byte) {
		var j Joiner
		for len(p) > 3 { // fragments of three bytes
			var part Fragment
			if part.Decode(p[:3]) == nil {
				if apdu, _, err := j.Add(part); len(apdu) > MaxAPDU || err != nil && apdu != nil {
					t.Fatalf("%d bytes, %v", len(apdu), err)
				}
			}
			p = p[3:]
		}
	})
}
