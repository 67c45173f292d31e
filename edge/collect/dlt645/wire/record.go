package wire

import (
	"bytes"
	"fmt"
)

// Record is one entry of the load record (appendix B). Its parts lie within the
// bytes it was read from; a class that isn't recorded is empty.
type Record struct {
	At      Stamp
	Classes [recordClasses][]byte
}

const (
	recordClasses = 6
	recordHead    = 8 // A0 A0 length time(5)
	separator     = 0xaa
	recordEnd     = 0xe5
	badRecord     = 0xe0
	goodRecord    = 0xa0
	reactiveClass = 4 // the one that some meters leave out altogether
)

// RecordParts is what the classes of a record hold.
var RecordParts = [recordClasses][]Part{
	{
		{Name: "voltage A", Unit: "V", Format: voltFormat}, {Name: "voltage B", Unit: "V", Format: voltFormat}, {Name: "voltage C", Unit: "V", Format: voltFormat},
		{Name: "current A", Unit: "A", Format: currentFormat}, {Name: "current B", Unit: "A", Format: currentFormat}, {Name: "current C", Unit: "A", Format: currentFormat},
		{Name: "frequency", Unit: "Hz", Format: hundredths},
	},
	{
		{Name: "active power total", Unit: "kW", Format: powerFormat}, {Name: "active power A", Unit: "kW", Format: powerFormat},
		{Name: "active power B", Unit: "kW", Format: powerFormat}, {Name: "active power C", Unit: "kW", Format: powerFormat},
		{Name: "reactive power total", Unit: "kvar", Format: powerFormat}, {Name: "reactive power A", Unit: "kvar", Format: powerFormat},
		{Name: "reactive power B", Unit: "kvar", Format: powerFormat}, {Name: "reactive power C", Unit: "kvar", Format: powerFormat},
	},
	{
		{Name: "power factor total", Format: ratioFormat}, {Name: "power factor A", Format: ratioFormat},
		{Name: "power factor B", Format: ratioFormat}, {Name: "power factor C", Format: ratioFormat},
	},
	{
		{Name: "forward active energy", Unit: "kWh", Format: energyFormat}, {Name: "reverse active energy", Unit: "kWh", Format: energyFormat},
		{Name: "combined reactive energy 1", Unit: "kvarh", Format: Format{8, 2, true}}, {Name: "combined reactive energy 2", Unit: "kvarh", Format: Format{8, 2, true}},
	},
	{
		{Name: "reactive energy quadrant 1", Unit: "kvarh", Format: energyFormat}, {Name: "reactive energy quadrant 2", Unit: "kvarh", Format: energyFormat},
		{Name: "reactive energy quadrant 3", Unit: "kvarh", Format: energyFormat}, {Name: "reactive energy quadrant 4", Unit: "kvarh", Format: energyFormat},
	},
	{
		{Name: "active demand", Unit: "kW", Format: powerFormat}, {Name: "reactive demand", Unit: "kvar", Format: powerFormat},
	},
}

func classSize(class int) int { return Item{Parts: RecordParts[class]}.Size() }

// DecodeRecord reads the load record that b begins with, and says how many bytes
// it has. Meters differ in whether they have a class for the four quadrants, and
// in what they count as its length: so the separators and the checksum tell
// where it ends.
func DecodeRecord(b []byte) (r Record, n int, err error) {
	if len(b) >= 2 && b[0] == badRecord && b[1] == badRecord {
		return r, 0, fmt.Errorf("%w: the meter says that it can't be read", ErrRecord)
	}
	if len(b) < recordHead {
		return r, 0, fmt.Errorf("%w: %w: %d bytes", ErrRecord, ErrShort, len(b))
	}
	if b[0] != goodRecord || b[1] != goodRecord {
		return r, 0, fmt.Errorf("%w: begins with % X, not A0 A0", ErrRecord, b[:2])
	}
	if r.At, err = Minutes.Decode(b[3:recordHead]); err != nil {
		return r, 0, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	at, checked := recordHead, false
	for class := range recordClasses {
		size := bytes.IndexByte(b[at:], separator)
		if size < 0 {
			return Record{}, 0, fmt.Errorf("%w: %w: no separator after class %d", ErrRecord, ErrShort, class+1)
		}
		r.Classes[class] = b[at : at+size]
		at += size + 1
		if class >= reactiveClass && len(b) >= at+2 && b[at+1] == recordEnd {
			checked = true
			if sum(b[:at]) == b[at] {
				return r.settle(class+1, at+2)
			}
		}
	}
	if checked {
		return Record{}, 0, fmt.Errorf("%w: %w", ErrRecord, ErrChecksum)
	}
	return Record{}, 0, fmt.Errorf("%w: no end after %d classes", ErrRecord, recordClasses)
}

// settle puts the classes in their places, and makes sure that they have the
// right sizes.
func (r Record) settle(classes, n int) (Record, int, error) {
	if classes < recordClasses {
		r.Classes[recordClasses-1], r.Classes[reactiveClass] = r.Classes[reactiveClass], nil
	}
	for i, c := range r.Classes {
		if len(c) != 0 && len(c) != classSize(i) {
			return Record{}, 0, fmt.Errorf("%w: %w: class %d has %d bytes, not %d", ErrRecord, ErrLength, i+1, len(c), classSize(i))
		}
	}
	return r, n, nil
}

// Append appends a record of all six classes. As its length it gives the bytes
// between that and the checksum.
func (r Record) Append(dst []byte) ([]byte, error) {
	from := len(dst)
	dst = append(dst, goodRecord, goodRecord, 0)
	dst, err := Minutes.Append(dst, r.At)
	if err != nil {
		return dst[:from], err
	}
	for i, c := range r.Classes {
		if len(c) != 0 && len(c) != classSize(i) {
			return dst[:from], fmt.Errorf("%w: %w: class %d has %d bytes, not %d", ErrRecord, ErrLength, i+1, len(c), classSize(i))
		}
		dst = append(append(dst, c...), separator)
	}
	dst[from+2] = byte(len(dst) - from - 3)
	return append(dst, sum(dst[from:]), recordEnd), nil
}
