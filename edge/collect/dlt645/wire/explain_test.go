package wire

import (
	"errors"
	"strings"
	"testing"
)

// told is what an explanation says of the data, in one line.
func told(e *Explanation) string {
	parts := []string{e.DI, e.Item}
	for _, f := range e.Fields {
		text := f.Name + "=" + f.Value + f.Unit
		if f.Missing {
			text = f.Name + " missing"
		}
		if f.Problem != "" {
			text = f.Name + ": " + f.Problem
		}
		parts = append(parts, text)
	}
	return strings.Trim(strings.Join(append(parts, e.Refused...), "; "), "; ")
}

func TestExplain_Golden(t *testing.T) {
	for i, want := range []string{
		"00010000; forward active energy, total",
		"00010000; forward active energy, total; energy=0.26kWh",
		"02010100; voltage, phase A",
		"02010100; voltage, phase A; voltage=100.1V",
		"00020000; reverse active energy, total; energy=1.26kWh",
		"00030000; combined reactive 1 energy, total; energy=100.26kvarh",
		"02800002; frequency; frequency=50.03Hz",
		"",
		"B611; voltage, 1; voltage=100V",
		"00010000; forward active energy, total",
		"00010000; forward active energy, total; energy=3.04kWh",
	} {
		e, err := Explain(unhex(t, golden[i].frame))
		if err != nil {
			t.Errorf("%s: %v", golden[i].frame, err)
			continue
		}
		if told(e) != want || e.Address != golden[i].address || !strings.HasSuffix(e.Checksum, "right") {
			t.Errorf("%s: %s; %+v", golden[i].frame, told(e), e)
		}
	}
}

func TestExplain_Data(t *testing.T) {
	for _, c := range []struct {
		control Control
		data    string
		want    string
	}{
		{Read.Answer(), "00FF0102" + "012302230323", "0201FF00; voltage, block; voltage, phase A=230.1V; voltage, phase B=230.2V; voltage, phase C=230.3V"},
		{Read.Answer(), "00FF0102" + "0123FFFF", "0201FF00; voltage, block; voltage, phase A=230.1V; voltage, phase B missing"},
		{Read.Answer(), "00000302" + "563492", "02030000; active power, total; active power=-12.3456kW"},
		{Read.Answer(), "00000101" + "563412" + "4510290626", "01010000; forward active maximum demand, total; demand=12.3456kW; at=2026-06-29 10:45"},
		{Read.Answer(), "01000605" + "0000290626", "05060001; time, daily freeze 1 ago; time=2026-06-29 00:00"},
		{Read.Answer(), "01010605" + "2600000001000000", "05060101; forward active energy, daily freeze 1 ago; energy, total=0.26kWh; energy, tariff 1=0.01kWh"},
		{Read.Answer(), "01010102" + "0A00", "02010101; not known here; not explained="},
		{Read.Answer(), "00010102" + "0A00", "02010100; voltage, phase A; voltage: not a decimal digit: byte 0 of the value is 0AH"},
		{Read.Answer(), "00010102" + "01", "02010100; voltage, phase A; not explained="},
		{Read.Answer(), "0001", "not explained="},
		{Read, "01000006" + "014510290626", "06000001; load record; records=1; from=2026-06-29 10:45"},
		{Read.Answer(), "01000006" + "E0E0", "06000001; load record; record 1: broken load record: the meter says that it can't be read"},
		{ReadMore, "00FF0100" + "01", "0001FF00; forward active energy, block; follow-up number=1"},
		{ReadMore.Answer().WithMore(), "00FF0100" + "26000000" + "02", "0001FF00; forward active energy, block; energy, total=0.26kWh; follow-up number=2"},
		{ReadAddress.Answer(), "610100000000", "address=000000000161"},
		{BroadcastTime, "074510290626", "time=2026-06-29 10:45:07"},
		{Freeze, "00239999", "freeze=every day at 23:00"},
		{Freeze, "0023", "not explained="},
		{SetSpeed, "08", "speed=2400baud"},
		{SetSpeed, "01", "speed: is none"},
		{Write, "02010004" + "02112233" + "78563412" + "010203", "04000102; time; password level=02; operator=12345678; to write="},
		{Write.Answer(), "", ""},
		{SetPassword, "010C0004" + "02112233" + "04010101", "04000C01; not known here; password level=02; new password level=04"},
		{ClearEvents, "02112233" + "78563412" + "FFFFFFFF", "FFFFFFFF; not known here; password level=02; operator=12345678"},
		{ClearMeter, "0211", ""},
		{Read.Refusal(), "02", "error word=02H; no such data"},
		{Read.Refusal(), "", ""},
		{0x1f, "0102", "not explained="},
	} {
		f := Frame{Address: Wildcard, Control: c.control}
		if err := f.SetData(unhex(t, c.data)); err != nil {
			t.Fatal(err)
		}
		e, err := Explain(f.Append(nil, 0))
		if err != nil || told(e) != c.want {
			t.Errorf("%s %s: %q, %v; want %q", c.control, c.data, told(e), err, c.want)
		}
		if strings.Contains(e.Data, "11 22 33") {
			t.Errorf("%s: the password is told: %s", c.control, e.Data)
		}
	}
}

func TestExplain_Record(t *testing.T) {
	f := Frame{Address: Wildcard, Control: Read.Answer()}
	if err := f.SetData(append(unhex(t, "01000006"), sealed(t, record)...)); err != nil {
		t.Fatal(err)
	}
	e, err := Explain(f.Append(nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got := told(e); len(e.Fields) != 1+7+8+4+4+4+2 || !strings.Contains(got, "record 1 at=2026-06-29 10:00; voltage A=230.1V") ||
		!strings.Contains(got, "current B=0.002A") || !strings.Contains(got, "reactive power C missing") || !strings.Contains(got, "reactive demand=0.0002kvar") {
		t.Errorf("%d fields: %s", len(e.Fields), got)
	}
}

func TestExplain_Broken(t *testing.T) {
	e, err := Explain(unhex(t, "FE686101000000006891063334343534431116"))
	if !errors.Is(err, ErrChecksum) || e == nil || told(e) != "02010100; voltage, phase A; voltage=100.1V" || e.Checksum != "11H, wrong: should be 10H" {
		t.Errorf("%+v, %v", e, err)
	}
	for name, c := range map[string]struct {
		frame string
		err   error
	}{
		"nothing": {"", ErrShort}, "cut": {"68610100000000689106333434", ErrShort}, "end": {"686101000000006891063334343534431017", ErrEnd},
		"376.2": {"682F00430400000000CB888888999904020000000000F10100020010006801000000000068110433333433B3166116", ErrStart},
	} {
		if e, err := Explain(unhex(t, c.frame)); !errors.Is(err, c.err) || e != nil {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	for a, want := range map[Address]string{Wildcard: "wildcard", Broadcast: "broadcast", {0x61, 1, 0xaa, 0xaa, 0xaa, 0xaa}: "ends in 0161", {0x61}: "one meter"} {
		if got := whose(a); !strings.Contains(got, want) {
			t.Errorf("%s: %s", a, got)
		}
	}
}

func TestExplanation_Rows(t *testing.T) {
	f := Frame{Address: Wildcard, Control: Read.Answer().WithMore()}
	if err := f.SetData(unhex(t, "00FF0102"+"0123FFFF0A00")); err != nil {
		t.Fatal(err)
	}
	e, err := Explain(f.Append(nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, row := range e.Rows() {
		text.WriteString(strings.Join(row, ": ") + "\n")
	}
	for _, want := range []string{"identifier: 0201FF00 voltage, block\n", "voltage, phase A: 230.1 V (01 23)\n", "voltage, phase B: missing: ", "voltage, phase C: no value: ", "more: another", "note: part of"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}
