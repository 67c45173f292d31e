package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// record is a whole load record, built by hand after appendix B.
const record = "A0A063" + "0010290626" +
	"012302230323" + "010000020000030000" + "0350" + "AA" +
	"563412" + "010000" + "020000" + "030080" + "000000" + "000000" + "000000" + "FFFFFF" + "AA" +
	"0010" + "0010" + "0010" + "5089" + "AA" +
	"26000000" + "26010000" + "00000080" + "01000080" + "AA" +
	"01000000" + "02000000" + "03000000" + "04000000" + "AA" +
	"010000" + "020000" + "AA"

func sealed(t testing.TB, s string) []byte {
	b := unhex(t, s)
	return append(b, sum(b), recordEnd)
}

func TestDecodeRecord(t *testing.T) {
	whole := sealed(t, record)
	r, n, err := DecodeRecord(append(slices.Clone(whole), 1, 2, 3))
	if err != nil || n != len(whole) || n != 103 {
		t.Fatalf("%d bytes of %d, %v", n, len(whole), err)
	}
	if Minutes.Text(r.At) != "2026-06-29 10:00" {
		t.Errorf("at %s", Minutes.Text(r.At))
	}
	if v, err := RecordParts[1][3].Format.Decode(r.Classes[1][9:12]); err != nil || v.String() != "-0.0003" {
		t.Errorf("active power C is %s, %v", v, err)
	}
	if b, err := r.Append(nil); err != nil || len(b) != len(whole) || !bytes.Equal(b[3:len(b)-2], whole[3:len(whole)-2]) {
		t.Errorf("encoded as % X, %v", b, err)
	}
}

// Some meters have no class for the quadrants, and most record but some classes.
func TestDecodeRecord_Variants(t *testing.T) {
	const head = "A0A000" + "0010290626"
	for name, c := range map[string]struct {
		record string
		class  int // that is there
	}{
		"six, demands":      {head + "AAAAAAAAAA" + "010000020000" + "AA", 5},
		"five, demands":     {head + "AAAAAAAA" + "010000020000" + "AA", 5},
		"five, energies":    {head + "AAAAAA" + "26000000260100000000000001000000" + "AA" + "AA", 3},
		"six, factors":      {head + "AAAA" + "0010001000105089" + "AA" + "AAAAAA", 2},
		"six, and its type": {"A0A006" + "0010290626" + "AAAAAAAA" + "01000000020000000300000004000000" + "AA" + "AA", 4},
	} {
		r, n, err := DecodeRecord(sealed(t, c.record))
		if err != nil || n != len(c.record)/2+2 {
			t.Errorf("%s: %d, %v", name, n, err)
			continue
		}
		for i, class := range r.Classes {
			if (len(class) > 0) != (i == c.class) {
				t.Errorf("%s: class %d has % X", name, i+1, class)
			}
		}
	}
}

func TestDecodeRecord_Refuses(t *testing.T) {
	whole := sealed(t, record)
	checksum := slices.Clone(whole)
	checksum[len(checksum)-2]++
	for name, c := range map[string]struct {
		b   []byte
		err error
	}{
		"nothing":  {nil, ErrShort},
		"cut":      {whole[:30], ErrShort},
		"head":     {whole[:5], ErrShort},
		"end":      {whole[:len(whole)-1], ErrRecord},
		"checksum": {checksum, ErrChecksum},
		"bad":      {unhex(t, "E0E0"), ErrRecord},
		"start":    {unhex(t, "A0A1630010290626"), ErrRecord},
		"time":     {sealed(t, "A0A000"+"0010291326"+"AAAAAAAAAAAA"), ErrRange},
		"class":    {sealed(t, "A0A000"+"0010290626"+"AAAAAAAAAA"+"0100"+"AA"), ErrLength},
	} {
		if _, _, err := DecodeRecord(c.b); !errors.Is(err, c.err) || !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
	long := Record{At: Stamp{Year: 2026, Month: 1, Day: 1}}
	long.Classes[0] = make([]byte, 5)
	if b, err := long.Append([]byte{1}); !errors.Is(err, ErrLength) || len(b) != 1 {
		t.Errorf("% X, %v", b, err)
	}
}
