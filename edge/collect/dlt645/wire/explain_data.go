package wire

import (
	"errors"
	"fmt"
)

// explainData says what the data of a frame means.
func (e *Explanation) explainData(f *Frame) {
	data := f.Data()
	if f.Control.Refused() {
		e.explainRefusal(f)
		return
	}
	switch f.Control.Function() {
	case Read, ReadMore:
		e.explainRead(f)
	case Read1997:
		e.explain1997(data)
	case ReadAddress, WriteAddress:
		e.take(data, Part{Name: "address", Bytes: len(Address{})})
	case BroadcastTime:
		e.take(data, Part{Name: "time", Layout: Seconds})
	case Freeze:
		if len(data) == 4 {
			e.add("freeze", FreezeTime(data).String(), "", data)
			return
		}
		e.rest(data)
	case SetSpeed:
		e.explainSpeed(data)
	case Write, SetPassword, ClearDemand, ClearMeter, ClearEvents:
		e.explainChange(f)
	default:
		e.rest(data)
	}
}

func (e *Explanation) explainRefusal(f *Frame) {
	word, err := f.Refusal()
	if err != nil {
		e.Note = "a refusal has one byte of data, the error word"
		e.rest(f.Data())
		return
	}
	e.Refused = word.Bits()
	e.add("error word", fmt.Sprintf("%02XH", byte(word)), "", f.Data())
}

// add adds a field.
func (e *Explanation) add(name, value, unit string, raw []byte) {
	e.Fields = append(e.Fields, Field{Name: name, Value: value, Unit: unit, Raw: fmt.Sprintf("% X", raw)})
}

// rest adds what is left and means nothing here.
func (e *Explanation) rest(data []byte) {
	if len(data) > 0 {
		e.add("not explained", "", "", data)
	}
}

// identify takes the identifier off the data.
func (e *Explanation) identify(data []byte) (DI, []byte, bool) {
	d, rest, err := DIOf(data)
	if err != nil {
		e.Note = "a data identifier should be here: " + err.Error()
		e.rest(data)
		return 0, nil, false
	}
	e.DI = d.String()
	if it, ok := Lookup(d); ok {
		e.Item = it.Name
	} else if d.part(3) == recordDI {
		e.Item = "load record"
	} else {
		e.Item = "not known here"
	}
	return d, rest, true
}

const recordDI = 0x06 // DI3 of load records

func (e *Explanation) explainRead(f *Frame) {
	d, data, ok := e.identify(f.Data())
	switch {
	case !ok:
	case !f.Control.IsAnswer():
		e.explainAsked(f.Control.Function(), d, data)
	default:
		if f.Control.Function() == ReadMore && len(data) > 0 {
			last := data[len(data)-1:]
			defer func() { e.add("follow-up number", fmt.Sprint(last[0]), "", last) }()
			data = data[:len(data)-1]
		}
		if f.Control.Function() == ReadMore || f.Control.More() {
			e.Note = "part of an answer in several frames: values may go over from one to the next"
		}
		e.explainValue(d, data)
	}
}

// explainAsked explains what comes after the identifier in a request.
func (e *Explanation) explainAsked(c Control, d DI, data []byte) {
	switch {
	case c == ReadMore && len(data) == 1:
		e.add("follow-up number", fmt.Sprint(data[0]), "", data)
	case d.part(3) == recordDI && len(data) > 0:
		e.add("records", fmt.Sprintf("%X", data[0]), "", data[:1])
		if len(data) > 1 {
			e.take(data[1:], Part{Name: "from", Layout: Minutes})
		}
	default:
		e.rest(data)
	}
}

// explainValue explains what comes after the identifier in an answer.
func (e *Explanation) explainValue(d DI, data []byte) {
	if d.part(3) == recordDI {
		e.explainRecords(data)
		return
	}
	it, ok := Lookup(d)
	if !ok {
		e.rest(data)
		return
	}
	if it.Labels == nil {
		e.take(data, it.Parts...)
		return
	}
	for i := 0; len(data) >= it.Size() && i < len(it.Labels); i++ {
		for _, p := range it.Parts {
			p.Name += ", " + it.Labels[i]
			e.value(p, data[:p.Size()])
			data = data[p.Size():]
		}
	}
	e.rest(data)
}

// take explains data that is made of parts.
func (e *Explanation) take(data []byte, parts ...Part) {
	if len(data) == 0 {
		return // requests and confirmations have none
	}
	for _, p := range parts {
		if len(data) < p.Size() {
			break
		}
		e.value(p, data[:p.Size()])
		data = data[p.Size():]
	}
	e.rest(data)
}

// value explains one part.
func (e *Explanation) value(p Part, raw []byte) {
	field := Field{Name: p.Name, Unit: p.Unit, Raw: fmt.Sprintf("% X", raw)}
	var err error
	switch {
	case p.Layout != "":
		var s Stamp
		if s, err = p.Layout.Decode(raw); err == nil {
			field.Value = p.Layout.Text(s)
		}
	case p.Format.Digits > 0:
		var n Number
		if n, err = p.Format.Decode(raw); err == nil {
			field.Value = n.String()
		}
	case len(raw) == len(Address{}):
		field.Value = Address(raw).String()
	}
	switch {
	case errors.Is(err, ErrMissing):
		field.Missing = true
	case err != nil:
		field.Problem = err.Error()
	}
	e.Fields = append(e.Fields, field)
}

func (e *Explanation) explainRecords(data []byte) {
	for i := 1; len(data) > 0; i++ {
		r, n, err := DecodeRecord(data)
		if err != nil {
			e.Fields = append(e.Fields, Field{Name: fmt.Sprintf("record %d", i), Problem: err.Error(), Raw: fmt.Sprintf("% X", data)})
			return
		}
		e.add(fmt.Sprintf("record %d at", i), Minutes.Text(r.At), "", data[3:recordHead])
		for class, c := range r.Classes {
			if len(c) > 0 {
				e.take(c, RecordParts[class]...)
			}
		}
		data = data[n:]
	}
}

func (e *Explanation) explain1997(data []byte) {
	if len(data) < 2 {
		e.rest(data)
		return
	}
	d := uint16(data[1])<<8 | uint16(data[0])
	e.DI = fmt.Sprintf("%04X", d)
	p, ok := instants1997[d>>4]
	if !ok {
		e.Item = "not known here"
		e.rest(data[2:])
		return
	}
	e.Item = fmt.Sprintf("%s, %X", p.Name, d&15)
	e.take(data[2:], p)
}

func (e *Explanation) explainSpeed(data []byte) {
	if len(data) != 1 {
		e.rest(data)
		return
	}
	if s := speedOf(data[0]); s > 0 {
		e.add("speed", fmt.Sprint(s), "baud", data)
		return
	}
	e.Fields = append(e.Fields, Field{Name: "speed", Problem: "is none", Raw: fmt.Sprintf("% X", data)})
}

// explainChange explains a request that needs a password. The password isn't
// told: explanations get into tickets and chats.
func (e *Explanation) explainChange(f *Frame) {
	data, function := f.Data(), f.Control.Function()
	if len(data) == 0 {
		return
	}
	e.Data = "not shown: has a password"
	if f.Control.IsAnswer() {
		return
	}
	if function == Write || function == SetPassword {
		_, rest, ok := e.identify(data)
		if !ok {
			return
		}
		data = rest
	}
	if len(data) < 8 {
		e.Note = "a password and an operator, or another password, should be here: 8 bytes"
		return
	}
	e.add("password level", fmt.Sprintf("%02X", data[0]), "", data[:1])
	if function == SetPassword {
		e.add("new password level", fmt.Sprintf("%02X", data[4]), "", data[4:5])
		return
	}
	e.add("operator", fmt.Sprintf("%02X%02X%02X%02X", data[7], data[6], data[5], data[4]), "", data[4:8])
	switch data = data[8:]; function {
	case Write:
		e.add("to write", "", "", data)
	case ClearEvents:
		e.identify(data)
	default:
		e.rest(data)
	}
}
