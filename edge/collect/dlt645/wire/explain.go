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
	DI       string   `json:"di,omitempty"`
	Item     string   `json:"item,omitempty"` // what the identifier stands for
	Fields   []Field  `json:"fields,omitempty"`
	Note     string   `json:"note,omitempty"`
	Checksum string   `json:"checksum"`
}

// Field is one value within the data of a frame.
type Field struct {
	Name    string `json:"name"`
	Value   string `json:"value,omitempty"`
	Unit    string `json:"unit,omitempty"`
	Missing bool   `json:"missing,omitempty"` // the meter has no value
	Problem string `json:"problem,omitempty"` // why the bytes are no value
	Raw     string `json:"raw"`               // plain, in the order on the wire
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
	if len(b) < Overhead || len(b) != Overhead+int(b[9]) {
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
	if f.Control.Function() == Read1997 || f.Control.Function() == Write1997 {
		e.Protocol = "DL/T 645-1997"
	}
	e.explainData(f)
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

// Rows says the same as a table of names and values.
func (e *Explanation) Rows() [][]string {
	rows := [][]string{
		{"protocol", e.Protocol}, {"preamble", fmt.Sprint(e.Preamble)}, {"address", e.Address + ", " + e.Whose}, {"control", e.Control},
		{"sender", e.Sender}, {"length", fmt.Sprint(e.Length)}, {"data", e.Data},
	}
	if e.DI != "" {
		rows = append(rows, []string{"identifier", strings.TrimSpace(e.DI + " " + e.Item)})
	}
	for _, f := range e.Fields {
		rows = append(rows, []string{f.Name, f.text()})
	}
	for _, r := range e.Refused {
		rows = append(rows, []string{"refused", r})
	}
	if e.More {
		rows = append(rows, []string{"more", "another frame follows"})
	}
	if e.Note != "" {
		rows = append(rows, []string{"note", e.Note})
	}
	return append(rows, []string{"checksum", e.Checksum})
}

func (f Field) text() string {
	value := strings.TrimSpace(f.Value + " " + f.Unit)
	switch {
	case f.Missing:
		value = "missing: the meter has no value"
	case f.Problem != "":
		value = "no value: " + f.Problem
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%s)", value, f.Raw))
}
