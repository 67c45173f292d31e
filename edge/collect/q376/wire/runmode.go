package wire

import "encoding/binary"

// RunMode is 03H-F10 up, which a module also reports when it has started: what
// it is and what it takes. Rates are left to its explanation.
type RunMode struct {
	Mode             [6]byte // bits
	MonitorTimeout   byte    // seconds for 13H-F1
	BroadcastTimeout uint16  // seconds for 05H-F3
	MaxFrame         uint16  // bytes
	MaxFilePart      uint16
	UpgradeWait      byte
	MainNode         Address
	Capacity         uint16 // nodes
	Nodes            uint16
	Released, Filed  [3]byte // BCD, YYMMDD
	Version          Version
	Rates            []byte // two bytes each
}

// Version is 03H-F1 up. Letters come as they are sent: the last first.
type Version struct {
	Vendor, Chip [2]byte
	Date         [3]byte // BCD, DDMMYY
	Number       [2]byte // BCD, the lower first
}

// Routing tells whether the module routes itself.
func (m *RunMode) Routing() bool { return m.Mode[0]&(1<<4) != 0 }

// WantsArchive tells whether the module needs to be told its nodes.
func (m *RunMode) WantsArchive() bool { return m.Mode[0]&(1<<5) != 0 }

// MinuteCollection tells whether the module collects proactively, as Anhui has it.
func (m *RunMode) MinuteCollection() bool { return m.Mode[5]&(1<<5) != 0 }

// Decode reads the data unit.
func (m *RunMode) Decode(data []byte) error {
	c := cursor{data: data}
	copy(m.Mode[:], c.take(6, "mode"))
	m.MonitorTimeout, m.BroadcastTimeout = c.byte("monitor timeout"), c.uint16("broadcast timeout")
	m.MaxFrame, m.MaxFilePart, m.UpgradeWait = c.uint16("largest frame"), c.uint16("largest file part"), c.byte("upgrade wait")
	m.MainNode, m.Capacity, m.Nodes = c.address("main node"), c.uint16("capacity"), c.uint16("nodes")
	copy(m.Released[:], c.take(3, "date of release"))
	copy(m.Filed[:], c.take(3, "date of filing"))
	m.Version.read(&c)
	m.Rates = c.take(min(c.left()&^1, 30), "rates")
	return c.end()
}

// Append encodes the data unit behind dst.
func (m *RunMode) Append(dst []byte) ([]byte, error) {
	if len(m.Rates)%2 != 0 || len(m.Rates) > 30 {
		return dst, syntax(0, "rates", ErrTooMany, "%d bytes, 15 of 2 bytes are the limit", len(m.Rates))
	}
	word := binary.LittleEndian.AppendUint16
	dst = word(append(append(dst, m.Mode[:]...), m.MonitorTimeout), m.BroadcastTimeout)
	dst = append(word(word(dst, m.MaxFrame), m.MaxFilePart), m.UpgradeWait)
	dst = word(word(append(dst, m.MainNode[:]...), m.Capacity), m.Nodes)
	dst = append(append(dst, m.Released[:]...), m.Filed[:]...)
	return append(m.Version.Append(dst), m.Rates...), nil
}

// Append encodes 03H-F1 up behind dst.
func (v *Version) Append(dst []byte) []byte {
	dst = append(append(dst, v.Vendor[:]...), v.Chip[:]...)
	return append(append(dst, v.Date[:]...), v.Number[:]...)
}

func (v *Version) read(c *cursor) {
	copy(v.Vendor[:], c.take(2, "vendor"))
	copy(v.Chip[:], c.take(2, "chip"))
	copy(v.Date[:], c.take(3, "date"))
	copy(v.Number[:], c.take(2, "version"))
}

// Decode reads 03H-F1 up.
func (v *Version) Decode(data []byte) error {
	c := cursor{data: data}
	v.read(&c)
	return c.end()
}
