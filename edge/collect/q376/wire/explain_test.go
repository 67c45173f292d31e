package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// goldenFile compares, or writes with -update.
func goldenFile(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", file, got)
	}
}

func TestExplain_Golden(t *testing.T) {
	var got bytes.Buffer
	for _, g := range golden {
		e, err := Explain(unhex(t, g.frame), func(p Protocol, frame []byte) (any, error) {
			return fmt.Sprintf("%d bytes of %v", len(frame), p), nil
		})
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		text, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s\n%s\n\n", g.name, text)
	}
	goldenFile(t, "testdata/frames.golden", got.Bytes())
}

// framed is a frame with this data unit.
func framed(t *testing.T, p place, data string) []byte {
	t.Helper()
	b, err := unit{place: p, data: unhex(t, strings.ReplaceAll(data, " ", ""))}.frame().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExplain_Refuses(t *testing.T) {
	down := func(afn AFN, fn Fn) place { return place{afn, fn, false} }
	up := func(afn AFN, fn Fn) place { return place{afn, fn, true} }
	for name, c := range map[string]struct {
		frame []byte
		err   error
		says  string
	}{
		"AFN":              {framed(t, down(0x07, 1), "01"), ErrAFN, "unknown AFN: 07H"},
		"Fn":               {framed(t, down(0x12, 4), ""), ErrFn, "unknown Fn: 12H has no F4"},
		"way":              {framed(t, up(0x12, 1), ""), ErrFn, "unknown Fn: 12H-F1 does not exist on the way up"},
		"cut":              {framed(t, down(0xf1, 1), "02 00 10 00 68"), ErrCut, "data unit: carried at byte 4: ends too early: 16 bytes needed, 1 there"},
		"a byte too many":  {framed(t, down(0x12, 1), "00"), ErrTrailing, "data unit: data unit at byte 0: bytes are left over: 1 bytes"},
		"protocol":         {framed(t, down(0xf1, 1), "04 00 00 00"), ErrProtocol, "data unit: protocol at byte 0: unknown meter protocol: 04H"},
		"no meter frame":   {framed(t, down(0xf1, 1), "02 00 01 00 68"), ErrCarried, "carried frame 1: carried frame at byte 0: not a meter frame: no start of DL/T 645-2007"},
		"address":          {framed(t, down(0x11, 1), "01 6A 01 00 00 00 00 02"), ErrAddress, "data unit: address at byte 1: wrong address: 00000000016A: must be 12 digits"},
		"count":            {framed(t, down(0x03, 3), "00 11"), ErrValue, "data unit: count at byte 1: value out of range: 17, 16 is the limit"},
		"attached":         {framed(t, up(0x06, 4), "01 61 01 00 00 00 00 02 05 00 00 21 00"), ErrValue, "data unit: attachedInAll at byte 11: value out of range: 33, 32 is the limit"},
		"65 phases":        {framed(t, up(0x10, 31), "41 00 01 00 41"), ErrValue, "data unit: nodes at byte 4: value out of range: 65, 64 is the limit"},
		"nodes announced":  {framed(t, up(0x10, 2), "02 00 02 61 01 00 00 00 00 00 00"), ErrCut, "data unit: address at byte 11: ends too early: 6 bytes needed, 0 there"},
		"no digits":        {framed(t, down(0x14, 2), "3A 00 00 01 01 26"), ErrValue, "data unit: time at byte 0: value out of range: 26-01-01 00:00:3A is no time"},
		"month":            {framed(t, down(0x14, 2), "30 00 00 01 13 26"), ErrValue, "data unit: time at byte 0: value out of range: 26-13-01 00:00:30 is no time"},
		"power of a meter": {framed(t, up(0x06, 5), "02 04 06 01 61 01 00 00 00"), ErrCut, "data unit: address at byte 4: ends too early: 6 bytes needed, 5 there"},
	} {
		e, err := Explain(c.frame, nil)
		if !errors.Is(err, c.err) || err.Error() != c.says {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
		if e == nil || e.AFN == "" || e.Checksum == "" {
			t.Errorf("%s: not explained as far as it goes", name)
		}
	}
	for _, broken := range []string{"", "68", pauseRead[:20], "69" + pauseRead[2:], pauseRead + "00"} {
		if e, err := Explain(unhex(t, broken), nil); e != nil || err == nil {
			t.Errorf("%q: %v, %v", broken, e, err)
		}
	}
}

func TestExplain_Checksum(t *testing.T) {
	e, err := Explain(unhex(t, negative), nil)
	if !errors.Is(err, ErrChecksum) || e == nil || e.Checksum != "61H, wrong: should be 62H" || e.Fn != "F1 read meters concurrently" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestExplain_CarriedIsBroken(t *testing.T) {
	reason := errors.New("of the meter's own")
	asked := 0
	e, err := Explain(unhex(t, golden[0].frame), func(p Protocol, frame []byte) (any, error) {
		asked++
		if p != DLT645 || !bytes.Equal(frame, unhex(t, one645)) {
			t.Errorf("asked for % X of %v", frame, p)
		}
		return nil, reason
	})
	if !errors.Is(err, reason) || !strings.HasPrefix(err.Error(), "carried frame 1: ") || asked != 1 || e == nil {
		t.Error(err, asked)
	}
}

func TestExplain_Notes(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		note  string
	}{
		"14 frames":  {unhex(t, tooMany), "denied with code 110: more meter frames in one frame than allowed: 14 frames, 13 are the limit"},
		"failure":    {unhex(t, golden[5].frame), "the module could not read meter 000009285772"},
		"reversed":   {unhex(t, golden[4].frame), "of another meter: of 222202005002, not of 025000022222: the address field has it the other way round"},
		"no address": {framed(t, place{AFNMonitor, 1, false}, "02 00 00 00"), "there is no address field"},
	} {
		e, err := Explain(c.frame, nil)
		if err != nil || !slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, c.note) }) {
			t.Errorf("%s: %q, %v", name, e.Notes, err)
		}
	}
	if e, err := Explain(unhex(t, golden[0].frame), nil); err != nil || len(e.Notes) > 0 {
		t.Error(e.Notes, err)
	}
}
