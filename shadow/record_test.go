package shadow_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"gnomon/shadow"
)

var rewrite = flag.Bool("update", false, "rewrite the golden files in testdata")

func sameMemory(a, b string) bool { return unsafe.StringData(a) == unsafe.StringData(b) }

// golden compares with a file of testdata. Records are kept for years: a
// difference means that stored shadows can't be read any more.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\n got %s\nwant %s", path, got, want)
	}
}

func records(t *testing.T) map[string]*shadow.Document {
	full := apply(t, nil,
		`{"state":{"desired":{"s":"é\n","n":-1.50e3,"t":true,"f":false,"o":{},"l":[],"deep":{"a":[1,{"b":["x"]}]}}}}`,
		`{"state":{"reported":{"n":-1500}},"origin":{"bootEpoch":300,"seq":7}}`)
	tombstone, err := full.Delete(nil, 1_800_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*shadow.Document{
		"full": full, "tombstone": tombstone,
		"empty":    apply(t, nil, `{"state":{}}`),
		"reported": apply(t, nil, `{"state":{"reported":{"a":1}}}`),
	}
}

func TestRecord_Golden(t *testing.T) {
	for name, d := range records(t) {
		golden(t, "record_"+name+".hex", hex.Dump(d.AppendRecord(nil)))
	}
}

// same tells whether two documents are equal to the last stamp.
func same(a, b *shadow.Document) bool {
	x, y := *a, *b
	x.Desired, x.Reported, y.Desired, y.Reported = nil, nil, nil, nil
	for _, pair := range [][2]*shadow.Value{{a.Desired, b.Desired}, {a.Reported, b.Reported}} {
		if text(pair[0]) != text(pair[1]) || !bytes.Equal(pair[0].AppendMetadata(nil), pair[1].AppendMetadata(nil)) {
			return false
		}
	}
	return x == y
}

func TestRecord_RoundTrip(t *testing.T) {
	for name, d := range records(t) {
		prefix := []byte("before")
		record := d.AppendRecord(prefix)[len(prefix):]
		got, err := shadow.ParseRecord(record)
		if err != nil || !same(got, d) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestRecord_EveryDamageIsNoticed(t *testing.T) {
	record := records(t)["full"].AppendRecord(nil)
	for n := range record {
		if _, err := shadow.ParseRecord(record[:n]); !errors.Is(err, shadow.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		damaged := bytes.Clone(record)
		damaged[n] ^= 0x10
		if _, err := shadow.ParseRecord(damaged); !errors.Is(err, shadow.ErrCorrupt) {
			t.Fatalf("damage at %d: %v", n, err)
		}
	}
	if _, err := shadow.ParseRecord(append(bytes.Clone(record), 0)); !errors.Is(err, shadow.ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
}

// TestRecord_ChecksumIsNotEnough: a record whose checksum fits but whose content
// breaks a promise of the package is refused, and costs little.
func TestRecord_ChecksumIsNotEnough(t *testing.T) {
	object := func(members string) string { return "\x05" + members }
	for name, c := range map[string]struct {
		flags byte
		body  string
	}{
		"unknown flag":              {8, ""},
		"desired is a string":       {2, "\x03\x00\x01a"},
		"a section of a tombstone":  {3, object("\x00")},
		"null":                      {2, object("\x01\x01a\x00\x00")},
		"unknown kind":              {2, object("\x01\x01a\x06\x00")},
		"keys out of order":         {2, object("\x02\x01b\x01\x00\x01\x01a\x01\x00\x01")},
		"a key twice":               {2, object("\x02\x01a\x01\x00\x01\x01a\x01\x00\x01")},
		"a bool of 2":               {2, object("\x01\x01a\x01\x00\x02")},
		"a number that is none":     {2, object("\x01\x01a\x02\x00\x03abc")},
		"a number without bounds":   {2, object("\x01\x01a\x02\x00\x091e9999999")},
		"text that is not UTF-8":    {2, object("\x01\x01a\x03\x00\x01\xff")},
		"a key that is not UTF-8":   {2, object("\x01\x01\xff\x01\x00\x01")},
		"more members than bytes":   {2, object("\xff\xff\xff\xff\x0f")},
		"a number over 64 bits":     {2, object("\x01\x01a\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x01")},
		"a stamp out of range":      {2, object("\x01\x01a\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01")},
		"deeper than any limit":     {2, strings.Repeat("\x05\x01\x01a", shadow.MaxDepth+2) + object("\x00")},
		"text after the last value": {2, object("\x00\x00")},
	} {
		record := sealed(c.flags, c.body)
		if d, err := shadow.ParseRecord(record); !errors.Is(err, shadow.ErrCorrupt) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	if d, err := shadow.ParseRecord(sealed(2, object("\x01\x01a\x01\x00\x01"))); err != nil || text(d.Desired) != `{"a":true}` {
		t.Errorf("the same way, but right: %+v, %v", d, err)
	}
}

// TestRecord_CountsAreNotBelieved: members are counted before they are read, and
// a record of nested counts must not cost more memory than its size warrants.
func TestRecord_CountsAreNotBelieved(t *testing.T) {
	const size = 64 << 10
	nested := strings.Repeat("\x05\x80\x80\x02\x01a", shadow.MaxDepth) // each says 32768 members
	record := sealed(2, nested+strings.Repeat("\x00", size))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := shadow.ParseRecord(record)
	runtime.ReadMemStats(&after)
	if cost := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, shadow.ErrCorrupt) || cost > 50*size {
		t.Errorf("%d bytes allocated for a record of %d, %v", cost, len(record), err)
	}
}

func TestRecord_DepthOfAnyLimitCanBeReadBack(t *testing.T) {
	body := `{"state":{"desired":` + strings.Repeat(`{"a":`, shadow.MaxDepth) + `{}` + strings.Repeat(`}`, shadow.MaxDepth) + `}}`
	d := apply(t, nil, body)
	if got, err := shadow.ParseRecord(d.AppendRecord(nil)); err != nil || !same(got, d) {
		t.Errorf("%v", err)
	}
}

// sealed builds a record by hand: version 1, everything else zero, body as is.
func sealed(flags byte, body string) []byte {
	record := append([]byte{'G', 'S', 1, flags, 1, 0, 0, 0, 0}, body...)
	return binary.LittleEndian.AppendUint32(record, crc32.Checksum(record, crc32.MakeTable(crc32.Castagnoli)))
}
