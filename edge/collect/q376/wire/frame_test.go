package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func address12(t testing.TB, s string) Address {
	t.Helper()
	a, err := ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const (
	tooMany   = "68FF004304000000006C888888999904043300000000F101000200E000" + fourteen + "3C16"
	seven     = "6804330000000068110433333433E9166804330000000068110433333433E9166804330000000068110433333433E9166804330000000068110433333433E9166804330000000068110433333433E9166804330000000068110433333433E9166804330000000068110433333433E916"
	fourteen  = seven + seven
	negative  = "682F00430400000000CB888888999904020000000000F10100020010006801000000000068110433333433B3166116"
	pauseRead = "680F00430000283200631202001416"
)

// golden are frames of other people's programs and test rigs, with what they
// say of them.
var golden = []struct {
	name, frame string
	control     Control
	sequence    byte
	source      string // "" = no address field
	destination string
	afn         AFN
	fn          Fn
	data        string
}{
	{"concurrent read, 645", "682F004304000000006B888888999904043300000000F10100020010006804330000000068110433333433E916A316",
		HPLC.Request(), 0x6b, "049999888888", "000000003304", AFNConcurrent, 1, "020010006804330000000068110433333433E916"},
	{"concurrent read, 698", "6839004304000000006A888888999904043300000000F1010003001A0068180043050433000000001064D1050200010010020000910416CE16",
		HPLC.Request(), 0x6a, "049999888888", "000000003304", AFNConcurrent, 1, "03001A0068180043050433000000001064D1050200010010020000910416"},
	{"concurrent read, transparent", "682F0043040000000069888888999904043300000000F1010000001000ABCD20230315111953191115032320EF7B16",
		HPLC.Request(), 0x69, "049999888888", "000000003304", AFNConcurrent, 1, "00001000ABCD20230315111953191115032320EF"},
	{"concurrent read, 645 of 1997", "682D004304000000006A888888999904043300000000F1010001000E006804330000000068010243C31016ED16",
		HPLC.Request(), 0x6a, "049999888888", "000000003304", AFNConcurrent, 1, "01000E006804330000000068010243C31016"},
	{"concurrent reply", "683200830400101F0051222202005002129078563412F10100021400680250000222226891083333343337363333A116B516",
		HPLC.Reply(), 0x51, "025000022222", "123456789012", AFNConcurrent, 1, "021400680250000222226891083333343337363333A116"},
	{"concurrent failure", "681E0083040000000032725728090000000000000000F10100020000A716",
		HPLC.Reply(), 0x32, "000009285772", "000000000000", AFNConcurrent, 1, "020000"},
	{"pause", pauseRead, HPLC.Request(), 0x63, "", "", AFNRouteControl, 2, ""},
	{"resume", "680F00430000283200E61204009916", HPLC.Request(), 0xe6, "", "", AFNRouteControl, 3, ""},
	{"add a node", "6817004300000000000711010001080000000000036816", HPLC.Request(), 7, "", "", AFNRouteSet, 1, "0108000000000003"},
	{"topology", "681200430000283200641010020100022616", HPLC.Request(), 0x64, "", "", AFNRouteQuery, 21, "010002"},
	{"parameters", "680F00410000040000040102004C16", CentralNarrowband.Request(), 4, "", "", AFNInitialize, 2, ""},
	{"a task of Anhui", "681F004300000000000111401C07010005000000000000000000000000BE16",
		HPLC.Request(), 1, "", "", AFNRouteSet, 231, "07010005000000000000000000000000"},
	{"vendor", "680F00410100FF0000000301004516", CentralNarrowband.Request(), 0, "", "", AFNQuery, 1, ""},
	{"reports of refused nodes", "681000410100FF00000005801801DF16", CentralNarrowband.Request(), 0, "", "", AFNControl, 200, "01"},
	{"debug", "681100410100FF000000F0010011226516", CentralNarrowband.Request(), 0, "", "", AFNDebug, 1, "1122"},
	{"14 meter frames", tooMany, HPLC.Request(), 0x6c, "049999888888", "000000003304", AFNConcurrent, 1, "0200E000" + fourteen},
}

func TestFrame_Golden(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			var f Frame
			if err := f.Decode(unhex(t, g.frame)); err != nil {
				t.Fatal(err)
			}
			if f.Control != g.control || f.Info.Sequence() != g.sequence || f.AFN != g.afn || f.Fn != g.fn || !bytes.Equal(f.Data, unhex(t, g.data)) {
				t.Errorf("%02X %v %v %v % X", f.Control, f.Info, f.AFN, f.Fn, f.Data)
			}
			if f.Info.HasAddress() != (g.source != "") || g.source != "" && (f.Source.String() != g.source || f.Destination.String() != g.destination) {
				t.Errorf("from %v to %v", f.Source, f.Destination)
			}
			again := Frame{Control: g.control, AFN: g.afn, Fn: g.fn, Data: unhex(t, g.data), Info: f.Info.Down().Info()}
			if f.Control.Up() {
				again.Info = f.Info.Up().Info()
			}
			if g.source != "" {
				again.Source, again.Destination = address12(t, g.source), address12(t, g.destination)
			}
			out, err := again.Append([]byte{0xaa})
			if err != nil || !bytes.Equal(out[1:], unhex(t, g.frame)) || out[0] != 0xaa {
				t.Errorf("encoded as % X: %v", out, err)
			}
			if err := f.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFrame_Relays(t *testing.T) {
	f := Frame{Control: HPLC.Request(), Info: Down{Address: true, Sequence: 9}.Info(), AFN: AFNMonitor, Fn: 1, Data: []byte{2, 0, 0, 0}}
	f.Source, f.Destination = address12(t, "000000000001"), address12(t, "000000000004")
	way := []Address{address12(t, "000000000002"), address12(t, "000000000003")}
	if err := f.SetRelays(way); err != nil {
		t.Fatal(err)
	}
	b, err := f.Append(nil)
	if want := unhex(t, "682B0043240000000009010000000000020000000000030000000000040000000000130100020000009016"); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("% X: %v", b, err)
	}
	var back Frame
	if err := back.Decode(b); err != nil || len(back.Relays()) != 2 || back.Relays()[1] != way[1] || back.Destination != f.Destination {
		t.Errorf("%v %v %v", back.Relays(), back.Destination, err)
	}
	// The module tells how many relays there were, and not which.
	up := Frame{Control: HPLC.Reply(), Info: Up{Address: true, RelayLevel: 2}.Info(), AFN: AFNMonitor, Fn: 1, Data: []byte{0, 0, 2, 0}}
	b, err = up.Append(nil)
	if err != nil || len(b) != 31 {
		t.Fatalf("% X: %v", b, err)
	}
	if err := back.Decode(b); err != nil || len(back.Relays()) != 0 || back.Info.RelayLevel() != 2 {
		t.Errorf("%v: %v", back.Relays(), err)
	}
	if err := f.SetRelays(make([]Address, 16)); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}

func TestFrame_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		frame string
		err   error
	}{
		"published with a wrong sum": {negative, ErrChecksum},
		"nothing":                    {"", ErrCut},
		"cut":                        {"680F0043000028320063120200", ErrCut},
		"start":                      {"690F00430000283200631202001416", ErrStart},
		"end":                        {"680F00430000283200631202001417", ErrEnd},
		"sum":                        {"680F00430000283200631202001516", ErrChecksum},
		"a bit":                      {"680F00430000283200621202001416", ErrChecksum},
		"too short a length":         {"680E00430000283200631202001416", ErrLength},
		"too long a length":          {"68FFFF430000283200631202001416", ErrLength},
		"more":                       {"680F0043000028320063120200141600", ErrTrailing},
		"no bit of DT1":              {"680F00430000283200631200001216", ErrFn},
		"two bits of DT1":            {"680F00430000283200631203001516", ErrFn},
		"DT2":                        {"680F00430000283200631202 1F3316", ErrFn},
		"source":                     {"681E008304000000003272572809000A0000000000 00F10100020000B116", ErrAddress},
		"destination":                {"681E0083040000000032725728090000A00000000000F101000200004716", ErrAddress},
		"no room for addresses":      {"680F00430400283200631202001816", ErrCut},
	} {
		var f Frame
		b := unhex(t, string(bytes.ReplaceAll([]byte(c.frame), []byte(" "), nil)))
		err := f.Decode(b)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		var s *SyntaxError
		if !errors.As(err, &s) || s.Field == "" {
			t.Errorf("%s: %v does not say where", name, err)
		}
	}
	var f Frame
	if err := f.Decode(unhex(t, negative)); err == nil || err.Error() != "checksum at byte 45: wrong checksum: is 61H, should be 62H" {
		t.Error(err)
	}
}

func TestFrame_AppendRefuses(t *testing.T) {
	a := Down{Address: true}.Info()
	for name, c := range map[string]struct {
		frame Frame
		err   error
	}{
		"no Fn":    {Frame{}, ErrFn},
		"F249":     {Frame{Fn: 249}, ErrFn},
		"too long": {Frame{Fn: 1, Data: make([]byte, MaxData+1)}, ErrLength},
		"source":   {Frame{Fn: 1, Info: a, Source: Address{0x0a}}, ErrAddress},
		"target":   {Frame{Fn: 1, Info: a, Destination: Address{5: 0xa0}}, ErrAddress},
	} {
		out, err := c.frame.Append([]byte{1, 2})
		if !errors.Is(err, c.err) || len(out) != 2 {
			t.Errorf("%s: % X, %v", name, out, err)
		}
	}
}

func TestFn(t *testing.T) {
	for n := range 249 {
		if n == 0 {
			continue
		}
		dt1, dt2 := Fn(n).identifier()
		if back, ok := fnOf(dt1, dt2); !ok || back != Fn(n) {
			t.Errorf("F%d is %02X %02X is F%d", n, dt1, dt2, back)
		}
	}
	if dt1, dt2 := Fn(231).identifier(); dt1 != 0x40 || dt2 != 0x1c {
		t.Errorf("%02X %02X", dt1, dt2)
	}
}

func TestDeny(t *testing.T) {
	for code, want := range map[Deny]string{
		0: "denied with code 0: communication timed out", 12: "denied with code 12: the node is not in the network",
		109: "denied with code 109: more meters in parallel than allowed",
		110: "denied with code 110: more meter frames in one frame than allowed",
		111: "denied with code 111: this meter is already being read",
		13:  "denied with code 13: more meters in parallel than allowed (a vendor's code for 109)",
		15:  "denied with code 15: this meter is already being read (a vendor's code for 111)",
		77:  "denied with code 77: reserved code",
	} {
		if code.Error() != want || code.Known() != (code != 77) {
			t.Errorf("%d: %v, %v", code, code.Error(), code.Known())
		}
	}
	f := Frame{Control: HPLC.Reply(), AFN: AFNConfirm, Fn: 2, Data: []byte{14}}
	if err := f.Denied(); !errors.Is(err, DenyTooManyFrames) || errors.Is(err, DenyMeterBusy) {
		t.Error(err)
	}
	if f.Data = nil; !errors.Is(f.Denied(), ErrLength) {
		t.Error(f.Denied())
	}
	if f.Fn = 1; f.Denied() != nil {
		t.Error(f.Denied())
	}
}

func TestScanner(t *testing.T) {
	var stream []byte
	want := 0
	for _, g := range golden {
		stream = append(stream, 0x00, 0x16) // noise without a start
		stream = append(stream, unhex(t, g.frame)...)
		want++
	}
	for _, step := range []int{1, 2, 7, 100, len(stream)} {
		var s Scanner
		var f Frame
		got := 0
		for rest := stream; len(rest) > 0; {
			n := min(step, len(rest))
			s.Write(rest[:n])
			rest = rest[n:]
			for {
				ok, err := s.Next(&f)
				if err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				if !ok {
					break
				}
				if f.Fn != golden[got].fn || !bytes.Equal(f.Data, unhex(t, golden[got].data)) {
					t.Errorf("step %d, frame %d: %v", step, got, f.Fn)
				}
				got++
			}
		}
		if got != want || s.Pending() != 0 {
			t.Errorf("step %d: %d frames of %d, %d bytes pending", step, got, want, s.Pending())
		}
	}
}

func TestScanner_FindsTheNextFrame(t *testing.T) {
	var s Scanner
	var f Frame
	s.Write(unhex(t, negative)) // and its meter frame begins like a long frame
	if ok, err := s.Next(&f); ok || !errors.Is(err, ErrChecksum) {
		t.Fatal(ok, err)
	}
	s.Write(unhex(t, pauseRead))
	found := false
	for i := 0; i < 100 && !found; i++ {
		ok, err := s.Next(&f)
		found = ok
		if !ok && err == nil {
			s.Skip()
		}
	}
	if !found || f.AFN != AFNRouteControl || s.Pending() != 0 {
		t.Errorf("%v %v, %d pending", found, f.AFN, s.Pending())
	}
}

// A length that is garbled must not swallow the frames behind it.
func TestScanner_GarbledLength(t *testing.T) {
	var s Scanner
	var f Frame
	s.Write(append([]byte{start, 18, 0}, unhex(t, pauseRead)...)) // ends where the good frame does
	if ok, err := s.Next(&f); ok || !errors.Is(err, ErrChecksum) {
		t.Fatal(ok, err)
	}
	if ok, err := s.Next(&f); !ok || err != nil || f.AFN != AFNRouteControl {
		t.Error(ok, err, f.AFN)
	}
}

func TestAddress(t *testing.T) {
	for _, s := range []string{"", "12345678901", "1234567890123", "12345678901A", "ÀÀÀÀÀÀ"} {
		if _, err := ParseAddress(s); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", s, err)
		}
	}
	a := address12(t, "123456789012")
	if a != (Address{0x12, 0x90, 0x78, 0x56, 0x34, 0x12}) || a.String() != "123456789012" || a.Reversed().String() != "129078563412" {
		t.Error(a, a[:])
	}
}
