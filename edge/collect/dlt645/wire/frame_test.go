package wire

import (
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

// golden are frames that others have published: of books, captures and programs.
var golden = []struct {
	frame   string
	address string
	control Control
	data    string
}{
	{"68610100000000681104333334331416", "000000000161", Read, "00000100"},
	{"6861010000000068910833333433593333338A16", "000000000161", Read.Answer(), "0000010026000000"},
	{"68610100000000681104333434351716", "000000000161", Read, "00010102"},
	{"686101000000006891063334343534431016", "000000000161", Read.Answer(), "000101020110"},
	{"6861010000000068910833333533593433338C16", "000000000161", Read.Answer(), "0000020026010000"},
	{"6861010000000068910833333633593334338D16", "000000000161", Read.Answer(), "0000030026000100"},
	{"680051441811176891063533B33536834516", "171118445100", Read.Answer(), "020080020350"},
	{"68AAAAAAAAAAAA681300DF16", "AAAAAAAAAAAA", ReadAddress, ""},
	{"6803000000000068810444E93334EC16", "000000000003", Read1997.Answer(), "11b60001"},
	{"6804330000000068110433333433E916", "000000003304", Read, "00000100"},                          // within a 376.2 frame
	{"680250000222226891083333343337363333A116", "222202005002", Read.Answer(), "0000010004030000"}, // within a 376.2 frame
}

func TestFrame_Golden(t *testing.T) {
	for _, g := range golden {
		var f Frame
		if err := f.Decode(unhex(t, g.frame)); err != nil {
			t.Errorf("%s: %v", g.frame, err)
			continue
		}
		if f.Address.String() != g.address || f.Control != g.control || hex.EncodeToString(f.Data()) != g.data {
			t.Errorf("%s: %s %s %x", g.frame, f.Address, f.Control, f.Data())
		}
		var again Frame
		again.Address, _ = ParseAddress(g.address)
		again.Control = g.control
		if err := again.SetData(unhex(t, g.data)); err != nil {
			t.Fatal(err)
		}
		if got := again.Append(nil, 2); hex.EncodeToString(got) != "fefe"+hex.EncodeToString(unhex(t, g.frame)) {
			t.Errorf("%s is encoded as %x", g.frame, got)
		}
	}
}

func TestFrame_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		frame string
		err   error
	}{
		"nothing":      {"", ErrShort},
		"cut":          {"6861010000000068110433333433", ErrShort},
		"checksum":     {"68610100000000681104333334331516", ErrChecksum},
		"a bit":        {"68610100000000681104333334341416", ErrChecksum},
		"end":          {"68610100000000681104333334331417", ErrEnd},
		"first start":  {"69610100000000681104333334331416", ErrStart},
		"second start": {"68610100000000691104333334331416", ErrStart},
		"too long":     {"686101000000006811C9333334331416", ErrLength},
		"more":         {"6861010000000068110433333433141600", ErrLength},
		"address":      {"681B010000000068110433333433CE16", ErrAddress},
		"padding":      {"68AA0100000000681104333334335D16", ErrAddress},
		// The outer frame of Q/GDW 10376.2 is none of DL/T 645.
		"376.2": {"682F00430400000000CB888888999904020000000000F10100020010006801000000000068110433333433B3166116", ErrStart},
	} {
		var f Frame
		if err := f.Decode(unhex(t, c.frame)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}
