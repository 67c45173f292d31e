package station

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	wire698 "gnomon/edge/collect/dlt698/wire"
	"gnomon/edge/collect/q376/wire"
)

// The frames here were captured or published by others; none comes from this
// project's codecs.

func raw(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func address(t *testing.T, digits string) wire.Address {
	t.Helper()
	a, err := wire.ParseAddress(digits)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestMeter_Vectors(t *testing.T) {
	energyOf := func(kind measure) quantity { return quantity{energy + kind, 0} }
	for _, v := range []struct {
		name, meter string
		protocol    wire.Protocol
		is          quantity
		worth       int64
		ask, want   string
	}{
		{"import energy", "000000000161", wire.DLT645, energyOf(1), 26, "68610100000000681104333334331416", "6861010000000068910833333433593333338A16"},
		{"export energy", "000000000161", wire.DLT645, energyOf(2), 126, "68610100000000681104333335331516", "6861010000000068910833333533593433338C16"},
		{"reactive energy", "000000000161", wire.DLT645, energyOf(3), 10026, "68610100000000681104333336331616", "6861010000000068910833333633593334338D16"},
		{"voltage", "000000000161", wire.DLT645, quantity{voltage, 1}, 1001, "68610100000000681104333434351716", "686101000000006891063334343534431016"},
		{"frequency", "171118445100", wire.DLT645, quantity{frequency, 0}, 5003, "", "680051441811176891063533B33536834516"},
		{"address of DL/T 698.45", "000000000010", wire.DLT698, quantity{}, 0, "", "682100C30510000000000010557E850141400102000109060000000000100000DDBA16"},
	} {
		m := &Meter{Number: 1, Address: address(t, v.meter), Protocol: v.protocol, Phases: 1, fixed: map[quantity]int64{v.is: v.worth}}
		ask, want := raw(t, v.ask), raw(t, v.want)
		switch v.name { // of which the answer alone was captured
		case "frequency":
			ask = frame645(t, v.meter, 0x11, "02800002")
		case "address of DL/T 698.45":
			f := wire698.Frame{ByClient: true, Function: wire698.UserData, Client: 0x10, Data: wire698.AppendGet(nil, 0x41, 0x40010200)}
			var err error
			if f.Server, err = wire698.ParseAddress("AAAAAAAAAAAA"); err != nil {
				t.Fatal(err)
			}
			if ask, err = f.Append(nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.Answer(ask, epoch); !slices.Equal(got, want) {
			t.Errorf("%s: %X, want %X", v.name, got, want)
		}
	}
	m := &Meter{Number: 1, Address: address(t, "000000000010"), Protocol: wire.DLT698, Phases: 1}
	if got := m.Answer(raw(t, "6817004345AAAAAAAAAAAA10DA5F0501014001020000C60716"), epoch); len(got) != 35 || got[3] != 0xc3 || got[16] != 0x01 {
		t.Errorf("a captured request is answered with %X", got)
	}
}

// frame645 builds a request by hand.
func frame645(t *testing.T, meter string, control byte, di string) []byte {
	t.Helper()
	a, d := raw(t, meter), raw(t, di)
	slices.Reverse(a)
	slices.Reverse(d)
	out := append(append([]byte{0x68}, a...), 0x68, control, byte(len(d)))
	for _, b := range d {
		out = append(out, b+0x33)
	}
	sum := byte(0)
	for _, b := range out {
		sum += b
	}
	return append(out, sum, 0x16)
}

// vectorArea has the meters that the captured frames name.
func vectorArea(t *testing.T) (*Station, *master) {
	t.Helper()
	s, err := New(Config{Meters: 2, First: 3304, Now: func() time.Time { return epoch }, GiveUp: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s, attach(t, s)
}

func TestCCO_Vectors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, m := vectorArea(t)
		const pause, resume = "680F00430000283200631202001416", "680F00430000283200E61204009916"
		for _, v := range []struct{ name, ask, want string }{
			{"pause", pause, "00 F1"}, {"resume", resume, "00 F1"},
			{"add a node", "6817004300000000000711010001080000000000036816", "00 F1"},
			{"add it again", "6817004300000000000711010001080000000000036816", "00 F2 06"},
			{"topology", "681200430000283200641010020100022616", "10 F21"},
			{"fourteen frames", "68FF004304000000006C888888999904043300000000F101000200E000" + strings.Repeat("6804330000000068110433333433E916", 14) + "3C16", "00 F2 6E"},
			{"meter not in the archive", "682F004304000000006B888888999904043300000000F10100020010006804330000000068110433333433E916A316", "00 F2 07"},
		} {
			ask := raw(t, v.ask)
			got := m.ask(ask)
			if text := brief(got); !strings.HasPrefix(text, v.want) {
				t.Errorf("%s: %s, want %s", v.name, text, v.want)
			}
			if got != nil && got.Info.Sequence() != ask[9] {
				t.Errorf("%s: sequence %d, want %d", v.name, got.Info.Sequence(), ask[9])
			}
		}
		if st := s.Status(); st.Archive != 1 || !st.Routing {
			t.Errorf("%+v", st)
		}
		before := s.Status()
		m.write(raw(t, "682F00430400000000CB888888999904020000000000F10100020010006801000000000068110433333433B3166116")) // wrong checksum
		m.settle()
		if after := s.Status(); after.Requests != before.Requests || after.Garbled == before.Garbled {
			t.Errorf("a frame with a wrong checksum was taken: %+v", after)
		}
	})
}

// A meter that can't be read fails with the very bytes that a real CCO said.
func TestCCO_FailureVector(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, m := vectorArea(t)
		m.add("000009285772", wire.DLT645)
		f := wire.Frame{
			Control: wire.HPLC.Request(), Info: wire.Down{Address: true, Sequence: 0x32}.Info(), Destination: address(t, "000009285772"),
			AFN: wire.AFNConcurrent, Fn: 1,
		}
		var err error
		if f.Data, err = (&wire.ConcurrentRead{Protocol: wire.DLT645, Content: frame645(t, "000009285772", 0x11, "00010000")}).Append(nil); err != nil {
			t.Fatal(err)
		}
		out, err := f.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.ask(out); !slices.Equal(m.last, raw(t, "681E0083040000000032725728090000000000000000F10100020000A716")) {
			t.Errorf("%X, %s", m.last, brief(got))
		}
	})
}
