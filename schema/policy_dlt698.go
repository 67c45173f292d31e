package schema

import (
	"strconv"
	"strings"
)

// Limits of DL/T 698.45.
const (
	MaxFrame698      = 2048 // bytes
	MinFrame698      = 128
	MaxRecordsBack   = 255
	maxAddress698    = 32 // digits
	defaultFrame698  = 512
	wildcardsAllowed = "one meter alone on its line may have an address of A for digits that any may be"
)

func (s *Source) dlt698Defaults() {
	if s.Preamble == nil {
		n := MaxPreamble
		s.Preamble = &n
	}
	setDefault(&s.MaxFrame, defaultFrame698)
}

func (s *Source) validateDLT698(c *check) {
	within(c, "source.preamble", *s.Preamble, 0, MaxPreamble)
	within(c, "source.maxFrame", s.MaxFrame, MinFrame698, MaxFrame698)
	c.need(s.MaxHole == nil, "source.maxHole", "is for Modbus", nil)
}

// validateDLT698 checks a meter's address; alone tells whether the policy has no
// other.
func (m *Meter) validateDLT698(c *check, at string, alone bool) {
	n := len(m.Address)
	c.need(n >= 2 && n <= maxAddress698 && n%2 == 0 && onlyOf(m.Address, "0123456789Aa"), at+".address", "must be the digits of the meter, an even number from 2 to 32", m.Address)
	c.need(alone || !strings.ContainsAny(m.Address, "Aa"), at+".address", wildcardsAllowed, m.Address)
	c.need(m.Unit == 0, at+".unit", "is for Modbus; use address", m.Unit)
}

func (it *Item) validateDLT698(c *check, at string) {
	c.need(it.Function == 0 && it.Address == 0 && it.Type == "" && it.Order == "", at, "function, address, type and order are for Modbus", nil)
	c.need(it.DI == "" && it.Format == "" && it.Offset == 0 && !it.Signed, at, "di, offset, format and signed are for DL/T 645", nil)
	c.need(isOAD(it.OAD), at+".oad", "must be 8 hex digits, such as 20000201", it.OAD)
	c.need(it.Record == "" || isOAD(it.Record), at+".record", "must be 8 hex digits, such as 50040200", it.Record)
	c.need(it.Scaler == "" || isOAD(it.Scaler), at+".scaler", "must be 8 hex digits, such as 20000300", it.Scaler)
	if it.Record == "" {
		c.need(it.Nth == 0, at+".nth", "is for items of a record", it.Nth)
	} else {
		within(c, at+".nth", it.Nth, 1, MaxRecordsBack)
	}
}

// needsNoDLT698 refuses what is only for DL/T 698.45.
func (it *Item) needsNoDLT698(c *check, at string) {
	c.need(it.OAD == "" && it.Record == "" && it.Scaler == "" && it.Nth == 0, at, "oad, record, nth and scaler are for DL/T 698.45", nil)
}

func isOAD(s string) bool {
	_, err := strconv.ParseUint(s, 16, 32)
	return err == nil && len(s) == 8
}
