package wire

import "fmt"

// Stamp is a time by a meter's clock, which says nothing of its zone.
type Stamp struct {
	Year                             int // 2000 to 2099
	Month, Day, Hour, Minute, Second uint8
	Weekday                          uint8 // 0 Sunday; only of a date
}

// Layout says which bytes, in the order on the wire, make a Stamp: s, m and h
// are second, minute and hour, w the weekday, D, M and Y day, month and year.
type Layout string

// The layouts in use.
const (
	Seconds Layout = "smhDMY" // a clock to set
	Minutes Layout = "mhDMY"  // when something was recorded
	Date    Layout = "wDMY"
	Clock   Layout = "smh"
)

// Decode reads a stamp from exactly its bytes.
func (l Layout) Decode(b []byte) (Stamp, error) {
	var s Stamp
	if len(b) != len(l) {
		return s, fmt.Errorf("%w: %d bytes for a time of %d", ErrLength, len(b), len(l))
	}
	if all(b, 0xff) || all(b, 0xee) {
		return s, ErrMissing
	}
	for i, c := range b {
		if c>>4 > 9 || c&15 > 9 {
			return Stamp{}, fmt.Errorf("%w: byte %d of the time is %02XH", ErrBCD, i, c)
		}
		n := c>>4*10 + c&15
		field, lowest, highest := s.field(l[i])
		if n < lowest || n > highest {
			return Stamp{}, fmt.Errorf("%w: byte %d of the time is %d, must be from %d to %d", ErrRange, i, n, lowest, highest)
		}
		if field == nil {
			s.Year = 2000 + int(n)
		} else {
			*field = n
		}
	}
	return s, nil
}

// Append appends a stamp.
func (l Layout) Append(dst []byte, s Stamp) ([]byte, error) {
	from := len(dst)
	for i := range len(l) {
		field, lowest, highest := s.field(l[i])
		n := s.Year - 2000
		if field != nil {
			n = int(*field)
		}
		if n < int(lowest) || n > int(highest) {
			return dst[:from], fmt.Errorf("%w: %d in a time, must be from %d to %d", ErrRange, n, lowest, highest)
		}
		dst = append(dst, byte(n/10<<4|n%10))
	}
	return dst, nil
}

// field returns where a byte belongs, nil for the year, and what it may be.
func (s *Stamp) field(c byte) (field *uint8, lowest, highest uint8) {
	switch c {
	case 's':
		return &s.Second, 0, 59
	case 'm':
		return &s.Minute, 0, 59
	case 'h':
		return &s.Hour, 0, 23
	case 'w':
		return &s.Weekday, 0, 6
	case 'D':
		return &s.Day, 1, 31
	case 'M':
		return &s.Month, 1, 12
	}
	return nil, 0, 99
}

// Text writes a stamp of the layout for people.
func (l Layout) Text(s Stamp) string {
	switch l {
	case Date:
		return fmt.Sprintf("%04d-%02d-%02d, weekday %d", s.Year, s.Month, s.Day, s.Weekday)
	case Clock:
		return fmt.Sprintf("%02d:%02d:%02d", s.Hour, s.Minute, s.Second)
	case Minutes:
		return fmt.Sprintf("%04d-%02d-%02d %02d:%02d", s.Year, s.Month, s.Day, s.Hour, s.Minute)
	}
	return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d", s.Year, s.Month, s.Day, s.Hour, s.Minute, s.Second)
}

// FreezeTime is when a freeze command freezes: at once, or at every minute that
// it matches.
type FreezeTime [4]byte // minute, hour, day, month in BCD; 99H = any

// FreezeNow freezes at once.
var FreezeNow = FreezeTime{0x99, 0x99, 0x99, 0x99}

// Check makes sure that a freeze time is one of those the protocol has: from
// the month on, parts may be left open.
func (t FreezeTime) Check() error {
	open := true
	for i := len(t) - 1; i >= 0; i-- {
		c := t[i]
		if c == 0x99 {
			if !open {
				return fmt.Errorf("%w: freeze time % X: only leading parts may be left open", ErrRange, t[:])
			}
			continue
		}
		open = false
		_, lowest, highest := new(Stamp).field("mhDM"[i])
		if n := c>>4*10 + c&15; c>>4 > 9 || c&15 > 9 || n < lowest || n > highest {
			return fmt.Errorf("%w: freeze time % X", ErrRange, t[:])
		}
	}
	return nil
}

func (t FreezeTime) String() string {
	switch {
	case t == FreezeNow:
		return "at once"
	case t[1] == 0x99:
		return fmt.Sprintf("every hour at minute %02X", t[0])
	case t[2] == 0x99:
		return fmt.Sprintf("every day at %02X:%02X", t[1], t[0])
	case t[3] == 0x99:
		return fmt.Sprintf("every month on day %02X at %02X:%02X", t[2], t[1], t[0])
	}
	return fmt.Sprintf("on %02X-%02X at %02X:%02X", t[3], t[2], t[1], t[0])
}
