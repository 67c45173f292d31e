package wire

import "encoding/binary"

// Control is the control byte of a frame.
type Control byte

// The bits of a control byte; the rest is the Mode.
const (
	bitUp      Control = 1 << 7 // DIR
	bitPrimary Control = 1 << 6 // PRM
	modes      Control = 1<<6 - 1
)

// Up tells whether the module has sent the frame; otherwise the concentrator has.
func (c Control) Up() bool { return c&bitUp != 0 }

// Primary tells whether the frame begins an exchange; otherwise it answers.
func (c Control) Primary() bool { return c&bitPrimary != 0 }

// Mode is how the module talks with the meters.
func (c Control) Mode() Mode { return Mode(c & modes) }

// Mode is how a module talks with the meters.
type Mode byte

// The modes.
const (
	CentralNarrowband     Mode = 1
	DistributedNarrowband Mode = 2
	HPLC                  Mode = 3
	Radio                 Mode = 10
	Ethernet              Mode = 20
)

// Request is the control byte of a frame with which the concentrator asks.
func (m Mode) Request() Control { return bitPrimary | Control(m)&modes }

// Answer is that of its answer to the module.
func (m Mode) Answer() Control { return Control(m) & modes }

// Report is that of a frame with which the module asks or reports.
func (m Mode) Report() Control { return bitUp | bitPrimary | Control(m)&modes }

// Reply is that of the module's answer.
func (m Mode) Reply() Control { return bitUp | Control(m)&modes }

func (m Mode) String() string {
	switch m {
	case CentralNarrowband:
		return "narrowband carrier, central routing"
	case DistributedNarrowband:
		return "narrowband carrier, distributed routing"
	case HPLC:
		return "HPLC"
	case Radio:
		return "micro-power radio"
	case Ethernet:
		return "Ethernet"
	}
	return "reserved mode"
}

// Info is the information field R as it is on the wire. What its bytes mean
// depends on the direction: see Down and Up. Bits that are spare are kept.
type Info [6]byte

// The parts of an information field that both directions share.
const (
	bitBypass   = 1 << 0
	bitSubNode  = 1 << 1 // down only
	bitModule   = 1 << 2
	bitConflict = 1 << 3 // down only
)

// HasAddress tells whether the frame has an address field: it concerns a
// subordinate node rather than the main node.
func (i Info) HasAddress() bool { return i[0]&bitModule != 0 }

// RelayLevel is how many relays there are on the way, 0 to 15.
func (i Info) RelayLevel() int { return int(i[0] >> 4) }

// Sequence matches an answer with its request.
func (i Info) Sequence() byte { return i[5] }

// Down is the information field of the concentrator's frames. Numbers of four
// bits are cut to them.
type Down struct {
	Bypass      bool // the module routes nothing
	SubNode     bool // the node has others attached
	Address     bool // the frame has an address field
	Conflicts   bool // detect conflicts
	RelayLevel  byte // 0 to 15
	Channel     byte // 0 to 15; 0 = no channels
	Correction  byte // 0 to 15; 0 = none, 1 = RS
	ReplyBytes  byte // expected, for the module to know how long to wait; 0 = default
	Rate        uint16
	RateInKilos bool // Rate is in kbit/s; otherwise bit/s; Rate 0 = default
	Sequence    byte
}

// Info encodes it.
func (d Down) Info() Info {
	rate := d.Rate & (1<<15 - 1)
	if d.RateInKilos {
		rate |= 1 << 15
	}
	i := Info{
		bit(d.Bypass, bitBypass) | bit(d.SubNode, bitSubNode) | bit(d.Address, bitModule) | bit(d.Conflicts, bitConflict) | d.RelayLevel<<4,
		d.Channel&15 | d.Correction<<4, d.ReplyBytes, 0, 0, d.Sequence,
	}
	binary.LittleEndian.PutUint16(i[3:], rate)
	return i
}

// Down reads the information field of a frame of the concentrator.
func (i Info) Down() Down {
	rate := binary.LittleEndian.Uint16(i[3:])
	return Down{
		Bypass: i[0]&bitBypass != 0, SubNode: i[0]&bitSubNode != 0, Address: i.HasAddress(), Conflicts: i[0]&bitConflict != 0,
		RelayLevel: i[0] >> 4, Channel: i[1] & 15, Correction: i[1] >> 4, ReplyBytes: i[2],
		Rate: rate & (1<<15 - 1), RateInKilos: rate>>15 != 0, Sequence: i[5],
	}
}

// Up is the information field of the module's frames.
type Up struct {
	Bypass         bool
	Address        bool
	RelayLevel     byte // 0 to 15
	Channel        byte // 0 to 15
	Phase          byte // measured; 0 = not known, 1 to 3
	MeterChannel   byte // 0 to 15; 1 to 3 = fed by one phase with so many channels, 4 = three phases
	CommandQuality byte // of the last hop, 1 = worst, 15 = best, 0 = not known
	ReplyQuality   byte
	Event          bool // an event waits to be fetched
	Sequence       byte
}

// Info encodes it.
func (u Up) Info() Info {
	return Info{
		bit(u.Bypass, bitBypass) | bit(u.Address, bitModule) | u.RelayLevel<<4,
		u.Channel & 15, u.Phase&15 | u.MeterChannel<<4, u.CommandQuality&15 | u.ReplyQuality<<4, bit(u.Event, 1), u.Sequence,
	}
}

// Up reads the information field of a frame of the module.
func (i Info) Up() Up {
	return Up{
		Bypass: i[0]&bitBypass != 0, Address: i.HasAddress(), RelayLevel: i[0] >> 4, Channel: i[1] & 15,
		Phase: i[2] & 15, MeterChannel: i[2] >> 4, CommandQuality: i[3] & 15, ReplyQuality: i[3] >> 4,
		Event: i[4]&1 != 0, Sequence: i[5],
	}
}

func bit(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}
