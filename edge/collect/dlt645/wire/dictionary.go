package wire

import (
	"fmt"
	"slices"
)

// The formats of the standard's values.
var (
	energyFormat  = Format{8, 2, false}
	powerFormat   = Format{6, 4, true}
	currentFormat = Format{6, 3, true} // the sign isn't in every edition of the standard
	voltFormat    = Format{4, 1, false}
	ratioFormat   = Format{4, 3, true}
	hundredths    = Format{4, 2, false}
)

var energies = []struct {
	name, energyUnit, demandUnit string
	signed                       bool
}{
	{"combined active", "kWh", "kW", true}, {"forward active", "kWh", "kW", false}, {"reverse active", "kWh", "kW", false},
	{"combined reactive 1", "kvarh", "kvar", true}, {"combined reactive 2", "kvarh", "kvar", true},
	{"reactive quadrant 1", "kvarh", "kvar", false}, {"reactive quadrant 2", "kvarh", "kvar", false},
	{"reactive quadrant 3", "kvarh", "kvar", false}, {"reactive quadrant 4", "kvarh", "kvar", false},
	{"forward apparent", "kVAh", "kVA", false}, {"reverse apparent", "kVAh", "kVA", false},
}

// instants are the values of 02xxpp00, by xx.
var instants = map[byte]Part{
	0x01: {Name: "voltage", Unit: "V", Format: voltFormat}, 0x02: {Name: "current", Unit: "A", Format: currentFormat},
	0x03: {Name: "active power", Unit: "kW", Format: powerFormat}, 0x04: {Name: "reactive power", Unit: "kvar", Format: powerFormat},
	0x05: {Name: "apparent power", Unit: "kVA", Format: powerFormat}, 0x06: {Name: "power factor", Format: ratioFormat},
	0x07: {Name: "phase angle", Unit: "°", Format: voltFormat},
}

// singles are identifiers that belong to no family.
var singles = map[DI]Part{
	0x02800001: {Name: "neutral current", Unit: "A", Format: currentFormat},
	0x02800002: {Name: "frequency", Unit: "Hz", Format: hundredths},
	0x02800003: {Name: "active power, mean of a minute", Unit: "kW", Format: powerFormat},
	0x02800004: {Name: "active demand, present", Unit: "kW", Format: powerFormat},
	0x02800005: {Name: "reactive demand, present", Unit: "kvar", Format: powerFormat},
	0x02800006: {Name: "apparent demand, present", Unit: "kVA", Format: powerFormat},
	0x02800007: {Name: "temperature inside", Unit: "°C", Format: Format{4, 1, true}},
	0x02800008: {Name: "battery of the clock", Unit: "V", Format: hundredths},
	0x02800009: {Name: "battery for reading without mains", Unit: "V", Format: hundredths},
	0x04000101: {Name: "date", Layout: Date},
	0x04000102: {Name: "time", Layout: Clock},
	0x04000401: {Name: "address", Bytes: len(Address{})},
}

var (
	phaseLabels = []string{"phase A", "phase B", "phase C"}
	powerLabels = append([]string{"total"}, phaseLabels...)
	rateLabels  = func() []string {
		labels := []string{"total"}
		for t := 1; t <= 63; t++ {
			labels = append(labels, fmt.Sprint("tariff ", t))
		}
		return labels
	}()
)

// Lookup says what an identifier stands for.
func Lookup(d DI) (Item, bool) {
	if p, ok := singles[d]; ok {
		return Item{Name: p.Name, Parts: []Part{p}}, true
	}
	switch d.part(3) {
	case 0x00, 0x01:
		return lookupEnergy(d)
	case 0x02:
		return lookupInstant(d)
	case 0x05:
		return lookupFreeze(d)
	}
	return Item{}, false
}

func lookupEnergy(d DI) (Item, bool) {
	if int(d.part(2)) >= len(energies) || d.part(0) > 12 {
		return Item{}, false
	}
	e := energies[d.part(2)]
	format := energyFormat
	format.Signed = e.signed
	it := Item{Name: e.name + " energy", Parts: []Part{{Name: "energy", Unit: e.energyUnit, Format: format}}}
	if d.part(3) == 0x01 {
		it.Name = e.name + " maximum demand"
		it.Parts = []Part{{Name: "demand", Unit: e.demandUnit, Format: Format{6, 4, e.signed}}, {Name: "at", Layout: Minutes}}
	}
	if n := d.part(0); n > 0 {
		it.Name += fmt.Sprintf(", settlement %d ago", n)
	}
	return it.member(d.part(1), rateLabels, 0)
}

func lookupInstant(d DI) (Item, bool) {
	p, ok := instants[d.part(2)]
	if !ok || d.part(0) != 0 {
		return Item{}, false
	}
	labels, first := phaseLabels, 1
	if kind := d.part(2); kind >= 0x03 && kind <= 0x06 {
		labels, first = powerLabels, 0
	}
	return Item{Name: p.Name, Parts: []Part{p}}.member(d.part(1), labels, first)
}

// member makes an item the one that DI1 says, of those labelled from first on.
func (it Item) member(di1 byte, labels []string, first int) (Item, bool) {
	if di1 == whole {
		it.Name += ", block"
		it.Labels = labels
		return it, true
	}
	i := int(di1) - first
	if i < 0 || i >= len(labels) {
		return Item{}, false
	}
	it.Name += ", " + labels[i]
	return it, true
}

// lookupFreeze knows the daily freeze.
func lookupFreeze(d DI) (Item, bool) {
	if d.part(2) != 0x06 || d.part(0) == 0 {
		return Item{}, false
	}
	ago := fmt.Sprintf(", daily freeze %d ago", d.part(0))
	switch d.part(1) {
	case 0:
		return Item{Name: "time" + ago, Parts: []Part{{Name: "time", Layout: Minutes}}}, true
	case 1, 2:
		e := energies[d.part(1)]
		return Item{
			Name: e.name + " energy" + ago, Labels: slices.Clone(rateLabels),
			Parts: []Part{{Name: "energy", Unit: e.energyUnit, Format: energyFormat}},
		}, true
	}
	return Item{}, false
}

// instants1997 are the identifiers of DL/T 645-1997 that are recognized, by
// their first three digits.
var instants1997 = map[uint16]Part{
	0x901: {Name: "forward active energy", Unit: "kWh", Format: energyFormat}, 0x902: {Name: "reverse active energy", Unit: "kWh", Format: energyFormat},
	0xb61: {Name: "voltage", Unit: "V", Format: Format{4, 0, false}}, 0xb62: {Name: "current", Unit: "A", Format: Format{4, 2, false}},
	0xb63: {Name: "active power", Unit: "kW", Format: Format{6, 4, false}}, 0xb64: {Name: "reactive power", Unit: "kvar", Format: Format{4, 2, false}},
	0xb65: {Name: "power factor", Format: Format{4, 3, false}},
}
