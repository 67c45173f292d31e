package station

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	wire645 "gnomon/edge/collect/dlt645/wire"
	wire698 "gnomon/edge/collect/dlt698/wire"
)

// keeper is a meter that keeps records.
func keeper(t *testing.T, share698 float64, drift time.Duration) *Meter {
	t.Helper()
	s, err := New(Config{Meters: 1, Share698: share698, ThreePhase: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	m := s.Meters()[0]
	m.drift = drift
	return m
}

// read645 reads all parts of an answer; nil is a refusal.
func read645(t *testing.T, m *Meter, di wire645.DI, parameters ...byte) (data []byte, frames int) {
	t.Helper()
	var ask, answer wire645.Frame
	if err := ask.AskRead(wire645.Address(m.Address), di, parameters...); err != nil {
		t.Fatal(err)
	}
	for more := true; more; frames++ {
		if frames > 0 {
			ask.AskMore(wire645.Address(m.Address), di, byte(frames))
		}
		said := m.Answer(ask.Append(nil, 0), noon)
		if again := m.Answer(ask.Append(nil, 0), noon); string(again) != string(said) {
			t.Errorf("asked again: % X, not % X", again, said)
		}
		if err := answer.Decode(said); err != nil {
			t.Fatal(err)
		}
		if answer.Control.Refused() {
			return nil, frames
		}
		got, rest, err := wire645.DIOf(answer.Data())
		if err != nil || got != di {
			t.Fatalf("%v of %v, %v", got, di, err)
		}
		if frames > 0 {
			if n := rest[len(rest)-1]; int(n) != frames {
				t.Fatalf("part %d is number %d", frames, n)
			}
			rest = rest[:len(rest)-1]
		}
		data = append(data, rest...)
		more = answer.Control.More()
	}
	return data, frames
}

// Load records are those of the times that were asked for, in as many parts as
// they need.
func TestMeter_LoadRecords(t *testing.T) {
	m := keeper(t, 0, -2*time.Second) // at noon its clock is before noon
	from := []byte{0x40, 0x09, 0x29, 0x06, 0x26}
	for _, c := range []struct {
		name         string
		di           wire645.DI
		n            byte
		from         []byte
		first        string
		records, sum int // sum of frames
	}{
		{"one of all classes", 0x06000001, 1, from, "09:40", 1, 1},
		{"many", 0x06000001, 0x12, from, "09:40", 12, 7},
		{"of a class", 0x06040001, 3, from, "09:40", 3, 1},
		{"that there aren't yet", 0x06010001, 3, []byte{0x50, 0x11, 0x29, 0x06, 0x26}, "11:50", 2, 1},
		{"the latest", 0x06020002, 2, nil, "11:50", 2, 1},
		{"the earliest", 0x06030000, 2, nil, "12:00", 2, 1},
		{"of the future", 0x06010001, 1, []byte{0x00, 0x12, 0x29, 0x06, 0x26}, "", 0, 0},
		{"no such class", 0x06070001, 1, from, "", 0, 0},
		{"no time", 0x06010001, 1, nil, "", 0, 0},
	} {
		data, frames := read645(t, m, c.di, append([]byte{c.n}, c.from...)...)
		n := 0
		for at := 0; at < len(data); n++ {
			r, size, err := wire645.DecodeRecord(data[at:])
			if err != nil {
				t.Fatalf("%s: record %d: %v", c.name, n, err)
			}
			at += size
			clock := fmt.Sprintf("%02d:%02d", r.At.Hour, r.At.Minute)
			if n == 0 && clock != c.first {
				t.Errorf("%s: begins at %s, not %s", c.name, clock, c.first)
			}
			when := time.Date(r.At.Year, time.Month(r.At.Month), int(r.At.Day), int(r.At.Hour), int(r.At.Minute), 0, 0, time.UTC)
			if class := r.Classes[0]; len(class) > 0 {
				want, _ := m.value(quantity{voltage, 1}, when)
				if got := bcd(want, 2); got[0] != class[0] || got[1] != class[1] {
					t.Errorf("%s: %s: % X, not % X", c.name, clock, class[:2], got)
				}
			}
		}
		if n != c.records || frames != c.sum {
			t.Errorf("%s: %d records in %d frames, want %d in %d", c.name, n, frames, c.records, c.sum)
		}
	}
}

// Rows of freezes are chosen by a time, an interval, or how long ago they are.
func TestMeter_Freezes(t *testing.T) {
	m := keeper(t, 1, 0)
	moment := func(hour, minute byte) []byte { return []byte{tagDateTimeS, 0x07, 0xea, 6, 29, hour, minute, 0} }
	clock := binary.BigEndian.AppendUint32(nil, oadTime)
	for _, c := range []struct {
		name  string
		how   []byte
		first byte // hour
		rows  int
	}{
		{"a time", append(append([]byte{1}, clock...), moment(9, 40)...), 9, 1},
		{"a time without a record", append(append([]byte{1}, clock...), moment(9, 41)...), 0, 0},
		{"a time to come", append(append([]byte{1}, clock...), moment(12, 5)...), 0, 0},
		{"an interval", append(append(append(append([]byte{2}, clock...), moment(9, 0)...), moment(10, 0)...), tagInterval, 1, 0, 15), 9, 5},
		{"the latest", []byte{9, 1}, 12, 1},
		{"the thirteenth last", []byte{9, 13}, 11, 1},
	} {
		apdu := append(binary.BigEndian.AppendUint32([]byte{wire698.GetRequest, wire698.GetRecord, 7}, oadMinute), c.how...)
		apdu = append(append(apdu, 2, 0), clock...)
		apdu = append(binary.BigEndian.AppendUint32(append(apdu, 0), 0x20000201), 0)
		got := m.get698(apdu, noon)
		const head = 3 + 4 + 1 + 5 + 5
		if len(got) < head+2 || got[1] != wire698.GetRecord || got[head] != tagArray || int(got[head+1]) != c.rows {
			t.Errorf("%s: % X", c.name, got)
			continue
		}
		const row = 8 + 3
		if len(got) != head+2+c.rows*row+2 {
			t.Errorf("%s: %d bytes", c.name, len(got))
		} else if c.rows > 0 && got[head+2+5] != c.first {
			t.Errorf("%s: begins at %d o'clock", c.name, got[head+2+5])
		}
	}
}
