package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const (
	one645 = "6804330000000068110433333433E916"
	one698 = "68180043050433000000001064D1050200010010020000910416"
)

func TestConcurrentRead_Golden(t *testing.T) {
	for _, c := range []struct {
		name     string
		golden   int
		protocol Protocol
		frames   []string
		meter    string // "" = not known
	}{
		{"645", 0, DLT645, []string{one645}, "000000003304"},
		{"698", 1, DLT698, []string{one698}, "000000003304"},
		{"transparent", 2, Transparent, []string{"ABCD20230315111953191115032320EF"}, ""},
		{"645 of 1997", 3, DLT645v1997, []string{"6804330000000068010243C31016"}, "000000003304"},
	} {
		var f Frame
		if err := f.Decode(unhex(t, golden[c.golden].frame)); err != nil {
			t.Fatal(err)
		}
		var r ConcurrentRead
		if err := r.Decode(f.Data); err != nil || r.Protocol != c.protocol || r.Reserved != 0 {
			t.Errorf("%s: %v %v", c.name, r, err)
		}
		if err := r.Check(DefaultLimits); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		rest := r.Content
		for i, want := range c.frames {
			m, next, err := NextMeterFrame(r.Protocol, rest)
			if err != nil || !bytes.Equal(m.Bytes, unhex(t, want)) || m.HasAddress != (c.meter != "") || m.HasAddress && m.Address.String() != c.meter {
				t.Errorf("%s: frame %d is % X of %v: %v", c.name, i, m.Bytes, m.Address, err)
			}
			rest = next
		}
		if len(rest) > 0 {
			t.Errorf("%s: % X are left", c.name, rest)
		}
		if err := CheckMeter(r.Protocol, r.Content, f.Destination); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if data, err := r.Append(nil); err != nil || !bytes.Equal(data, f.Data) {
			t.Errorf("%s: % X, %v", c.name, data, err)
		}
	}
}

func TestConcurrentRead_Limits(t *testing.T) {
	frames := func(n int) []byte { return bytes.Repeat(unhex(t, one645), n) }
	of := func(n int) ConcurrentRead { return ConcurrentRead{Protocol: DLT645, Content: frames(n)} }
	wide := Limits{MeterFrames: 18, Payload: 2000}
	for name, c := range map[string]struct {
		read   ConcurrentRead
		limits Limits
		err    error
	}{
		"13":               {of(13), DefaultLimits, nil},
		"14":               {of(14), DefaultLimits, DenyTooManyFrames},
		"18 of 18":         {of(18), wide, nil},
		"19 of 18":         {of(19), wide, DenyTooManyFrames},
		"too many bytes":   {ConcurrentRead{Content: make([]byte, 1001)}, DefaultLimits, DenyLength},
		"1000 bytes":       {ConcurrentRead{Content: make([]byte, 1000)}, DefaultLimits, nil},
		"none":             {of(0), DefaultLimits, ErrLength},
		"no frame":         {ConcurrentRead{Protocol: DLT645, Content: []byte{1, 2}}, DefaultLimits, ErrCarried},
		"a frame and more": {ConcurrentRead{Protocol: DLT645, Content: append(frames(1), 0x68)}, DefaultLimits, ErrCarried},
		"a cut frame":      {ConcurrentRead{Protocol: DLT698, Content: unhex(t, one698)[:25]}, DefaultLimits, ErrCarried},
		"no end":           {ConcurrentRead{Protocol: DLT645, Content: append(unhex(t, one645)[:15], 0x17)}, DefaultLimits, ErrCarried},
		"no end of 698":    {ConcurrentRead{Protocol: DLT698, Content: append(unhex(t, one698)[:25], 0x17)}, DefaultLimits, ErrCarried},
		"a protocol":       {ConcurrentRead{Protocol: 4, Content: frames(1)}, DefaultLimits, ErrProtocol},
	} {
		if err := c.read.Check(c.limits); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
	var f Frame
	if err := f.Decode(unhex(t, tooMany)); err != nil {
		t.Fatal(err)
	}
	var r ConcurrentRead
	if err := r.Decode(f.Data); err != nil {
		t.Fatal(err)
	}
	var deny Deny
	if err := r.Check(DefaultLimits); !errors.As(err, &deny) || deny != 110 {
		t.Error(err)
	}
	if _, err := (&ConcurrentRead{Content: make([]byte, MaxData-3)}).Append(nil); !errors.Is(err, ErrLength) {
		t.Error(err)
	}
	if _, err := (&ConcurrentReply{Protocol: 4}).Append(nil); !errors.Is(err, ErrProtocol) {
		t.Error(err)
	}
}

func TestMeterFrame_Preamble(t *testing.T) {
	content := unhex(t, "FEFEFEFE"+one645+"FE"+one645)
	m, rest, err := NextMeterFrame(DLT645, content)
	if err != nil || len(m.Bytes) != 20 || len(rest) != 17 || m.Address.String() != "000000003304" {
		t.Errorf("% X, % X, %v", m.Bytes, rest, err)
	}
	if n, err := MeterFrames(DLT645, content); n != 2 || err != nil {
		t.Error(n, err)
	}
}

// An answer is a request's by sequence, by address, and by what it carries.
func TestExchange(t *testing.T) {
	meter, cco := address12(t, "000009285772"), address12(t, "049999888888")
	ask := Frame{Control: HPLC.Request(), Info: Down{Address: true, Sequence: 0x32}.Info(), Source: cco, Destination: meter, AFN: AFNConcurrent, Fn: 1}
	var failed Frame
	if err := failed.Decode(unhex(t, golden[5].frame)); err != nil {
		t.Fatal(err)
	}
	if failed.Exchange() != ask.Exchange() {
		t.Errorf("%v answers %v", failed.Exchange(), ask.Exchange())
	}
	var r ConcurrentReply
	if err := r.Decode(failed.Data); err != nil || !r.Failed() || r.Protocol != DLT645 {
		t.Error(r, err)
	}
	ask.Info = Down{Address: true, Sequence: 0x33}.Info()
	if failed.Exchange() == ask.Exchange() {
		t.Error("another sequence is taken for it")
	}
	pending := map[Exchange]int{ask.Exchange(): 1}
	if ask.Destination[0]++; pending[ask.Exchange()] != 0 {
		t.Error("another meter is taken for it")
	}
	deny := Frame{Control: HPLC.Reply(), Info: Up{Sequence: 0x33}.Info(), AFN: AFNConfirm, Fn: 2, Data: []byte{111}}
	if deny.Exchange() != (Exchange{Sequence: 0x33}) || !errors.Is(deny.Denied(), DenyMeterBusy) {
		t.Error(deny.Exchange(), deny.Denied())
	}
}

// A module that sends A1 the other way round must not have the value booked to
// the meter that its A1 says.
func TestCheckMeter(t *testing.T) {
	var f Frame
	if err := f.Decode(unhex(t, golden[4].frame)); err != nil {
		t.Fatal(err)
	}
	var r ConcurrentReply
	if err := r.Decode(f.Data); err != nil || r.Failed() {
		t.Fatal(err)
	}
	err := CheckMeter(r.Protocol, r.Content, f.Exchange().Meter)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "of 222202005002, not of 025000022222") {
		t.Error(err)
	}
	if got := f.Source.Reversed(); got.String() != "222202005002" || CheckMeter(r.Protocol, r.Content, got) != nil {
		t.Error(got)
	}
	mixed := append(unhex(t, one645), unhex(t, "68610100000000681104333334331416")...)
	if err := CheckMeter(DLT645, mixed, address12(t, "000000003304")); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
	wild := unhex(t, "68AAAAAAAAAAAA681300DF16")
	if err := CheckMeter(DLT645, wild, address12(t, "000000003304")); err != nil {
		t.Error(err)
	}
}

func TestCoding_DoesNotAllocate(t *testing.T) {
	read, failure := unhex(t, golden[0].frame), unhex(t, golden[5].frame)
	var f Frame
	var down ConcurrentRead
	var up ConcurrentReply
	var s Scanner
	out := make([]byte, 0, MaxFrame)
	content := unhex(t, seven)
	meter := address12(t, "000000003304")
	s.Write(read)
	got := testing.AllocsPerRun(100, func() {
		if f.Decode(read) != nil || down.Decode(f.Data) != nil || down.Check(DefaultLimits) != nil {
			t.Error("read")
		}
		if CheckMeter(DLT645, content, meter) != nil || f.Exchange().Meter != meter || f.Check() != nil {
			t.Error("meter")
		}
		data, err := down.Append(out)
		if err != nil || len(data) != len(f.Data) {
			t.Error(err)
		}
		if _, err := f.Append(out); err != nil {
			t.Error(err)
		}
		if f.Decode(failure) != nil || up.Decode(f.Data) != nil || !up.Failed() {
			t.Error("failure")
		}
		s.Write(read)
		if ok, err := s.Next(&f); !ok || err != nil {
			t.Error(err)
		}
	})
	if got > 0 {
		t.Errorf("%v allocations", got)
	}
}
