package schema

import "slices"

// Policy is what the desired section of a collect:<name> shadow says, with
// defaults applied: which items of which meters are read from where, how often.
type Policy struct {
	Enabled  *bool    `json:"enabled"`  // default true
	Priority int      `json:"priority"` // 1 first to 9 last; default 5; orders policies that share a port
	Source   Source   `json:"source"`
	Meters   []Meter  `json:"meters"`
	Items    []Item   `json:"items"`  // read from every meter, besides those of its model
	Period   Duration `json:"period"` // 100ms to 24h; default 15m
	Align    Duration `json:"align"`  // offset of the slots from the whole period, counted from 1970 by the clock of zone; default 0
	Zone     string   `json:"zone"`   // of the meters' clocks and of times of day, from UTC, such as +08:00; default +00:00
	Windows  []Window `json:"windows"`
	Report   Report   `json:"report"`
	Writes   []Write  `json:"writes"` // of Modbus: what may be written, when somebody asks for it; default nothing

	Collect     string    `json:"collect"`     // current (default): what meters measure when they are asked; freeze: what they froze at the slot
	Delay       Duration  `json:"delay"`       // after a slot, until it is read; default 0, 1m for freeze
	SilentShare int       `json:"silentShare"` // percent of the period that meters may take which kept silent the last time; default 25
	Backfill    *Backfill `json:"backfill"`    // nil: what was missed isn't read later
	Keep        int       `json:"keep"`        // days that readings are kept on the node; default 7, or those of backfill
}

// What a policy collects.
const (
	CollectCurrent = "current"
	CollectFreeze  = "freeze"
)

// Backfill says when what is missing is read from what meters keep: freezes of
// DL/T 698.45, load records and daily freezes of DL/T 645.
type Backfill struct {
	At               []string `json:"at"`               // "+5m": so long after each slot; "00:30": at that time of day
	Days             int      `json:"days"`             // how far back; default 3
	MaxPointsPerRead int      `json:"maxPointsPerRead"` // times of one meter in one read; default 20
}

// SourceKind is a protocol on a medium.
type SourceKind string

// The kinds of source.
const (
	SourceModbusTCP     SourceKind = "modbus-tcp"
	SourceModbusRTU     SourceKind = "modbus-rtu"     // serial line
	SourceModbusRTUOver SourceKind = "modbus-rtu-tcp" // RTU frames through a serial server
	SourceDLT645        SourceKind = "dlt645"         // DL/T 645-2007 on a serial line
	SourceDLT645TCP     SourceKind = "dlt645-tcp"     // the same through a serial server
	SourceDLT698        SourceKind = "dlt698"         // DL/T 698.45 on a serial line
	SourceDLT698TCP     SourceKind = "dlt698-tcp"     // the same over TCP, or through a serial server
	SourceQ376          SourceKind = "q376"           // meters of a station area through its CCO (Q/GDW 10376.2) on a serial line
	SourceQ376TCP       SourceKind = "q376-tcp"       // the same over TCP, or through a serial server
	SourceSNMP          SourceKind = "snmp"           // devices with an SNMP agent, each at an address of its own
	SourceMQTT          SourceKind = "mqtt"           // what devices publish on an MQTT 5 broker
)

// Protocol is what is spoken with meters, whatever the medium. It decides which
// members of sources, meters, items and device models mean something.
type Protocol string

// The protocols.
const (
	Modbus Protocol = "modbus"
	DLT645 Protocol = "dlt645"
	DLT698 Protocol = "dlt698"
	Q376   Protocol = "q376" // with a CCO, which carries DL/T 645 and 698.45 to meters
	SNMP   Protocol = "snmp"
	MQTT   Protocol = "mqtt"
)

// sourceKinds says of every kind what is spoken, and whether on a serial line.
var sourceKinds = map[SourceKind]struct {
	protocol Protocol
	serial   bool
}{
	SourceModbusTCP: {Modbus, false}, SourceModbusRTU: {Modbus, true}, SourceModbusRTUOver: {Modbus, false},
	SourceDLT645: {DLT645, true}, SourceDLT645TCP: {DLT645, false},
	SourceDLT698: {DLT698, true}, SourceDLT698TCP: {DLT698, false},
	SourceQ376: {Q376, true}, SourceQ376TCP: {Q376, false},
	SourceSNMP: {SNMP, false}, SourceMQTT: {MQTT, false},
}

// Protocol returns what is spoken through a source of the kind; "" for an
// unknown one.
func (k SourceKind) Protocol() Protocol { return sourceKinds[k].protocol }

// Source is the port that meters are read through. Policies naming the same
// port share it.
type Source struct {
	Kind    SourceKind `json:"kind"`
	Address string     `json:"address"` // host:port of the TCP kinds, and of mqtt's broker
	Port    string     `json:"port"`    // serial device of modbus-rtu, dlt645, dlt698 and q376, such as /dev/ttyS1
	Baud    int        `json:"baud"`    // default 9600; 2400 for dlt645
	Data    int        `json:"data"`    // data bits, 7 or 8; default 8
	Parity  string     `json:"parity"`  // N, E or O; default N; E for dlt645, dlt698 and q376
	Stop    int        `json:"stop"`    // stop bits, 1 or 2; default 1
	Timeout Duration   `json:"timeout"` // for one reply, of dlt645 and dlt698 until it begins; default 1s; 90s for q376, where it bounds a meter's turn
	Pause   Duration   `json:"pause"`   // between two requests; default 0
	Tries   int        `json:"tries"`   // per request within one cycle; default 2
	MaxHole *int       `json:"maxHole"` // of Modbus: unused registers read over to join two fields; default 16

	Functions Functions `json:"functions"` // of Modbus: what may be sent; default 1, 2, 3 and 4, which read; 5, 6 and 16 write

	Preamble *int `json:"preamble"` // of DL/T 645 and 698.45: FE bytes before a request, 0 to 4; default 4
	MaxFrame int  `json:"maxFrame"` // of DL/T 698.45: bytes that meters take and send in one frame; default 512

	Parallel      int    `json:"parallel"`      // of q376: meters that the CCO reads at once; default 5. Of snmp: agents that are asked at once; default 8
	FramesPerRead int    `json:"framesPerRead"` // of q376: DL/T 645 frames in one request; default 13
	Archive       string `json:"archive"`       // of q376: sync (default) makes the CCO's archive what policies name, add deletes nothing from it

	Credentials string   `json:"credentials"` // of snmp and mqtt: the name of a file on the node that says who we are; "" = none
	Version     string   `json:"version"`     // of snmp: 1, 2c (default) or 3
	MaxOIDs     int      `json:"maxOids"`     // of snmp: values asked for in one request; default 20
	MaxAge      Duration `json:"maxAge"`      // of mqtt: an older value counts as missing; default three periods, at least 1m
	Retained    bool     `json:"retained"`    // of mqtt: what the broker retains is taken too, of whatever age that is; default false, since nobody says how old it is
}

// Meter is one device on the source.
type Meter struct {
	ID      string `json:"id"`      // unique within the policy
	Unit    int    `json:"unit"`    // Modbus unit, 1 to 247 (0 to 255 on TCP); default 1
	Address string `json:"address"` // of DL/T 645: the 12 digits of the meter; of DL/T 698.45: 2 to 32, those that any may be as A; of snmp: host or host:port; of mqtt: what {address} in topics stands for
	Model   string `json:"model"`   // device model naming its items; "" = only the policy's items

	Protocol Protocol `json:"protocol"` // of q376: dlt645 or dlt698; default that of the model, else dlt645

	Forbidden Ranges `json:"forbidden"` // of Modbus: registers that no request may touch, besides those of its model
}

// Item is one value of a meter. Modbus finds it by function and address, DL/T 645
// by its data identifier, DL/T 698.45 by its object attribute, which a record may
// hold, SNMP by its object identifier, MQTT by topic and path.
type Item struct {
	Name     string  `json:"name"`     // unique within a meter
	Function int     `json:"function"` // 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers; default 3
	Address  int     `json:"address"`  // 0-based address on the wire
	Type     string  `json:"type"`     // bool, uint16, int16, uint32, int32, uint64, int64, float32, float64; default uint16, bool for functions 1 and 2
	Order    string  `json:"order"`    // byte order ABCD (default), DCBA, BADC or CDAB
	DI       string  `json:"di"`       // data identifier of DL/T 645: 8 hex digits, DI3 first, such as 02010100
	Offset   int     `json:"offset"`   // bytes of the identifier's data before the value; default 0
	Format   string  `json:"format"`   // the digits of a DL/T 645 value, such as XXX.X; two to a byte, 16 at most
	Signed   bool    `json:"signed"`   // whether the value's top bit is its sign
	OAD      string  `json:"oad"`      // object attribute of DL/T 698.45: 8 hex digits, such as 20000201
	Record   string  `json:"record"`   // object attribute of the records it is a column of, such as 50040200; "" = none
	Nth      int     `json:"nth"`      // which record, 1 for the latest to 255; default 1
	Scaler   string  `json:"scaler"`   // object attribute of its Scaler_Unit, whose power of ten multiplies the value too; "" = none
	Scale    float64 `json:"scale"`    // multiplies the raw value; default 1
	Unit     string  `json:"unit"`     // such as V, A, kW, kWh, Hz; informative

	ScaleFrom Factors `json:"scaleFrom"` // of Modbus: registers whose values multiply it too, two at most
	Block     int     `json:"block"`     // of Modbus: the SunSpec model whose first register addresses count from; 0 = none
	None      string  `json:"none"`      // of Modbus, SNMP and MQTT: the number, before it is scaled, that says there is no value, such as -32768

	OID   string `json:"oid"`   // of SNMP: the object's instance, such as 1.3.6.1.2.1.1.3.0
	Topic string `json:"topic"` // of MQTT: without wildcards; {address} stands for the meter's
	Path  string `json:"path"`  // of MQTT: where in the payload's JSON, such as energy.total; "" = the payload itself
}

// Window is a part of the day in which the policy polls, "HH:MM-HH:MM" by the
// clock of zone; one that ends before it starts goes over midnight. No windows =
// always.
type Window string

// Report says what of the readings goes upward.
type Report struct {
	Every    Duration `json:"every"`    // at most one report in the shadow per this time; default the period, at least 1s
	OnChange bool     `json:"onChange"` // leave out values equal to those last reported
	Batch    int      `json:"batch"`    // rows of readings in one message; default 200
	MaxDelay Duration `json:"maxDelay"` // that a row waits for others to travel with; default 1m
}

// Limits of a policy document, beyond those of every shadow.
const (
	MaxMeters        = 1000
	MaxItems         = 500
	MaxWindows       = 16
	MaxRegistersHole = 120
	MaxBackfillTimes = 16
	MaxBackfillDays  = 31
	MaxPointsPerRead = 99
	MaxBackfillSlots = 10_000
	MaxKeepDays      = 366
)

// IsEnabled tells whether the policy polls at all.
func (p *Policy) IsEnabled() bool { return p.Enabled == nil || *p.Enabled }

// ItemsOf returns all items of a meter: those of its model, then the policy's.
// Of a CCO's meters, an item is read from those whose protocol it is of; of
// freezes, those that meters keep.
func (p *Policy) ItemsOf(m Meter) []Item {
	if p.Collect == CollectFreeze {
		return p.KeptOf(m)
	}
	return p.allOf(m)
}

func (p *Policy) allOf(m Meter) []Item {
	own := p.Items
	if p.Source.Kind.Protocol() == Q376 {
		own = itemsFor(m.Protocol, own)
	}
	model, ok := ModelNamed(m.Model)
	if !ok {
		return own
	}
	if len(own) == 0 {
		return model.Items
	}
	return overridden(model.Items, own)
}

// overridden are the items of a model with those of a policy: one of the same
// name takes the place of the model's.
func overridden(model, own []Item) []Item {
	all := append(make([]Item, 0, len(model)+len(own)), model...)
	replaced := make([]bool, len(model))
	for _, it := range own {
		at := slices.IndexFunc(model, func(m Item) bool { return m.Name == it.Name })
		if at < 0 || replaced[at] { // a second one is refused
			all = append(all, it)
			continue
		}
		all[at], replaced[at] = it, true
	}
	return all
}

// Registers returns how many 16-bit registers a type takes; 0 for an unknown
// one, 1 for bool, which as a coil is one bit.
func Registers(itemType string) int {
	switch itemType {
	case "bool", "uint16", "int16":
		return 1
	case "uint32", "int32", "float32":
		return 2
	case "uint64", "int64", "float64":
		return 4
	default:
		return 0
	}
}
