package schema

import (
	"slices"
	"strconv"
	"strings"
)

// Limits of DL/T 645-2007.
const (
	MaxPreamble     = 4    // FE bytes before a frame
	MaxFormatDigits = 16   // of one value
	MaxAnswerBytes  = 4096 // of one data identifier, over all its frames
)

// dlt645Bauds are the speeds meters have; the standard's end at 19200.
var dlt645Bauds = []int{300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}

func (s *Source) dlt645Defaults() {
	if s.Preamble == nil {
		n := MaxPreamble
		s.Preamble = &n
	}
}

func (s *Source) validateDLT645(c *check) {
	within(c, "source.preamble", *s.Preamble, 0, MaxPreamble)
	c.need(s.MaxHole == nil, "source.maxHole", "is for Modbus", nil)
	if s.Kind == SourceDLT645 && !slices.Contains(dlt645Bauds, s.Baud) {
		c.add("source.baud", "must be one of 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200", s.Baud, nil)
	}
}

func (m *Meter) validateDLT645(c *check, at string) {
	c.need(onlyOf(m.Address, "0123456789") && len(m.Address) == 12, at+".address", "must be the 12 digits of the meter", m.Address)
	c.need(m.Address != "999999999999", at+".address", "is the broadcast address, which no meter answers", m.Address)
	c.need(m.Unit == 0, at+".unit", "is for Modbus; use address", m.Unit)
}

func (it *Item) validateDLT645(c *check, at string) {
	c.need(it.Function == 0 && it.Address == 0 && it.Type == "" && it.Order == "", at, "function, address, type and order are for Modbus", nil)
	_, err := strconv.ParseUint(it.DI, 16, 32)
	c.need(err == nil && len(it.DI) == 8, at+".di", "must be 8 hex digits, such as 02010100", it.DI)
	within(c, at+".offset", it.Offset, 0, MaxAnswerBytes)
	digits, _, ok := FormatDigits(it.Format)
	c.need(ok, at+".format", "must be an even number of X with at most one point, such as XXX.X", it.Format)
	if digits > MaxFormatDigits {
		c.add(at+".format", "has too many digits", digits, MaxFormatDigits)
	}
}

// FormatDigits returns how many digits a format such as XXX.X has, and how many
// of them come after the point.
func FormatDigits(format string) (digits, decimals int, ok bool) {
	whole, fraction, _ := strings.Cut(format, ".")
	digits, decimals = len(whole)+len(fraction), len(fraction)
	ok = digits > 0 && digits%2 == 0 && onlyOf(whole+fraction, "X") && !strings.HasSuffix(format, ".")
	return digits, decimals, ok
}

func onlyOf(s, set string) bool { return strings.Trim(s, set) == "" }
