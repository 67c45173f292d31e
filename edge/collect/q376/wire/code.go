package wire

import (
	"fmt"
	"math/bits"
)

// AFN is the function code of a frame.
type AFN byte

// The function codes of the standard.
const (
	AFNConfirm      AFN = 0x00 // or deny
	AFNInitialize   AFN = 0x01
	AFNForward      AFN = 0x02 // to a meter, for modules without routing
	AFNQuery        AFN = 0x03
	AFNTest         AFN = 0x04
	AFNControl      AFN = 0x05
	AFNReport       AFN = 0x06 // the module reports of its own accord
	AFNRouteQuery   AFN = 0x10
	AFNRouteSet     AFN = 0x11 // the archive among others
	AFNRouteControl AFN = 0x12
	AFNMonitor      AFN = 0x13 // read one meter now
	AFNRouteRead    AFN = 0x14 // the module asks what to read
	AFNFile         AFN = 0x15
	AFNDebug        AFN = 0xf0 // as vendors please
	AFNConcurrent   AFN = 0xf1 // read many meters at once
)

var afnNames = map[AFN]string{
	AFNConfirm: "confirm or deny", AFNInitialize: "initialize", AFNForward: "forward data", AFNQuery: "query",
	AFNTest: "test the link", AFNControl: "control", AFNReport: "report", AFNRouteQuery: "query the routing",
	AFNRouteSet: "set the routing", AFNRouteControl: "control the routing", AFNMonitor: "forward to a node",
	AFNRouteRead: "routing reads data", AFNFile: "transfer a file", AFNDebug: "debug", AFNConcurrent: "concurrent reading",
}

// Known tells whether the standard has the function code.
func (a AFN) Known() bool { return afnNames[a] != "" }

func (a AFN) String() string {
	name := afnNames[a]
	if name == "" {
		name = "unknown"
	}
	return fmt.Sprintf("%02XH %s", byte(a), name)
}

// Fn is the kind of information within an AFN: F1 to F248.
type Fn uint8

// MaxFn is the last.
const MaxFn Fn = 248

// fnOf reads a data unit identifier: DT1 has one bit of eight, DT2 counts eights.
func fnOf(dt1, dt2 byte) (Fn, bool) {
	if bits.OnesCount8(dt1) != 1 || dt2 >= byte(MaxFn)/8 {
		return 0, false
	}
	return Fn(dt2*8) + Fn(bits.TrailingZeros8(dt1)) + 1, true
}

func (f Fn) identifier() (dt1, dt2 byte) { return 1 << ((f - 1) % 8), byte(f-1) / 8 }

func (f Fn) String() string { return fmt.Sprintf("F%d", uint8(f)) }

// Protocol is what a carried meter frame is of.
type Protocol byte

// The protocols.
const (
	Transparent Protocol = 0
	DLT645v1997 Protocol = 1
	DLT645      Protocol = 2 // of 2007
	DLT698      Protocol = 3
)

var protocolNames = [...]string{"transparent", "DL/T 645-1997", "DL/T 645-2007", "DL/T 698.45"}

func (p Protocol) String() string {
	if int(p) < len(protocolNames) {
		return protocolNames[p]
	}
	return fmt.Sprintf("reserved protocol %d", byte(p))
}

func (p Protocol) check(field string) error {
	if p > DLT698 {
		return syntax(0, field, ErrProtocol, "%02XH", byte(p))
	}
	return nil
}

// Deny is the reason of a denial. As an error it spells it out.
type Deny byte

// The reasons.
const (
	DenyTimeout        Deny = 0
	DenyDataUnit       Deny = 1
	DenyLength         Deny = 2
	DenyChecksum       Deny = 3
	DenyFn             Deny = 4
	DenyFormat         Deny = 5
	DenyDuplicate      Deny = 6
	DenyUnknownMeter   Deny = 7
	DenyNoMeterAnswer  Deny = 8
	DenyBusy           Deny = 9
	DenyUnsupported    Deny = 10
	DenyNoNodeAnswer   Deny = 11
	DenyNotInNetwork   Deny = 12
	DenyTooManyMeters  Deny = 109
	DenyTooManyFrames  Deny = 110
	DenyMeterBusy      Deny = 111
	vendorTooManyMeter Deny = 13 // what HiSilicon's firmware says in place of 109
	vendorTooManyFrame Deny = 14 // of 110
	vendorMeterBusy    Deny = 15 // of 111
)

var denyNames = map[Deny]string{
	DenyTimeout: "communication timed out", DenyDataUnit: "invalid data unit", DenyLength: "wrong length",
	DenyChecksum: "wrong checksum", DenyFn: "no such Fn", DenyFormat: "wrong format", DenyDuplicate: "duplicate meter",
	DenyUnknownMeter: "no such meter", DenyNoMeterAnswer: "the meter's application does not answer",
	DenyBusy: "the main node is busy", DenyUnsupported: "the main node does not support the command",
	DenyNoNodeAnswer: "the node does not answer", DenyNotInNetwork: "the node is not in the network",
	DenyTooManyMeters: "more meters in parallel than allowed", DenyTooManyFrames: "more meter frames in one frame than allowed",
	DenyMeterBusy: "this meter is already being read",
}

// Standard returns the standard's reason for one that only some vendors use.
func (d Deny) Standard() Deny {
	switch d {
	case vendorTooManyMeter:
		return DenyTooManyMeters
	case vendorTooManyFrame:
		return DenyTooManyFrames
	case vendorMeterBusy:
		return DenyMeterBusy
	}
	return d
}

// Known tells whether it is a reason of the standard, or of a vendor.
func (d Deny) Known() bool { return denyNames[d.Standard()] != "" }

// Is makes errors.Is find the standard's reason in a vendor's.
func (d Deny) Is(target error) bool {
	other, ok := target.(Deny)
	return ok && d.Standard() == other.Standard()
}

func (d Deny) String() string {
	name := denyNames[d.Standard()]
	switch {
	case name == "":
		return fmt.Sprintf("%d: reserved code", byte(d))
	case d != d.Standard():
		return fmt.Sprintf("%d: %s (a vendor's code for %d)", byte(d), name, byte(d.Standard()))
	}
	return fmt.Sprintf("%d: %s", byte(d), name)
}

func (d Deny) Error() string { return "denied with code " + d.String() }

// Denied returns the reason as an error if a frame is a denial.
func (f *Frame) Denied() error {
	if f.AFN != AFNConfirm || f.Fn != 2 {
		return nil
	}
	if len(f.Data) != 1 {
		return syntax(0, "denial", ErrLength, "%d bytes, must be 1", len(f.Data))
	}
	return Deny(f.Data[0])
}
