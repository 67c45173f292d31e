package wire

import (
	"encoding/binary"
	"fmt"
)

// Confirm is 00H-F1.
type Confirm struct {
	Status uint32 // bit 0 = carried out, bit n = channel n is idle
	Wait   uint16 // seconds until what was asked for is done
}

// ConfirmDone is what modules without channels answer.
var ConfirmDone = Confirm{Status: 1<<32 - 1}

// Done tells whether the command was carried out.
func (c Confirm) Done() bool { return c.Status&1 != 0 }

// Decode reads the data unit.
func (c *Confirm) Decode(data []byte) error {
	r := cursor{data: data}
	c.Status, c.Wait = uint32(r.uint(4, "status")), r.uint16("wait")
	return r.end()
}

// Append encodes the data unit behind dst.
func (c Confirm) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, c.Status)
	return binary.LittleEndian.AppendUint16(dst, c.Wait)
}

// Clock is a time as data units have it. What kind of time is not said; it is
// the local one.
type Clock struct {
	Year                             int // 2000 to 2099
	Month, Day, Hour, Minute, Second int
}

// BCD encodes it in the order second, minute, hour, day, month, year.
func (t Clock) BCD() (b [6]byte, err error) {
	for i, f := range [...]struct {
		name     string
		is, from int
		to       int
	}{
		{"second", t.Second, 0, 59}, {"minute", t.Minute, 0, 59}, {"hour", t.Hour, 0, 23},
		{"day", t.Day, 1, 31}, {"month", t.Month, 1, 12}, {"year", t.Year - 2000, 0, 99},
	} {
		if f.is < f.from || f.is > f.to {
			return [6]byte{}, syntax(i, f.name, ErrValue, "%d, must be from %d to %d", f.is, f.from, f.to)
		}
		b[i] = byte(f.is/10<<4 | f.is%10)
	}
	return b, nil
}

// ClockOf reads a time in the order of BCD.
func ClockOf(b [6]byte) (t Clock, err error) {
	var n [6]int
	for i, c := range b {
		if c>>4 > 9 || c&15 > 9 {
			return Clock{}, syntax(i, "time", ErrValue, "%02XH is not decimal", c)
		}
		n[i] = int(c>>4)*10 + int(c&15)
	}
	t = Clock{2000 + n[5], n[4], n[3], n[2], n[1], n[0]}
	_, err = t.BCD()
	return t, err
}

// clock reads a time; backwards = the year comes first.
func (c *cursor) clock(backwards bool, field string) (t Clock) {
	b := c.take(6, field)
	if b == nil {
		return t
	}
	o := [6]byte(b)
	if backwards {
		o = [6]byte{b[5], b[4], b[3], b[2], b[1], b[0]}
	}
	t, err := ClockOf(o)
	if err != nil {
		c.at -= 6
		c.refuseTime(o, field)
	}
	return t
}

func (c *cursor) refuseTime(b [6]byte, field string) {
	c.err = syntax(c.at, field, ErrValue, "%02X-%02X-%02X %02X:%02X:%02X is no time", b[5], b[4], b[3], b[2], b[1], b[0])
}

func (t Clock) String() string {
	return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d", t.Year, t.Month, t.Day, t.Hour, t.Minute, t.Second)
}
