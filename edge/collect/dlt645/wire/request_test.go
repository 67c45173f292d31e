package wire

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// Requests are built by hand after the standard, apart from the first three and
// the load record, which others have published.
func TestRequests(t *testing.T) {
	meter, _ := ParseAddress("000000000161")
	by := Authority{Password: [4]byte{2, 0x11, 0x22, 0x33}, Operator: [4]byte{0x78, 0x56, 0x34, 0x12}}
	at := Stamp{Year: 2026, Month: 6, Day: 29, Hour: 10, Minute: 45, Second: 7}
	for name, c := range map[string]struct {
		ask  func(f *Frame) error
		want string // plain: address, control, data
	}{
		"read":         {func(f *Frame) error { return f.AskRead(meter, 0x02010100) }, "610100000000 11 00010102"},
		"read address": {func(f *Frame) error { f.AskAddress(Wildcard); return nil }, "AAAAAAAAAAAA 13 "},
		"load record": {func(f *Frame) error {
			p, err := RecordsFrom(nil, 1, at)
			if err != nil {
				return err
			}
			return f.AskRead(meter, 0x06000001, p...)
		}, "610100000000 11 01000006 01 4510290626"},
		"more":          {func(f *Frame) error { f.AskMore(meter, 0x0001FF00, 3); return nil }, "610100000000 12 00FF0100 03"},
		"write":         {func(f *Frame) error { return f.AskWrite(meter, 0x04000102, by, []byte{1, 2, 3}) }, "610100000000 14 02010004 02112233 78563412 010203"},
		"write address": {func(f *Frame) error { return f.AskWriteAddress(meter) }, "AAAAAAAAAAAA 15 610100000000"},
		"time":          {func(f *Frame) error { return f.SayTime(at) }, "999999999999 08 074510290626"},
		"freeze":        {func(f *Frame) error { return f.AskFreeze(Broadcast, FreezeTime{0, 0x23, 0x99, 0x99}) }, "999999999999 16 00239999"},
		"speed":         {func(f *Frame) error { return f.AskSpeed(meter, 9600) }, "610100000000 17 20"},
		"password": {func(f *Frame) error {
			f.AskPassword(meter, 0x04000C01, by.Password, [4]byte{2, 1, 1, 1})
			return nil
		}, "610100000000 18 010C0004 02112233 02010101"},
		"clear demand": {func(f *Frame) error { f.AskClearDemand(meter, by); return nil }, "610100000000 19 02112233 78563412"},
		"clear meter":  {func(f *Frame) error { f.AskClearMeter(meter, by); return nil }, "610100000000 1A 02112233 78563412"},
		"clear events": {func(f *Frame) error { f.AskClearEvents(meter, by, 0xFFFFFFFF); return nil }, "610100000000 1B 02112233 78563412 FFFFFFFF"},
	} {
		var f, again Frame
		if err := f.SetData(make([]byte, MaxData)); err != nil { // what was there before is gone
			t.Fatal(err)
		}
		if err := c.ask(&f); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := again.Decode(f.Append(nil, 0)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := hex.EncodeToString(again.Address[:]) + hex.EncodeToString([]byte{byte(again.Control)}) + hex.EncodeToString(again.Data())
		if want := strings.ToLower(strings.ReplaceAll(c.want, " ", "")); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestRequests_Refuse(t *testing.T) {
	var f Frame
	var by Authority
	for name, c := range map[string]struct{ err, want error }{
		"much to write": {f.AskWrite(Wildcard, 0, by, make([]byte, 39)), ErrLength},
		"parameters":    {f.AskRead(Wildcard, 0, make([]byte, 197)...), ErrLength},
		"data":          {f.SetData(make([]byte, 201)), ErrLength},
		"padded":        {f.AskWriteAddress(Wildcard), ErrAddress},
		"everybody":     {f.AskWriteAddress(Broadcast), ErrAddress},
		"no digits":     {f.AskWriteAddress(Address{0xbb}), ErrAddress},
		"speed":         {f.AskSpeed(Wildcard, 300), ErrRange},
		"freeze":        {f.AskFreeze(Wildcard, FreezeTime{0, 0x99, 1, 1}), ErrRange},
		"time":          {f.SayTime(Stamp{Year: 1999}), ErrRange},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if _, err := RecordsFrom(nil, 0, Stamp{}); !errors.Is(err, ErrRange) {
		t.Errorf("no records: %v", err)
	}
	f.ask(Wildcard, Read.Answer())
	if _, err := f.Refusal(); !errors.Is(err, ErrControl) {
		t.Errorf("a good answer as a refusal: %v", err)
	}
}
