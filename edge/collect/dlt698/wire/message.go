package wire

import (
	"encoding/binary"
	"iter"
	"math"
)

// Limits of one APDU.
const (
	MaxDepth = 24   // of nodes within nodes
	MaxNodes = 8192 // of a Message
)

// Node is a piece of an APDU. Nodes lie in one slice, each before those it is
// made of.
type Node struct {
	Name   string // of the field or choice; "" for elements of lists
	Num    uint64 // the number (two's complement), float's bits, count of elements, tag of a choice, bits of a bit string
	Bytes  []byte // of strings, times and fixed octets
	Size   int32  // nodes in this one, itself included
	Kind   Kind
	Tagged bool // its type stands before it
	Wide   byte // bytes of the length after 81H or 82H, where it was not written the shortest way
}

// Message is a decoded APDU. It can be used again and again, then without
// allocating.
type Message struct {
	Nodes []Node
	src   []byte
	at    int
	width int  // data in a row of the record at hand
	flat  bool // columns that relate several OADs have a datum for each
}

// Decode reads an APDU that fills p, which the message points into from then on.
//
// A row of a record has one datum for each column. Of columns that relate
// several OADs some devices send one datum for each of those instead; that is
// tried where the first reading doesn't fit.
func (m *Message) Decode(p []byte) error {
	m.flat = false
	err := m.decode(p)
	if err != nil && m.related() {
		m.flat = true
		if m.decode(p) == nil {
			return nil
		}
		m.flat = false
	}
	return err
}

// related tells whether a column of several OADs was seen.
func (m *Message) related() bool {
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Kind == ROAD && !n.Tagged {
			return true
		}
	}
	return false
}

func (m *Message) decode(p []byte) error {
	m.Nodes, m.src, m.at, m.width = m.Nodes[:0], p, 0, 0
	if err := m.read(unit, "apdu", 0); err != nil {
		return err
	}
	if m.at < len(p) {
		return syntax(m.at, "apdu", ErrTrailing, "%d of %d bytes", len(p)-m.at, len(p))
	}
	return nil
}

// read decodes one form.
func (m *Message) read(of *form, name string, depth int) error {
	if depth > MaxDepth {
		return syntax(m.at, name, ErrTooDeep, "at most %d", MaxDepth)
	}
	if len(m.Nodes) >= MaxNodes {
		return syntax(m.at, name, ErrTooMany, "at most %d nodes", MaxNodes)
	}
	self := len(m.Nodes)
	m.Nodes = append(m.Nodes, Node{Name: name, Kind: of.kind})
	if of.kind == kindData {
		tag, err := m.number(name, 1)
		if err != nil {
			return err
		}
		if int(tag) >= len(dataForms) || dataForms[tag] == nil {
			return syntax(m.at-1, name, ErrUnknown, "%02X is no data type", tag)
		}
		of = dataForms[tag]
		m.Nodes[self].Kind, m.Nodes[self].Tagged = of.kind, true
	}
	if err := m.body(self, of, depth); err != nil {
		return err
	}
	m.Nodes[self].Size = int32(len(m.Nodes) - self)
	return nil
}

// body decodes what a node says, and those it is made of.
func (m *Message) body(self int, of *form, depth int) error {
	name := m.Nodes[self].Name
	if w := of.kind.width(); w > 0 {
		num, err := m.number(name, w)
		if of.kind.signed() {
			unused := 64 - 8*w
			num = uint64(int64(num<<unused) >> unused)
		}
		m.Nodes[self].Num = num
		return err
	}
	switch {
	case of.kind == Null:
		return nil
	case of.kind.octets() > 0:
		return m.bytes(self, of.kind.octets())
	case of.kind == KindFixed:
		return m.bytes(self, of.size)
	case of.kind == KindRow:
		return m.row(depth)
	case of.kind == KindOptional:
		return m.option(self, of, depth)
	case of.alts != nil:
		return m.choice(self, of, depth)
	case of.elem != nil:
		return m.elements(self, of, depth)
	case of.fields != nil:
		return m.fields(self, of, depth)
	}
	return m.text(self, of.kind)
}

func (m *Message) fields(self int, of *form, depth int) error {
	for i := range of.fields {
		if err := m.read(of.fields[i].form, of.fields[i].name, depth+1); err != nil {
			return err
		}
		if of == resultRecord && i == 1 {
			m.width = m.columns(self + 2) // behind the OAD
		}
	}
	return nil
}

func (m *Message) elements(self int, of *form, depth int) error {
	count, err := m.length(self)
	if err != nil {
		return err
	}
	m.Nodes[self].Num = uint64(count)
	for range count {
		if err := m.read(of.elem, "", depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (m *Message) choice(self int, of *form, depth int) error {
	name := m.Nodes[self].Name
	tag, err := m.number(name, 1)
	if err != nil {
		return err
	}
	m.Nodes[self].Num = tag
	for i := range of.alts {
		if uint64(of.alts[i].tag) == tag {
			return m.read(of.alts[i].form, of.alts[i].name, depth+1)
		}
	}
	return syntax(m.at-1, name, ErrUnknown, "%02X", tag)
}

func (m *Message) option(self int, of *form, depth int) error {
	name := m.Nodes[self].Name
	there, err := m.number(name, 1)
	if err != nil {
		return err
	}
	if there > 1 {
		return syntax(m.at-1, name, ErrUnknown, "%02X, must be 00 or 01", there)
	}
	m.Nodes[self].Num = there
	if there == 0 {
		return nil
	}
	return m.read(of.elem, name, depth+1)
}

// row decodes one record.
func (m *Message) row(depth int) error {
	for range m.width {
		if err := m.read(data, "", depth+1); err != nil {
			return err
		}
	}
	return nil
}

// columns returns how many data a row has under an RCSD.
func (m *Message) columns(rcsd int) (width int) {
	if !m.flat {
		return int(m.Nodes[rcsd].Num)
	}
	for c := range m.Children(rcsd) {
		width++
		if road := c + 1; m.Nodes[road].Kind == ROAD {
			related := road + 2 // behind its own OAD
			width += int(m.Nodes[related].Num) - 1
		}
	}
	return width
}

// number reads a big-endian number.
func (m *Message) number(name string, width int) (num uint64, err error) {
	if len(m.src)-m.at < width {
		return 0, syntax(m.at, name, ErrCut, "%d bytes needed, %d left", width, len(m.src)-m.at)
	}
	for _, b := range m.src[m.at : m.at+width] {
		num = num<<8 | uint64(b)
	}
	m.at += width
	return num, nil
}

func (m *Message) bytes(self, n int) error {
	if len(m.src)-m.at < n {
		return syntax(m.at, m.Nodes[self].Name, ErrCut, "%d bytes needed, %d left", n, len(m.src)-m.at)
	}
	m.Nodes[self].Bytes = m.src[m.at : m.at+n : m.at+n]
	m.at += n
	return nil
}

// text reads a string; of bits, as many bytes as they need.
func (m *Message) text(self int, kind Kind) error {
	n, err := m.length(self)
	if err != nil {
		return err
	}
	m.Nodes[self].Num = uint64(n)
	if kind == BitString {
		n = (n + 7) / 8
	}
	return m.bytes(self, n)
}

// length reads how long something is. A list can't have more elements than
// bytes are left, but for rows without columns; MaxNodes bounds those.
func (m *Message) length(self int) (int, error) {
	name := m.Nodes[self].Name
	first, err := m.number(name, 1)
	if err != nil || first < 0x80 {
		return int(first), err
	}
	if first != 0x81 && first != 0x82 {
		return 0, syntax(m.at-1, name, ErrLength, "%02X begins no length", first)
	}
	n, err := m.number(name, int(first&3))
	if err != nil {
		return 0, err
	}
	if int(first&3) != lengthBytes(int(n)) {
		m.Nodes[self].Wide = byte(first & 3)
	}
	return int(n), nil
}

// lengthBytes returns how many bytes follow the first one of a length.
func lengthBytes(n int) int {
	switch {
	case n < 0x80:
		return 0
	case n < 0x100:
		return 1
	}
	return 2
}

func appendLength(dst []byte, n, wide int) []byte {
	switch max(wide, lengthBytes(n)) {
	case 0:
		return append(dst, byte(n))
	case 1:
		return append(dst, 0x81, byte(n))
	}
	return append(dst, 0x82, byte(n>>8), byte(n))
}

// Append encodes the message behind dst.
func (m *Message) Append(dst []byte) []byte {
	for i := range m.Nodes {
		dst = m.Nodes[i].append(dst)
	}
	return dst
}

// append encodes a node without those it is made of.
func (n *Node) append(dst []byte) []byte {
	if n.Tagged {
		dst = append(dst, byte(n.Kind))
	}
	switch w := n.Kind.width(); w {
	case 1:
		return append(dst, byte(n.Num))
	case 2:
		return binary.BigEndian.AppendUint16(dst, uint16(n.Num))
	case 4:
		return binary.BigEndian.AppendUint32(dst, uint32(n.Num))
	case 8:
		return binary.BigEndian.AppendUint64(dst, n.Num)
	}
	switch n.Kind {
	case KindChoice, RSD, CSD, MS, KindOptional:
		return append(dst, byte(n.Num))
	case KindList, Array, Structure, RCSD:
		return appendLength(dst, int(n.Num), int(n.Wide))
	case BitString, OctetString, VisibleString, UTF8String, TSA, MAC, RN:
		dst = appendLength(dst, int(n.Num), int(n.Wide))
	}
	return append(dst, n.Bytes...)
}

// Children yields the indices of the nodes that node at is made of.
func (m *Message) Children(at int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, end := at+1, at+int(m.Nodes[at].Size); i < end; i += int(m.Nodes[i].Size) {
			if !yield(i) {
				return
			}
		}
	}
}

// Find follows names from node at down, and returns -1 where there is none.
func (m *Message) Find(at int, names ...string) int {
	for _, name := range names {
		next := -1
		for i, end := at+1, at+int(m.Nodes[at].Size); i < end; i += int(m.Nodes[i].Size) {
			if m.Nodes[i].Name == name {
				next = i
				break
			}
		}
		if next < 0 {
			return -1
		}
		at = next
	}
	return at
}

// Float returns the value of a float32 or float64.
func (n *Node) Float() float64 {
	if n.Kind == Float32 {
		return float64(math.Float32frombits(uint32(n.Num)))
	}
	return math.Float64frombits(n.Num)
}
