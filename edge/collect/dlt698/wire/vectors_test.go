package wire

import (
	"encoding/hex"
	"testing"
)

// vectors are frames of meters, concentrators and other programs, none of them
// ours. What they say was told by their sources, or works out by itself.
var vectors = map[string]string{
	// GET 40010200 of any meter, and the answer of 000000000010.
	"get":      "6817004345AAAAAAAAAAAA10DA5F0501014001020000C60716",
	"answer":   "682100C30510000000000010557E850141400102000109060000000000100000DDBA16",
	"get list": "68180043050433000000001064D1050200010010020000910416",
	"get esam": "681700430502000000000010485E050115F1010200001A0016",
	// A reading over HPLC: a record of the minute freeze, and the answer 0.36 s later.
	"record":        "685D004305163568000070107A861000390503275002020001202102001C07EA061D0A2D00070000200201000030020100004002010000500201000060020100007002010000800201000110F0D55698838E08158F013B87D49A8CD7228016",
	"record answer": "686B00C305163568000070101524900052850327500202000700002002010000300201000040020100005002010000600201000070020100008002010101060000000005000381C80500000000060002897D06000000000600000000060000F84B0000010004992F4B7C3C8616",
	// Setting columns of a collection scheme.
	"action": "6834004305050000000000016184070112601482000202110701015B0150020200040010020100200201200002002001020000C33216",
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors_RoundTrip(t *testing.T) {
	for name, text := range vectors {
		t.Run(name, func(t *testing.T) {
			p := unhex(t, text)
			var f Frame
			if err := f.Decode(p); err != nil {
				t.Fatal(err)
			}
			var m Message
			if err := m.Decode(f.Data); err != nil {
				t.Fatal(err)
			}
			for i := range m.Nodes { // what is encoded must come from the nodes
				if m.Nodes[i].Size < 1 {
					t.Errorf("node %d has size %d", i, m.Nodes[i].Size)
				}
			}
			f.Data = m.Append(nil)
			again, err := f.Append(nil)
			if err != nil || hex.EncodeToString(again) != hex.EncodeToString(p) {
				t.Errorf("encoded as %X, %v\nwant %X", again, err, p)
			}
			e, err := Explain(append([]byte{0xfe, 0xfe, 0xfe, 0xfe}, p...))
			if err != nil {
				t.Fatal(err)
			}
			text, _ := Object{{"x", e}}.MarshalJSON()
			t.Log(string(text))
		})
	}
}
