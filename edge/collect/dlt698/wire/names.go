package wire

import "fmt"

// object is what is known of an object: its name, and what its values are worth
// where the standard fixes that.
type object struct {
	name     string
	exponent int8 // of ten
	unit     string
}

// objects are those that field engineers meet, by OI. Energies and demands come
// in families of their own; see describe.
var objects = map[uint16]object{
	0x2000: {"voltage", -1, "V"}, 0x2001: {"current", -3, "A"}, 0x2002: {"voltage phase angle", -1, "°"},
	0x2003: {"voltage-current angle", -1, "°"}, 0x2004: {"active power", -1, "W"}, 0x2005: {"reactive power", -1, "var"},
	0x2006: {"apparent power", -1, "VA"}, 0x2007: {"active power, one-minute mean", -1, "W"},
	0x2008: {"reactive power, one-minute mean", -1, "var"}, 0x2009: {"apparent power, one-minute mean", -1, "VA"},
	0x200a: {"power factor", -3, ""}, 0x200f: {"grid frequency", -2, "Hz"}, 0x2010: {"temperature in the meter", -1, "°C"},
	0x2011: {"clock battery voltage", -2, "V"}, 0x2012: {"reading battery voltage", -2, "V"}, 0x2013: {"clock battery working time", 0, "min"},
	0x2014: {"meter status words", 0, ""}, 0x2017: {"active demand at present", -4, "kW"}, 0x2018: {"reactive demand at present", -4, "kvar"},
	0x2019: {"apparent demand at present", -4, "kVA"}, 0x2021: {"freeze time", 0, ""}, 0x2022: {"event number", 0, ""},
	0x2023: {"freeze number", 0, ""}, 0x202a: {"target server address", 0, ""},
	0x4000: {"date and time", 0, ""}, 0x4001: {"communication address", 0, ""}, 0x4002: {"meter number", 0, ""},
	0x4003: {"customer number", 0, ""}, 0x4004: {"position of the device", 0, ""}, 0x4100: {"demand period", 0, "min"},
	0x4101: {"demand slide", 0, "min"}, 0x4103: {"asset number", 0, ""}, 0x4300: {"electrical device", 0, ""},
	0x5000: {"instant freeze", 0, ""}, 0x5001: {"second freeze", 0, ""}, 0x5002: {"minute freeze", 0, ""}, 0x5003: {"hour freeze", 0, ""},
	0x5004: {"day freeze", 0, ""}, 0x5005: {"billing day freeze", 0, ""}, 0x5006: {"month freeze", 0, ""}, 0x5007: {"year freeze", 0, ""},
	0x6000: {"meter archive", 0, ""}, 0x6012: {"task configuration", 0, ""}, 0x6014: {"collection scheme", 0, ""},
	0x6016: {"event collection scheme", 0, ""}, 0x601c: {"report scheme", 0, ""}, 0x6034: {"collection task monitor", 0, ""},
	0xf100: {"ESAM", 0, ""}, 0xf101: {"security mode", 0, ""},
}

// energies are the families of energy objects, by the tens of the OI; the last
// digit is the phase.
var energies = map[uint16]object{
	0x000: {"combined active energy", -2, "kWh"}, 0x001: {"forward active energy", -2, "kWh"}, 0x002: {"reverse active energy", -2, "kWh"},
	0x003: {"combined reactive energy 1", -2, "kvarh"}, 0x004: {"combined reactive energy 2", -2, "kvarh"},
	0x005: {"reactive energy, quadrant 1", -2, "kvarh"}, 0x006: {"reactive energy, quadrant 2", -2, "kvarh"},
	0x007: {"reactive energy, quadrant 3", -2, "kvarh"}, 0x008: {"reactive energy, quadrant 4", -2, "kvarh"},
	0x009: {"forward apparent energy", -2, "kVAh"}, 0x00a: {"reverse apparent energy", -2, "kVAh"},
	0x101: {"forward active demand maximum", -4, "kW"}, 0x102: {"reverse active demand maximum", -4, "kW"},
}

// describe returns what is known of an object.
func describe(oi uint16) (object, bool) {
	if o, ok := objects[oi]; ok {
		return o, true
	}
	o, ok := energies[oi>>4]
	if phase := oi & 15; ok && phase > 0 {
		if phase > 3 {
			return object{}, false
		}
		o.name = fmt.Sprintf("%s, phase %c", o.name, 'A'+rune(phase)-1)
	}
	return o, ok
}

// OI returns the object, Attribute and Index the rest of the number.
func (o ObjectAttribute) OI() uint16 { return uint16(o >> 16) }

// Attribute returns the attribute's number, without its characteristic.
func (o ObjectAttribute) Attribute() byte { return byte(o>>8) & 31 }

// Index returns the element of the attribute; 0 is all of it.
func (o ObjectAttribute) Index() byte { return byte(o) }

func (o ObjectAttribute) String() string { return fmt.Sprintf("%08X", uint32(o)) }

// Name returns what the object is, or "".
func (o ObjectAttribute) Name() string {
	known, _ := describe(o.OI())
	return known.name
}

// scale returns the power of ten and the unit of a value, if it is known: of the
// attributes that the standard fixes them for.
func (o ObjectAttribute) scale() (exponent int, unit string, ok bool) {
	known, ok := describe(o.OI())
	if !ok || known.unit == "" && known.exponent == 0 {
		return 0, "", false
	}
	switch {
	case o.Attribute() == 2:
		return int(known.exponent), known.unit, true
	case o.Attribute() == 4 && o.OI() < 0x1000: // energies with two more digits
		return int(known.exponent) - 2, known.unit, true
	}
	return 0, "", false
}

// DAR is a data access result.
type DAR byte

const darOther DAR = 255

var darNames = [...]string{
	"success", "hardware failure", "temporary failure", "reading or writing denied", "object undefined",
	"interface class does not fit", "object does not exist", "type does not fit", "out of range", "data block unavailable",
	"transfer in parts cancelled", "no transfer in parts", "block writing cancelled", "no block writing", "data block number invalid",
	"wrong password or not authorised", "speed cannot be changed", "too many time zones of the year", "too many periods of the day",
	"too many tariffs", "security does not fit", "recharged twice", "ESAM verification failed", "security authentication failed",
	"customer number does not fit", "recharge count wrong", "purchase exceeds hoarding limit", "address abnormal",
	"symmetric decryption failed", "asymmetric decryption failed", "signature wrong", "meter suspended", "time tag invalid",
	"request timed out", "P1 or P2 of the ESAM wrong", "LC of the ESAM wrong", "comparison failed",
}

func (d DAR) String() string {
	switch {
	case int(d) < len(darNames):
		return darNames[d]
	case d == darOther:
		return "other reason"
	}
	return fmt.Sprintf("reserved code %d", byte(d))
}

// units are those of Scaler_Unit, by number, as far as sources agree.
var units = map[byte]string{
	1: "a", 2: "mo", 3: "wk", 4: "d", 5: "h", 6: "min", 7: "s", 8: "°", 9: "°C", 11: "m", 12: "m/s", 13: "m³",
	19: "l", 20: "kg", 21: "N", 22: "Nm", 23: "Pa", 24: "bar", 25: "J", 26: "J/h", 27: "W", 28: "kW", 29: "VA", 30: "kVA",
	31: "var", 32: "kvar", 33: "kWh", 34: "kVAh", 35: "kvarh", 36: "A", 37: "C", 38: "V", 39: "V/m", 40: "F", 41: "Ω",
	43: "Wb", 44: "T", 45: "A/m", 46: "H", 47: "Hz", 255: "",
}

// words spells out enumerations, by the name of their field.
var words = map[string]map[uint64]string{
	"kind":        {0: "login", 1: "heartbeat", 2: "logout"},
	"error":       {1: "APDU cannot be parsed", 2: "service not supported", 255: "other reason"},
	"bounds":      {0: "[begin, end)", 1: "(begin, end]", 2: "[begin, end]", 3: "(begin, end)"},
	"parity":      {0: "none", 1: "odd", 2: "even"},
	"dataBits":    {5: "5", 6: "6", 7: "7", 8: "8"},
	"stopBits":    {1: "1", 2: "2"},
	"flowControl": {0: "none", 1: "hardware", 2: "software"},
	"baud": {0: "300", 1: "600", 2: "1200", 3: "2400", 4: "4800", 5: "7200", 6: "9600", 7: "19200", 8: "38400",
		9: "57600", 10: "115200", 255: "adaptive"},
}

// connectResults spell out the result of CONNECT.
var connectResults = map[uint64]string{
	0: "allowed", 1: "wrong password", 2: "symmetric decryption failed", 3: "asymmetric decryption failed",
	4: "signature wrong", 5: "protocol version does not fit", 255: "other reason",
}

// tiUnits are those of time intervals.
var tiUnits = [...]string{"s", "min", "h", "d", "mo", "a"}

// TIUnit returns the unit of a TI, or "".
func TIUnit(n uint64) string {
	if n < uint64(len(tiUnits)) {
		return tiUnits[n]
	}
	return ""
}
