package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"
)

func FuzzFrame(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.frame))
	}
	f.Add(unhex(f, negative))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) >= minFrame { // most of what comes up has neither a length nor a checksum
			p = bytes.Clone(p)
			binary.LittleEndian.PutUint16(p[1:], uint16(len(p)))
			p[len(p)-2] = sum(p[3 : len(p)-2])
		}
		var in Frame
		err := in.Decode(p)
		e, said := Explain(p, func(Protocol, []byte) (any, error) { return nil, nil })
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
		if err != nil {
			if said == nil {
				t.Errorf("%X is explained without error, but %v", p, err)
			}
			return
		}
		again, err := in.Append(nil)
		if err != nil || !bytes.Equal(again, p) {
			t.Errorf("%X, %v", again, err)
		}
		if e == nil {
			t.Errorf("%X is not explained: %v", p, said)
		}
		if form := in.Check(); form != nil && said == nil {
			t.Errorf("%X is explained without error, but %v", p, form)
		}
		checkUnit(t, place{in.AFN, in.Fn, in.Control.Up()}, in.Data)
	})
}

func FuzzUnit(f *testing.F) {
	for _, u := range units(f) {
		f.Add(byte(u.afn), byte(u.fn), u.up, u.data)
	}
	f.Fuzz(func(t *testing.T, afn, fn byte, up bool, data []byte) {
		if fn < 1 || fn > byte(MaxFn) || len(data) > MaxData {
			return
		}
		checkUnit(t, place{AFN(afn), Fn(fn), up}, data)
		in := Frame{Control: HPLC.Request(), AFN: AFN(afn), Fn: Fn(fn), Data: data}
		if up {
			in.Control = HPLC.Report()
		}
		p, err := in.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if e, _ := Explain(p, nil); e == nil {
			t.Errorf("%X is not explained", p)
		}
	})
}

func FuzzScanner(f *testing.F) {
	for _, g := range golden {
		f.Add(append([]byte{1, 0x68, 2}, unhex(f, g.frame)...), byte(7))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step byte) {
		var s Scanner
		var frame Frame
		for rest := stream; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			s.Write(rest[:n])
			rest = rest[n:]
			for {
				ok, err := s.Next(&frame)
				if !ok && err == nil {
					break
				}
			}
			if s.Pending() > MaxFrame+int(step)+1 {
				t.Fatalf("%d bytes pending", s.Pending())
			}
		}
		for s.Pending() > 0 { // the line stays silent: everything is dealt with
			before := s.Pending()
			s.Skip()
			for {
				ok, err := s.Next(&frame)
				if !ok && err == nil {
					break
				}
			}
			if s.Pending() >= before {
				t.Fatalf("%d bytes pending, as before", before)
			}
		}
	})
}

func FuzzMeterFrames(f *testing.F) {
	f.Add(byte(DLT645), unhex(f, fourteen))
	f.Add(byte(DLT698), unhex(f, "68180043050433000000001064D1050200010010020000910416"))
	f.Fuzz(func(t *testing.T, p byte, content []byte) {
		n, err := MeterFrames(Protocol(p), content)
		rest, got := content, 0
		for len(rest) > 0 {
			m, next, reason := NextMeterFrame(Protocol(p), rest)
			if reason != nil {
				if !errors.Is(err, ErrCarried) && !errors.Is(err, ErrProtocol) {
					t.Errorf("%v, but %v", err, reason)
				}
				return
			}
			if len(m.Bytes) == 0 || !bytes.Equal(append(bytes.Clone(m.Bytes), next...), rest) {
				t.Fatalf("% X is cut into % X and % X", rest, m.Bytes, next)
			}
			rest, got = next, got+1
		}
		if err != nil || n != got {
			t.Errorf("%d frames, %d counted: %v", got, n, err)
		}
	})
}
