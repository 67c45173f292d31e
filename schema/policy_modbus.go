package schema

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"
)

// Limits of Modbus.
const (
	MaxForbidden = 64 // ranges of one meter
	MaxFactors   = 2  // registers that multiply one item
	MaxWrites    = 50 // items that a policy may have written
	maxTimes     = 1000
	maxSunSpec   = 65534 // the last SunSpec model; the next number ends their list
)

// Write lets an item be written, within limits. What no policy lets is refused.
type Write struct {
	Item     string   `json:"item"`     // of coils or holding registers, by name
	Min      *float64 `json:"min"`      // the least value, as readings have it; not of coils
	Max      *float64 `json:"max"`      // the largest
	Times    int      `json:"times"`    // how often, of one meter, in any span of per; default 1
	Per      Duration `json:"per"`      // default 1m
	Function int      `json:"function"` // 5, 6 or 16, which source.functions has to name; default 5 for coils, 6 for one register, 16 for more
}

func (w *Write) defaults() {
	setDefault(&w.Times, 1)
	setDefault(&w.Per, Duration(time.Minute))
}

// WritableBy returns what lets an item be written; nil: nothing does.
func (p *Policy) WritableBy(item string) *Write {
	for i := range p.Writes {
		if p.Writes[i].Item == item {
			return &p.Writes[i]
		}
	}
	return nil
}

// FunctionFor is what an item is written with.
func (w *Write) FunctionFor(it Item) int {
	switch {
	case w.Function != 0:
		return w.Function
	case it.Function == 1:
		return 5
	case Registers(it.Type) == 1:
		return 6
	}
	return 16
}

// Functions are function codes of Modbus, each a bit.
type Functions uint32

// ReadingFunctions are those that change nothing.
const ReadingFunctions Functions = 1<<1 | 1<<2 | 1<<3 | 1<<4

const knownFunctions = ReadingFunctions | 1<<5 | 1<<6 | 1<<16

// Has tells whether a function is among them.
func (f Functions) Has(function int) bool {
	return function >= 0 && function < 32 && f>>function&1 == 1
}

// MarshalJSON writes a list of numbers.
func (f Functions) MarshalJSON() ([]byte, error) {
	out := []byte{'['}
	for f != 0 {
		if len(out) > 1 {
			out = append(out, ',')
		}
		n := bits.TrailingZeros32(uint32(f))
		out = strconv.AppendInt(out, int64(n), 10)
		f &^= 1 << n
	}
	return append(out, ']'), nil
}

// UnmarshalJSON reads a list of numbers.
func (f *Functions) UnmarshalJSON(text []byte) error {
	var codes []int
	if err := decodeList(text, &codes); err != nil {
		return fmt.Errorf("functions are a list of numbers such as [3, 4]")
	}
	*f = 0
	for _, n := range codes {
		if !knownFunctions.Has(n) {
			return fmt.Errorf("function %d is none of 1, 2, 3, 4, 5, 6 and 16", n)
		}
		*f |= 1 << n
	}
	if *f == 0 {
		return fmt.Errorf("functions name one at least")
	}
	return nil
}

// Factor is a register that multiplies an item of its meter: it is read with the
// item's function.
type Factor struct {
	Address int    `json:"address"`
	Type    string `json:"type"`  // as of items; default uint16
	Power   bool   `json:"power"` // it is the power of ten that multiplies, not the number
}

// Factors are the registers that multiply an item; those without a type aren't there.
type Factors [MaxFactors]Factor

// MarshalJSON writes a list.
func (f Factors) MarshalJSON() ([]byte, error) { return encodeList(f.All()) }

// UnmarshalJSON reads a list.
func (f *Factors) UnmarshalJSON(text []byte) error {
	var all []Factor
	if err := decodeList(text, &all); err != nil {
		return fmt.Errorf(`scaleFrom is a list such as [{"address": 75, "type": "int16", "power": true}]: %w`, err)
	}
	if len(all) > MaxFactors {
		return fmt.Errorf("scaleFrom names %d registers, %d at most", len(all), MaxFactors)
	}
	*f = Factors{}
	for i := range all {
		setDefault(&all[i].Type, "uint16")
		f[i] = all[i]
	}
	return nil
}

// All returns those that are there.
func (f Factors) All() []Factor {
	n := 0
	for n < MaxFactors && f[n].Type != "" {
		n++
	}
	return slices.Clone(f[:n])
}

// Item returns a factor of an item as what it is to be read: an item without a name.
func (f Factor) Item(of Item) Item {
	return Item{Function: of.Function, Block: of.Block, Address: f.Address, Type: f.Type, Order: of.Order, Scale: 1}
}

// WithFactors returns items, and each register once that multiplies some of them.
func WithFactors(items []Item) []Item {
	all := slices.Clone(items)
	for _, it := range items {
		for _, f := range it.ScaleFrom.All() {
			if extra := f.Item(it); !slices.Contains(all[len(items):], extra) {
				all = append(all, extra)
			}
		}
	}
	return all
}

// Forbids are the registers of a meter that no request may touch.
func (m Meter) Forbids() Ranges {
	model, ok := ModelNamed(m.Model)
	switch {
	case !ok || model.Forbidden == "":
		return m.Forbidden
	case m.Forbidden == "":
		return model.Forbidden
	}
	return model.Forbidden + "," + m.Forbidden
}

func (it *Item) validateModbus(c *check, at string) {
	c.need(it.DI == "" && it.Format == "" && it.Offset == 0 && !it.Signed, at, "di, offset, format and signed are for DL/T 645", nil)
	within(c, at+".function", it.Function, 1, 4)
	size := Registers(it.Type)
	c.need(size > 0, at+".type", "must be bool, uint16, int16, uint32, int32, uint64, int64, float32 or float64", it.Type)
	c.need(it.Function > 2 || it.Type == "bool", at+".type", "functions 1 and 2 read single bits: must be bool", it.Type)
	within(c, at+".address", it.Address, 0, 65536-max(size, 1))
	within(c, at+".block", it.Block, 0, maxSunSpec)
	c.need(it.Block == 0 || it.Function >= 3, at+".block", "is for registers", it.Block)
	c.need(it.None == "" || isNumber(it.None), at+".none", "must be a number", it.None)
	for i, f := range it.ScaleFrom.All() {
		at := index(at+".scaleFrom", i)
		size := Registers(f.Type)
		c.need(size > 0 && f.Type != "bool", at+".type", "must be uint16, int16, uint32, int32, uint64, int64, float32 or float64", f.Type)
		within(c, at+".address", f.Address, 0, 65536-max(size, 1))
		c.need(it.Function >= 3 && it.Type != "bool", at, "bits have no scale", nil)
	}
	switch it.Order {
	case "ABCD", "DCBA", "BADC", "CDAB":
	default:
		c.add(at+".order", "must be ABCD, DCBA, BADC or CDAB", it.Order, nil)
	}
}

// validateModbus checks what holds between the parts of a policy: that items can be
// read with what may be sent and lie in no forbidden register, and that what may be
// written is there. Where items of SunSpec models lie only the driver finds out, which
// asks for nothing forbidden either.
func (p *Policy) validateModbus(c *check) {
	if p.Source.Kind.Protocol() != Modbus {
		c.need(len(p.Writes) == 0, "writes", "is for Modbus", len(p.Writes))
		c.need(p.Source.Functions == 0, "source.functions", "is for Modbus", nil)
		for i, m := range p.Meters {
			c.need(m.Forbidden == "", index("meters", i)+".forbidden", "is for Modbus", m.Forbidden)
		}
		return
	}
	for i, m := range p.Meters {
		at, forbidden := index("meters", i), m.Forbids()
		for _, it := range WithFactors(p.ItemsOf(m)) {
			name := it.Name
			if name == "" {
				name = fmt.Sprintf("scaleFrom %d", it.Address)
			}
			c.need(p.Source.Functions.Has(it.Function), at, fmt.Sprintf("has item %s of function %d, which source.functions doesn't name", name, it.Function), it.Function)
			end := it.Address + it.places()
			c.need(it.Block != 0 || !forbidden.Touch(it.Function, it.Address, end), at, fmt.Sprintf("has item %s at %d in a forbidden register", name, it.Address), it.Address)
		}
	}
	if len(p.Writes) > MaxWrites {
		c.add("writes", "too many items", len(p.Writes), MaxWrites)
		return
	}
	for i := range p.Writes {
		at := index("writes", i)
		c.need(p.WritableBy(p.Writes[i].Item) == &p.Writes[i], at+".item", "is given twice", p.Writes[i].Item)
		p.validateWrite(c, at, &p.Writes[i])
	}
}

func (p *Policy) validateWrite(c *check, at string, w *Write) {
	within(c, at+".times", w.Times, 1, maxTimes)
	within(c, at+".per", w.Per, Duration(time.Second), Duration(24*time.Hour))
	found := false
	for _, m := range p.Meters {
		for _, it := range p.ItemsOf(m) {
			if it.Name == w.Item {
				found = true
				p.validateWritten(c, at, w, it)
			}
		}
	}
	c.need(found, at+".item", "is no item of any meter", w.Item)
}

// validateWritten checks what a write says against the item.
func (p *Policy) validateWritten(c *check, at string, w *Write, it Item) {
	bit := it.Function == 1
	c.need(bit || it.Function == 3, at+".item", "can't be written: only coils (function 1) and holding registers (function 3) can", w.Item)
	c.need(it.ScaleFrom == (Factors{}) && it.Block == 0, at+".item", "can't be written: scaleFrom and block are for reading", w.Item)
	c.need(it.Scale != 0, at+".item", "can't be written: its scale is 0", w.Item)
	f := w.FunctionFor(it)
	c.need(bit == (f == 5) && (f == 5 || f == 6 || f == 16) && (f != 6 || Registers(it.Type) == 1), at+".function",
		"must be 5 for coils, 6 or 16 for one register, 16 for more", f)
	c.need(p.Source.Functions.Has(f), at, fmt.Sprintf("needs function %d, which source.functions doesn't name", f), f)
	if it.Type == "bool" {
		c.need(w.Min == nil && w.Max == nil, at, "is true or false: min and max are for numbers", w.Item)
		return
	}
	if w.Min == nil || w.Max == nil {
		c.add(at, "needs min and max", w.Item, nil)
		return
	}
	c.need(finite(*w.Min) && finite(*w.Max) && *w.Min <= *w.Max, at+".min", "must be at most max", *w.Min)
}

func finite(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }

func isNumber(s string) bool {
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && finite(f) && len(s) <= 32
}
