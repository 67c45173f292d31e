package wire

import (
	"fmt"
	"slices"
)

// Authority is what a meter asks of whoever changes it: a password with its
// level first, and the operator's code.
type Authority struct {
	Password [4]byte // PA P0 P1 P2
	Operator [4]byte
}

// ask makes f a request without data.
func (f *Frame) ask(a Address, c Control) *Frame {
	f.Address, f.Control, f.length = a, c, 0
	return f
}

// add appends to the data. The callers know that it fits.
func (f *Frame) add(data ...byte) { f.length += uint8(copy(f.data[f.length:], data)) }

func (f *Frame) addDI(d DI) { f.add(byte(d), byte(d>>8), byte(d>>16), byte(d>>24)) }

// AskRead makes f a request for an identifier. Load records need parameters,
// see RecordsFrom.
func (f *Frame) AskRead(a Address, d DI, parameters ...byte) error {
	if len(parameters) > MaxData-4 {
		return fmt.Errorf("%w: %d bytes of parameters, a frame holds %d", ErrLength, len(parameters), MaxData-4)
	}
	f.ask(a, Read).addDI(d)
	f.add(parameters...)
	return nil
}

// RecordsFrom appends the parameters of a request for n load records from a
// given time on.
func RecordsFrom(dst []byte, n byte, from Stamp) ([]byte, error) {
	if n < 1 || n > 99 {
		return dst, fmt.Errorf("%w: %d load records, must be from 1 to 99", ErrRange, n)
	}
	return Minutes.Append(append(dst, n/10<<4|n%10), from)
}

// AskMore makes f a request for the next part of an identifier. The first
// follow-up has the number 1.
func (f *Frame) AskMore(a Address, d DI, sequence byte) {
	f.ask(a, ReadMore).addDI(d)
	f.add(sequence)
}

// AskAddress makes f a request for a meter's address.
func (f *Frame) AskAddress(a Address) { f.ask(a, ReadAddress) }

// AskWrite makes f a request to write an identifier.
func (f *Frame) AskWrite(a Address, d DI, by Authority, data []byte) error {
	if n := 12 + len(data); n > MaxWriteData {
		return fmt.Errorf("%w: %d bytes to write, a frame holds %d", ErrLength, n, MaxWriteData)
	}
	f.ask(a, Write).addDI(d)
	f.add(by.Password[:]...)
	f.add(by.Operator[:]...)
	f.add(data...)
	return nil
}

// AskWriteAddress makes f a request to give the only meter on the line an address.
func (f *Frame) AskWriteAddress(to Address) error {
	if err := to.Check(); err != nil {
		return err
	}
	if to.Padding() > 0 || to == Broadcast {
		return fmt.Errorf("%w: %s can't be a meter's own", ErrAddress, to)
	}
	f.ask(Wildcard, WriteAddress).add(to[:]...)
	return nil
}

// SayTime makes f a broadcast that sets clocks.
func (f *Frame) SayTime(s Stamp) error {
	var b [6]byte
	data, err := Seconds.Append(b[:0], s)
	if err != nil {
		return err
	}
	f.ask(Broadcast, BroadcastTime).add(data...)
	return nil
}

// AskFreeze makes f a request to freeze. To Broadcast nobody answers.
func (f *Frame) AskFreeze(a Address, t FreezeTime) error {
	if err := t.Check(); err != nil {
		return err
	}
	f.ask(a, Freeze).add(t[:]...)
	return nil
}

// speeds are the bits of a speed's byte, from bit 1 on.
var speeds = []int{600, 1200, 2400, 4800, 9600, 19200}

// AskSpeed makes f a request to change the speed.
func (f *Frame) AskSpeed(a Address, baud int) error {
	bit := slices.Index(speeds, baud) + 1
	if bit == 0 {
		return fmt.Errorf("%w: %d baud, must be one of %v", ErrRange, baud, speeds)
	}
	f.ask(a, SetSpeed).add(1 << bit)
	return nil
}

// speedOf returns the speed that a byte stands for; 0 for none.
func speedOf(b byte) int {
	for i, s := range speeds {
		if b == 2<<i {
			return s
		}
	}
	return 0
}

// AskPassword makes f a request to change a password, named by its identifier.
func (f *Frame) AskPassword(a Address, d DI, old, next [4]byte) {
	f.ask(a, SetPassword).addDI(d)
	f.add(old[:]...)
	f.add(next[:]...)
}

// AskClearDemand makes f a request to clear the maximum demands.
func (f *Frame) AskClearDemand(a Address, by Authority) { f.askClear(a, ClearDemand, by) }

// AskClearMeter makes f a request to clear everything that was measured.
func (f *Frame) AskClearMeter(a Address, by Authority) { f.askClear(a, ClearMeter, by) }

// AskClearEvents makes f a request to clear the events of an identifier; those
// of all with FFFFFFFF.
func (f *Frame) AskClearEvents(a Address, by Authority, d DI) {
	f.askClear(a, ClearEvents, by)
	f.addDI(d)
}

func (f *Frame) askClear(a Address, c Control, by Authority) {
	f.ask(a, c).add(by.Password[:]...)
	f.add(by.Operator[:]...)
}

// Refusal returns the error word of an answer that is one.
func (f *Frame) Refusal() (MeterError, error) {
	if !f.Control.Refused() || f.length != 1 {
		return 0, fmt.Errorf("%w: %s with %d bytes is no refusal", ErrControl, f.Control, f.length)
	}
	return MeterError(f.data[0]), nil
}
