package station

import (
	"time"

	"gnomon/edge/collect/dlt645/wire"
)

// The refusals of a DL/T 645 meter.
const (
	otherError = 0x01
	noSuchData = 0x02
)

// quantity645 is what an identifier stands for, and how many bytes it has.
func quantity645(di wire.DI) (q quantity, size int, ok bool) {
	group, kind, part, last := byte(di>>24), int(di>>16&0xff), int(di>>8&0xff), byte(di)
	switch {
	case group == 0 && kind < kinds && last == 0:
		return quantity{energy + measure(kind), part}, 4, part <= 4
	case group == 1 && kind >= 1 && kind <= 2 && last == 0:
		return quantity{demand + measure(kind), part}, 3, part <= 4
	case group == 2 && kind == 0x80 && part == 0 && last == 1:
		return quantity{neutral, 0}, 3, true
	case group == 2 && kind == 0x80 && part == 0 && last == 2:
		return quantity{frequency, 0}, 2, true
	case group == 2 && kind >= 1 && kind <= 7 && last == 0:
		sizes := [...]struct {
			what measure
			size int
		}{{}, {voltage, 2}, {current, 3}, {power, 3}, {reactive, 3}, {apparent, 3}, {factor, 2}, {angle, 2}}
		return quantity{sizes[kind].what, part}, sizes[kind].size, part <= 3
	}
	return quantity{}, 0, false
}

// answer645 is what a DL/T 645 meter says.
func (m *Meter) answer645(frame []byte, now time.Time) []byte {
	var f wire.Frame
	if f.Decode(frame[wire.Preamble(frame):]) != nil || !f.Address.Matches(wire.Address(m.Address)) || f.Control.IsAnswer() {
		return nil
	}
	reply := wire.Frame{Address: wire.Address(m.Address), Control: f.Control.Answer()}
	var data []byte
	switch f.Control {
	case wire.ReadAddress:
		data = m.Address[:]
	case wire.Read:
		di, asked, err := wire.DIOf(f.Data())
		var more bool
		if err == nil {
			data, more = m.part645(m.data645(di, asked, now))
		}
		reply.Control = goesOn(reply.Control, more)
	case wire.ReadMore:
		di, number, err := wire.DIOf(f.Data())
		var more bool
		if err == nil {
			data, more = m.rest645(di, number)
		}
		reply.Control = goesOn(reply.Control, more)
	default: // nothing is written
		reply.Control, data = f.Control.Refusal(), []byte{otherError}
	}
	if data == nil {
		reply.Control, data = f.Control.Refusal(), []byte{noSuchData}
	}
	if reply.SetData(data) != nil {
		return nil
	}
	return reply.Append(nil, 0)
}

// goesOn is the control code of an answer, whether or not more follows.
func goesOn(c wire.Control, more bool) wire.Control {
	if more {
		return c.WithMore()
	}
	return c
}

// data645 is an identifier and its value; nil if the meter doesn't have it.
func (m *Meter) data645(di wire.DI, asked []byte, now time.Time) []byte {
	t := m.clock(now)
	out := di.Append(nil)
	switch {
	case di == 0x04000101:
		return append(out, bcd(int64(t.Weekday()), 1)[0], bcd(int64(t.Day()), 1)[0], bcd(int64(t.Month()), 1)[0], bcd(int64(t.Year()%100), 1)[0])
	case di == 0x04000102:
		return append(out, bcd(int64(t.Second()), 1)[0], bcd(int64(t.Minute()), 1)[0], bcd(int64(t.Hour()), 1)[0])
	case di == 0x04000401:
		return append(out, m.Address[:]...)
	case di>>24 == 0x06:
		return m.load645(di, asked, now)
	case di>>16 == 0x0506:
		return m.frozen645(out, di, now)
	case di>>8&0xff == 0xff:
		return m.block645(out, di, t)
	}
	q, size, ok := quantity645(di)
	if !ok {
		return nil
	}
	v, ok := m.value(q, t)
	if !ok {
		return nil
	}
	return m.number645(out, q, v, size)
}

// number645 appends a value, and to a demand the time it occurred.
func (m *Meter) number645(out []byte, q quantity, v int64, size int) []byte {
	out = append(out, bcd(v, size)...)
	if q.what >= demand {
		out = append(out, 0x00, 0x12, 0x01, 0x01, 0x26)
	}
	return out
}

// block645 is a whole block: as many values as the meter has.
func (m *Meter) block645(out []byte, di wire.DI, t time.Time) []byte {
	from := len(out)
	first := 1
	if group, kind := di>>24, di>>16&0xff; group < 2 || kind >= 3 && kind <= 6 {
		first = 0
	}
	for part := first; part <= 4; part++ {
		q, size, ok := quantity645(di&^0xff00 | wire.DI(part)<<8)
		if !ok {
			break
		}
		v, ok := m.value(q, t)
		if !ok {
			break
		}
		out = m.number645(out, q, v, size)
	}
	if len(out) == from {
		return nil
	}
	return out
}

// frozen645 is a daily freeze: its time, or the energies of then.
func (m *Meter) frozen645(out []byte, di wire.DI, now time.Time) []byte {
	kind, nth := byte(di>>8), int(di&0xff)
	if nth < 1 || nth > 62 || kind > 2 {
		return nil
	}
	at := m.frozenAt(false, nth, now)
	if kind == 0 {
		return append(out, 0, 0, bcd(int64(at.Day()), 1)[0], bcd(int64(at.Month()), 1)[0], bcd(int64(at.Year()%100), 1)[0])
	}
	for part := range 5 {
		v, _ := m.value(quantity{energy + measure(kind), part}, at)
		out = append(out, bcd(v, 4)...)
	}
	return out
}

// bcd are the last digits of n, the lowest first.
func bcd(n int64, size int) []byte {
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(n%10) | byte(n/10%10)<<4
		n /= 100
	}
	return out
}
