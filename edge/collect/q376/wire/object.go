package wire

import (
	"bytes"
	"encoding/json"
)

// Member is a name and what it stands for: text, a number, an Object, or a list.
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

// add appends a member to an object that is wanted.
func (o *Object) add(name string, value func() any) {
	if o != nil {
		*o = append(*o, Member{name, value()})
	}
}
