package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// explainer spells out the nodes of a message. of is the attribute that data at
// hand are of; 0 is none.
type explainer struct {
	m       *Message
	of      ObjectAttribute
	columns []ObjectAttribute // of the record at hand
}

// value spells out node i.
func (x *explainer) value(i int) any {
	n := &x.m.Nodes[i]
	switch n.Kind {
	case KindSequence, Region, COMDCB, SID, SIDMAC:
		return x.fields(i)
	case KindList, RCSD, Array, Structure:
		return x.tagged(n, x.elements(i))
	case KindRow:
		return x.row(i)
	case KindOptional:
		if n.Num == 0 {
			return nil
		}
		return x.value(i + 1)
	case KindChoice, RSD, MS:
		return x.tagged(n, x.choice(i))
	case CSD:
		return x.value(i + 1)
	}
	return x.leaf(i)
}

// tagged keeps the data type of composed data.
func (x *explainer) tagged(n *Node, v any) any {
	if !n.Tagged {
		return v
	}
	return Object{{"type", n.Kind.String()}, {"value", v}}
}

func (x *explainer) choice(i int) any {
	chosen := &x.m.Nodes[i+1]
	if chosen.Kind == Null && !chosen.Tagged {
		return chosen.Name
	}
	return Object{{chosen.Name, x.value(i + 1)}}
}

func (x *explainer) fields(i int) any {
	o := Object{}
	before, columns := x.of, x.columns
	for c := range x.m.Children(i) {
		n := &x.m.Nodes[c]
		switch {
		case n.Kind == OAD && !n.Tagged && n.Name == "oad":
			x.of = ObjectAttribute(n.Num)
		case n.Kind == RCSD && n.Name == "columns":
			x.columns = x.columnsOf(c)
		}
		o = append(o, Member{n.Name, x.value(c)})
	}
	x.of, x.columns = before, columns
	if n := &x.m.Nodes[i]; n.Tagged {
		return Object{{"type", n.Kind.String()}, {"value", o}}
	}
	return o
}

func (x *explainer) elements(i int) any {
	list := []any{}
	for c := range x.m.Children(i) {
		list = append(list, x.value(c))
	}
	return list
}

// columnsOf returns what each datum of a row is of.
func (x *explainer) columnsOf(rcsd int) (columns []ObjectAttribute) {
	for c := range x.m.Children(rcsd) {
		at := c + 1
		if x.m.Nodes[at].Kind != ROAD {
			columns = append(columns, ObjectAttribute(x.m.Nodes[at].Num))
			continue
		}
		if !x.m.flat {
			columns = append(columns, 0)
			continue
		}
		for o := range x.m.Children(at + 2) {
			columns = append(columns, ObjectAttribute(x.m.Nodes[o].Num))
		}
	}
	return columns
}

func (x *explainer) row(i int) any {
	list, k, before := []any{}, 0, x.of
	for c := range x.m.Children(i) {
		if x.of = 0; k < len(x.columns) {
			x.of = x.columns[k]
		}
		k++
		if v, ok := x.value(c).(Object); ok && x.of != 0 {
			list = append(list, append(Object{{"column", describeOAD(x.of)}}, v...))
			continue
		}
		list = append(list, x.value(c))
	}
	x.of = before
	return list
}

// leaf spells out a node that holds no others, but for ROAD, TI and Scaler_Unit,
// which are written as one.
func (x *explainer) leaf(i int) any {
	n := &x.m.Nodes[i]
	if !n.Tagged {
		return x.plain(i)
	}
	o := Object{{"type", n.Kind.String()}}
	switch n.Kind {
	case Null:
		return append(o, Member{"value", nil})
	case Integer, Long, DoubleLong, Long64, Unsigned, LongUnsigned, DoubleLongUnsigned, Long64Unsigned:
		exponent, unit, ok := x.of.scale()
		if !ok {
			return append(o, Member{"value", plainNumber(n)})
		}
		o = append(o, Member{"raw", plainNumber(n)}, Member{"value", decimal(n, exponent)})
		if unit != "" {
			o = append(o, Member{"unit", unit})
		}
		return o
	}
	return append(o, Member{"value", x.plain(i)})
}

// plain spells out a node without its type.
func (x *explainer) plain(i int) any {
	n := &x.m.Nodes[i]
	switch n.Kind {
	case Null:
		return nil
	case Bool:
		return n.Num != 0
	case KindPIID:
		return explainPIID(byte(n.Num))
	case KindDAR:
		return Object{{"code", n.Num}, {"meaning", DAR(n.Num).String()}}
	case OAD:
		return describeOAD(ObjectAttribute(n.Num))
	case OMD:
		return describeOMD(uint32(n.Num))
	case OI:
		return fmt.Sprintf("%04X", n.Num)
	case ROAD:
		return Object{{"oad", x.plain(i + 1)}, {"related", x.elements(i + 2)}}
	case TI:
		return fmt.Sprintf("%d %s", x.m.Nodes[i+2].Num, TIUnit(x.m.Nodes[i+1].Num))
	case ScalerUnit:
		return Object{{"exponent", int8(x.m.Nodes[i+1].Num)}, {"unit", unitName(byte(x.m.Nodes[i+2].Num))}}
	case Float32, Float64:
		return explainFloat(n)
	case Enum:
		return x.explainEnum(n)
	case DateTime, Date, Time, DateTimeS:
		return explainTime(n)
	case BitString:
		return explainBits(n)
	case KindFixed:
		if n.Name == "manufacturer" && utf8.Valid(n.Bytes) {
			return strings.TrimRight(string(n.Bytes), "\x00")
		}
	case VisibleString, UTF8String:
		if utf8.Valid(n.Bytes) {
			return string(n.Bytes)
		}
	}
	if n.Bytes != nil {
		return hexText(n.Bytes)
	}
	return plainNumber(n)
}

func plainNumber(n *Node) any {
	if v, ok := n.Int(); ok {
		return v
	}
	return n.Num
}

func explainPIID(b byte) Object {
	priority := "normal"
	if b&0x80 != 0 {
		priority = "high"
	}
	return Object{{"service", b & 0x3f}, {"priority", priority}, {"acd", b&0x40 != 0}}
}

func describeOAD(o ObjectAttribute) any {
	name := o.Name()
	if name == "" {
		return o.String()
	}
	return fmt.Sprintf("%s (%s)", o, name)
}

func describeOMD(n uint32) any {
	known, ok := describe(uint16(n >> 16))
	if !ok {
		return fmt.Sprintf("%08X", n)
	}
	return fmt.Sprintf("%08X (%s, method %d)", n, known.name, byte(n>>8))
}

func unitName(n byte) string {
	if name, ok := units[n]; ok {
		return name
	}
	return fmt.Sprintf("unit %d", n)
}

func (x *explainer) explainEnum(n *Node) any {
	names := words[n.Name]
	if n.Name == "result" {
		names = connectResults
		if x.m.Nodes[0].Num == ReleaseResponse {
			names = map[uint64]string{0: "released"}
		}
	}
	if word, ok := names[n.Num]; ok && !n.Tagged {
		return fmt.Sprintf("%d (%s)", n.Num, word)
	}
	return n.Num
}

func explainFloat(n *Node) any {
	v := n.Float()
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprint(v) // JSON has no such numbers
	}
	if n.Kind == Float32 {
		return float32(v)
	}
	return v
}

// explainTime writes a time; parts that are FF are not given.
func explainTime(n *Node) string {
	p := n.Bytes
	date := func() string {
		return part(int(binary.BigEndian.Uint16(p)), 0xffff, "%04d") + "-" + part(int(p[2]), 0xff, "%02d") + "-" + part(int(p[3]), 0xff, "%02d")
	}
	clock := func(p []byte) string {
		return part(int(p[0]), 0xff, "%02d") + ":" + part(int(p[1]), 0xff, "%02d") + ":" + part(int(p[2]), 0xff, "%02d")
	}
	switch n.Kind {
	case Time:
		return clock(p)
	case Date:
		return date()
	case DateTimeS:
		return date() + " " + clock(p[4:])
	}
	return date() + " " + clock(p[5:]) + "." + part(int(binary.BigEndian.Uint16(p[8:])), 0xffff, "%03d")
}

func part(v, missing int, format string) string {
	if v == missing {
		return "*"
	}
	return fmt.Sprintf(format, v)
}

// explainBits writes a bit string, the first bit first.
func explainBits(n *Node) string {
	bits := make([]byte, n.Num)
	for i := range bits {
		bits[i] = '0' + n.Bytes[i/8]>>(7-i%8)&1
	}
	return string(bits)
}
