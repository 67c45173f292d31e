package wire

// layout is what a data unit consists of, in order.
type layout []field

// kind is how a field is read and said.
type kind uint8

const (
	kindUint       kind = iota // a number of size bytes, the lowest first; words spell it out
	kindBits                   // such a number, of parts
	kindAddress                // six bytes as 12 digits
	kindText                   // size letters
	kindBCD                    // size bytes of digits, the lowest first
	kindHex                    // size bytes as they are; 0 = all that is left
	kindSet                    // size bytes of bits, the lowest first: the numbers from base of those that are set
	kindClock                  // six bytes, seconds first; backwards = year first
	kindProtocol               // what the next message is of
	kindMessage                // a length of size bytes, and meter frames
	kindList                   // a count of size bytes, and as many of elem
	kindKept                   // as many of elem as the number says that was kept last
	kindKeptHex                // as many bytes
	kindKeptLength             // a number that is there unless what was kept is 0
	kindEach                   // size of elem
	kindRest                   // elem until the end
	kindEvent                  // a length of one byte, and what 06H-F5 reports
)

// field is one part of a layout.
type field struct {
	name              string
	kind              kind
	size              int
	unit              string
	words             []string // what the numbers 0, 1, … mean; "" is reserved
	parts             []part
	elem              layout
	most              int  // the limit of a number, or of a count; 0 = none
	base              int  // of a kindSet
	keep              bool // the number is the count of a kindKept
	digits, backwards bool // an address must be of digits; a clock begins with the year
}

// part is some bits of a number.
type part struct {
	name        string
	shift, bits uint
	words       []string
}

func num(name string, size int) field                 { return field{name: name, size: size} }
func measured(name string, size int, of string) field { return field{name: name, size: size, unit: of} }
func enum(name string, words ...string) field         { return field{name: name, size: 1, words: words} }
func upTo(name string, most int) field                { return field{name: name, size: 1, most: most} }
func kept(name string, size int) field                { return field{name: name, size: size, keep: true} }
func bitsOf(name string, size int, parts ...part) field {
	return field{name: name, kind: kindBits, size: size, parts: parts}
}
func address(name string) field         { return field{name: name, kind: kindAddress} }
func digits(name string) field          { return field{name: name, kind: kindAddress, digits: true} }
func text(name string, size int) field  { return field{name: name, kind: kindText, size: size} }
func bcd(name string, size int) field   { return field{name: name, kind: kindBCD, size: size} }
func hexOf(name string, size int) field { return field{name: name, kind: kindHex, size: size} }
func message(size int) field            { return field{name: "carried", kind: kindMessage, size: size} }
func setOf(name string, size, base int) field {
	return field{name: name, kind: kindSet, size: size, base: base}
}
func list(name string, size int, elem ...field) field {
	return field{name: name, kind: kindList, size: size, elem: elem}
}
func keptList(name string, elem ...field) field { return field{name: name, kind: kindKept, elem: elem} }
func keptHex(name string) field                 { return field{name: name, kind: kindKeptHex} }
func keptEnum(name string, words ...string) field {
	return field{name: name, size: 1, words: words, keep: true}
}
func each(name string, n int, elem ...field) field {
	return field{name: name, kind: kindEach, size: n, elem: elem}
}
func rest(name string, elem ...field) field { return field{name: name, kind: kindRest, elem: elem} }
func atMost(n int, f field) field           { f.most = n; return f }

var (
	protocol    = field{name: "protocol", kind: kindProtocol, size: 1}
	clock       = field{name: "time", kind: kindClock}
	delay       = measured("delay", 2, "s")
	delayFlag   = atMost(1, enum("delaySensitive", "no", "yes"))
	allowed     = []string{"forbidden", "allowed"}
	noYes       = []string{"no", "yes"}
	part3       = layout{num("from", 2), num("count", 1)}
	rate        = bitsOf("rate", 2, part{"rate", 0, 15, nil}, part{"unit", 15, 1, []string{"bit/s", "kbit/s"}})
	bands       = enum("band", "1.953 to 11.96 MHz", "2.441 to 5.615 MHz", "0.781 to 2.930 MHz", "1.758 to 2.930 MHz")
	powers      = []string{"highest", "second highest", "second lowest", "lowest"}
	threshold   = upTo("threshold", 120)
	linkWord    = []part{{"relayLevel", 0, 4, nil}, {"quality", 4, 4, nil}}
	phaseWord   = []part{{"phase1", 8, 1, noYes}, {"phase2", 9, 1, noYes}, {"phase3", 10, 1, noYes}, {"protocol", 11, 3, protocolNames[:]}, {"minuteCollection", 14, 1, noYes}}
	nodeWord    = bitsOf("state", 2, append(linkWord[:2:2], phaseWord...)...)
	nodeStates  = layout{num("total", 2), list("nodes", 1, address("address"), nodeWord)}
	version     = layout{text("vendor", 2), text("chip", 2), bcd("date", 3), bcd("version", 2)}
	moduleID    = layout{text("vendor", 2), atMost(50, kept("length", 1)), enum("format", "combined", "BCD", "binary", "ASCII"), keptHex("id")}
	deviceKinds = []string{"", "reading controller", "CCO", "meter's module", "relay", "collector II", "collector I", "three-phase meter's module"}
	idKinds     = []string{"", "chip", "module"}
	meterKinds  = []string{"single-phase", "three-phase", "other"}
)
