package wire

import (
	"fmt"
	"strings"
)

// Control is a frame's control code: a function, and in answers whether it was
// carried out and whether more frames follow.
type Control byte

// The parts of a control code.
const (
	answerBit Control = 0x80
	errorBit  Control = 0x40
	moreBit   Control = 0x20
	functions Control = 0x1f
)

// The requests.
const (
	BroadcastTime Control = 0x08 // sets all clocks; nobody answers
	Read          Control = 0x11
	ReadMore      Control = 0x12 // the next part of what didn't fit one frame
	ReadAddress   Control = 0x13
	Write         Control = 0x14
	WriteAddress  Control = 0x15
	Freeze        Control = 0x16
	SetSpeed      Control = 0x17
	SetPassword   Control = 0x18
	ClearDemand   Control = 0x19
	ClearMeter    Control = 0x1a
	ClearEvents   Control = 0x1b
	Read1997      Control = 0x01 // the same as Read in DL/T 645-1997
	Write1997     Control = 0x04
)

var functionNames = map[Control]string{
	BroadcastTime: "set time (broadcast)", Read: "read", ReadMore: "read follow-up", ReadAddress: "read address",
	Write: "write", WriteAddress: "write address", Freeze: "freeze", SetSpeed: "change speed",
	SetPassword: "change password", ClearDemand: "clear demand", ClearMeter: "clear meter", ClearEvents: "clear events",
	Read1997: "read (DL/T 645-1997)", Write1997: "write (DL/T 645-1997)",
}

// Function is the request that a control code is, or answers.
func (c Control) Function() Control { return c & functions }

// Known tells whether this package knows the function.
func (c Control) Known() bool { return functionNames[c.Function()] != "" }

// IsAnswer tells whether a meter says it.
func (c Control) IsAnswer() bool { return c&answerBit != 0 }

// Refused tells whether an answer is a refusal.
func (c Control) Refused() bool { return c.IsAnswer() && c&errorBit != 0 }

// More tells whether an answer goes on in another frame.
func (c Control) More() bool { return c.IsAnswer() && c&moreBit != 0 }

// Answer returns the control code of the plain answer to a request.
func (c Control) Answer() Control { return c.Function() | answerBit }

// Refusal returns the control code of the refusal of a request.
func (c Control) Refusal() Control { return c.Function() | answerBit | errorBit }

// WithMore returns an answer's control code that announces another frame.
func (c Control) WithMore() Control { return c | moreBit }

func (c Control) String() string {
	name := functionNames[c.Function()]
	if name == "" {
		name = "unknown function"
	}
	return fmt.Sprintf("%02XH %s", byte(c), name)
}

// MeterError is the error word of a refusal. As an error it spells out its bits.
type MeterError byte

// The bits of an error word.
const (
	OtherError   MeterError = 1 << iota
	NoSuchData              // the meter doesn't have the data identifier
	Unauthorized            // wrong password, or not allowed
	SpeedFixed              // the speed can't be changed
	TooManyZones
	TooManyPeriods
	TooManyTariffs
	reservedError
)

var meterErrors = [8]string{
	"other error", "no such data", "wrong password or not authorized", "the speed can't be changed",
	"too many zones of the year", "too many periods of the day", "too many tariffs", "reserved bit 7",
}

// Bits spells out every bit that is set.
func (e MeterError) Bits() []string {
	var out []string
	for i, text := range meterErrors {
		if e>>i&1 == 1 {
			out = append(out, text)
		}
	}
	return out
}

func (e MeterError) Error() string {
	bits := e.Bits()
	if len(bits) == 0 {
		bits = []string{"no reason given"}
	}
	return fmt.Sprintf("refused with error word %02XH: %s", byte(e), strings.Join(bits, ", "))
}
