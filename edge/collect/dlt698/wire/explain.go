package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Member is a name and what it stands for: text, a number, a bool, nil, an
// Object or a list of such.
type Member struct {
	Name  string
	Value any
}

// Object is members in their order on the wire.
type Object []Member

// MarshalJSON keeps the order.
func (o Object) MarshalJSON() ([]byte, error) {
	b := bytes.NewBufferString("{")
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Explanation is what a frame says.
type Explanation struct {
	Frame    Object  `json:"frame"`
	Fragment *Object `json:"fragment,omitempty"` // in place of APDU, which is whole only with all fragments
	APDU     *Object `json:"apdu,omitempty"`
}

// Explain spells out a frame, with or without a preamble of FE. Of one that is
// wrong it returns what can be said for sure, or nil, and the reason.
func Explain(p []byte) (*Explanation, error) {
	p = bytes.TrimLeft(p, "\xfe")
	var f Frame
	err := f.Decode(p)
	if errors.Is(err, ErrStart) || f.Server.Len == 0 {
		return nil, err
	}
	e := &Explanation{Frame: explainFrame(&f, p, err)}
	if err != nil {
		return e, err
	}
	if f.Fragmented {
		var part Fragment
		if err := part.Decode(f.Data); err != nil {
			return e, err
		}
		e.Fragment = &Object{{"kind", part.Kind.String()}, {"index", part.Index}, {"part", hexText(part.Part)}}
		return e, nil
	}
	apdu, err := ExplainAPDU(f.Data)
	e.APDU = apdu
	return e, err
}

// ExplainAPDU spells out an application unit.
func ExplainAPDU(p []byte) (*Object, error) { return explainAPDU(p, 0) }

// maxWrapped is how many security wrappers within each other are opened.
const maxWrapped = 3

func explainAPDU(p []byte, level int) (*Object, error) {
	if level > maxWrapped {
		return nil, syntax(0, "unit", ErrTooDeep, "at most %d wrappers", maxWrapped)
	}
	var m Message
	if err := m.Decode(p); err != nil {
		return nil, err
	}
	x := explainer{m: &m}
	o := Object{{m.Nodes[1].Name, x.value(1)}}
	if at := m.Find(1, "unit", "plain"); at >= 0 {
		inner, err := explainAPDU(m.Nodes[at].Bytes, level+1)
		if err != nil {
			return &o, fmt.Errorf("plain unit within: %w", err)
		}
		o = append(o, Member{"plain", *inner})
	}
	return &o, nil
}

func explainFrame(f *Frame, p []byte, err error) Object {
	direction, begun := "to the server", "by the server"
	if f.FromServer {
		direction = "from the server"
	}
	if f.ByClient {
		begun = "by the client"
	}
	o := Object{
		{"length", len(p) - 2}, {"direction", direction}, {"begun", begun}, {"function", f.Function.String()},
		{"fragment", f.Fragmented}, {"scrambled", f.Scrambled},
		{"server", Object{{"type", f.Server.Type.String()}, {"logical", f.Server.Logical}, {"address", f.Server.Digits()}}},
		{"client", f.Client},
	}
	head := 5 + int(f.Server.Len) + 1
	o = append(o, Member{"hcs", fmt.Sprintf("%04X, right", binary.LittleEndian.Uint16(p[head:]))})
	switch {
	case err == nil:
		o = append(o, Member{"fcs", fmt.Sprintf("%04X, right", binary.LittleEndian.Uint16(p[len(p)-3:]))})
	case errors.Is(err, ErrFCS):
		o = append(o, Member{"fcs", fmt.Sprintf("%04X, wrong: computed %04X", binary.LittleEndian.Uint16(p[len(p)-3:]), Checksum(p[1:len(p)-3]))})
	}
	return o
}

func hexText(p []byte) string { return fmt.Sprintf("%X", p) }
