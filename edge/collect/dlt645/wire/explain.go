package wire

import (
	"errors"
	"fmt"
	"strings"
)

// Explanation says what a frame is, in words.
type Explanation struct {
	Protocol string   `json:"protocol"`
	Preamble int      `json:"preamble"` // FE before the frame
	Address  string   `json:"address"`
	Whose    string   `json:"whose"` // what kind of address it is
	Control  string   `json:"control"`
	Sender   string   `json:"sender"`            // master or meter
	More     bool     `json:"more,omitempty"`    // another frame follows
	Refused  []string `json:"refused,omitempty"` // what a meter says is wrong
	Length   int      `json:"length"`
	Data     string   `json:"data"` // plain, in hex
	Checksum string   `json:"checksum"`
}

// Explain says what one frame is, with or without preamble. Of a broken one it
// says as much as can be said, and the error why it is broken.
func Explain(b []byte) (*Explanation, error) {
	e := &Explanation{Protocol: "DL/T 645-2007", Preamble: Preamble(b)}
	b = b[e.Preamble:]
	var f Frame
	err := f.Decode(b)
	e.Checksum = checksumOf(b)
	switch {
	case errors.Is(err, ErrChecksum):
		repaired := append([]byte(nil), b...)
		repaired[len(b)-2] = sum(b[:len(b)-2])
		if f.Decode(repaired) != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	e.describe(&f)
	return e, err
}

func checksumOf(b []byte) string {
	if len(b) < overhead || len(b) != overhead+int(b[9]) {
		return ""
	}
	want, got := sum(b[:len(b)-2]), b[len(b)-2]
	if want != got {
		return fmt.Sprintf("%02XH, wrong: should be %02XH", got, want)
	}
	return fmt.Sprintf("%02XH, right", got)
}

func (e *Explanation) describe(f *Frame) {
	e.Address, e.Whose = f.Address.String(), whose(f.Address)
	e.Control, e.Sender, e.More = f.Control.String(), "master", f.Control.More()
	e.Length, e.Data = len(f.Data()), fmt.Sprintf("% X", f.Data())
	if f.Control.IsAnswer() {
		e.Sender = "meter"
	}
	if f.Control.Refused() && len(f.Data()) > 0 {
		e.Refused = MeterError(f.Data()[0]).Bits()
	}
}

func whose(a Address) string {
	switch n := a.Padding(); {
	case a == Broadcast:
		return "broadcast: everybody, and nobody answers"
	case n == len(a):
		return "wildcard: whichever meter hears it"
	case n > 0:
		return "abbreviated: meters whose address ends in " + strings.TrimLeft(a.String(), "A")
	}
	return "one meter"
}
