package wire

// entry is one Fn: its name and its data units. A nil layout is no data unit in
// that direction; of a direction that doesn't exist, absent is true.
type entry struct {
	name     string
	down, up []layout // in turn, if the first doesn't fit
	origin   string   // "" is the standard
}

var none = []layout{{}} // there is a frame, but it has no data unit

func one(fields ...field) []layout { return []layout{fields} }

const (
	anhui  = "minute collection of Anhui"
	vendor = "vendors"
)

// entries are all data units, by AFN and Fn.
var entries = map[AFN]map[Fn]entry{
	AFNConfirm: {
		1: {name: "confirm", down: confirm, up: confirm},
		2: {name: "deny", down: deny, up: deny},
	},
	AFNInitialize: {
		1: {name: "hardware", down: none},
		2: {name: "parameters: all nodes are forgotten", down: none},
		3: {name: "data: what is known of communication is forgotten", down: none},
	},
	AFNForward: {1: {name: "forward a meter frame", down: one(protocol, message(1)), up: one(protocol, message(1))}},
	AFNQuery:   queries,
	AFNTest: {
		1: {name: "send a test signal", down: one(measured("duration", 1, "s"))},
		2: {name: "roll call of nodes", down: none},
		3: {name: "send a test frame", down: one(num("rate", 1), digits("address"), protocol, message(1))},
	},
	AFNControl:    controls,
	AFNReport:     reports,
	AFNRouteQuery: routeQueries,
	AFNRouteSet:   routeSettings,
	AFNRouteControl: {
		1: {name: "restart", down: none}, 2: {name: "pause", down: none}, 3: {name: "resume", down: none},
	},
	AFNMonitor: {1: {
		name: "read a node now",
		down: one(protocol, delayFlag, list("attached", 1, address("address")), message(1)),
		up:   one(delay, protocol, message(1)),
	}},
	AFNRouteRead: {
		1: {
			name: "what to read",
			up:   one(enum("phase", "not known", "1", "2", "3"), digits("meter"), num("index", 2)),
			down: one(enum("verdict", "failed", "done", "read this"), delayFlag, message(1), list("attached", 1, address("address"))),
		},
		2: {name: "what time it is", up: none, down: one(clock)},
		3: {name: "correct a frame for the delay", up: one(digits("meter"), delay, message(1)), down: one(message(1))},
		4: {
			name: "what the concentrator measures",
			up:   one(enum("items", "", "DL/T 645-2007", "DL/T 698.45"), hexOf("item", 4)),
			down: one(enum("items", "", "DL/T 645-2007", "DL/T 698.45"), hexOf("item", 4), hexOf("value", 0)),
		},
	},
	AFNFile: {1: {
		name: "part of a file",
		down: []layout{{num("file", 1), num("last", 1), num("command", 1), num("parts", 2), num("part", 4), kept("length", 2), keptHex("data")}},
		up:   one(num("part", 4)),
	}},
	AFNConcurrent: {1: {
		name: "read meters concurrently",
		down: one(protocol, num("reserved", 1), message(2)),
		up:   one(protocol, message(2)),
	}},
}

var (
	confirm = one(bitsOf("status", 4, part{"done", 0, 1, noYes}, part{"idleChannels", 1, 31, nil}), measured("wait", 2, "s"))
	deny    = one(field{name: "reason", kind: kindUint, size: 1, unit: "deny"})
)

var queries = map[Fn]entry{
	1:   {name: "vendor and version", down: none, up: []layout{version}},
	2:   {name: "noise", down: none, up: one(bitsOf("noise", 1, part{"strength", 0, 4, nil}))},
	3:   {name: "nodes overheard", down: one(num("from", 1), upTo("count", 16)), up: one(num("total", 1), list("nodes", 1, address("address"), bitsOf("link", 1, linkWord...), bitsOf("heard", 1, part{"times", 0, 4, nil})))},
	4:   {name: "address of the main node", down: none, up: one(digits("mainNode"))},
	5:   {name: "state and rates of the main node", down: none, up: one(mainState, atMost(15, rest("rates", rate)))},
	6:   {name: "interference at the main node", down: one(measured("duration", 1, "min")), up: one(enum("interference", "no", "yes"))},
	7:   {name: "timeout of reading a node", down: none, up: one(measured("timeout", 1, "s"))},
	8:   {name: "radio parameters", down: none, up: one(upTo("group", 63), enum("power", powers...))},
	9:   {name: "duration of a broadcast", down: one(protocol, message(1)), up: one(delay, protocol, message(1))},
	10:  {name: "run mode", down: none, up: []layout{runMode}},
	11:  {name: "supported Fns of an AFN", down: one(num("afn", 1)), up: one(num("afn", 1), setOf("supported", 32, 1))},
	12:  {name: "module ID of the main node", down: none, up: one(moduleID...)},
	16:  {name: "HPLC band", down: none, up: one(bands)},
	100: {name: "field strength threshold", down: none, up: one(threshold)},
}

var mainState = bitsOf("state", 2,
	part{"rates", 0, 4, nil}, part{"channel", 4, 2, []string{"micro-power radio", "one phase fed, one used", "one phase fed, three used", "three phases fed and used"}},
	part{"reading", 6, 2, []string{"led by either", "led by the concentrator", "led by the routing", ""}}, part{"channels", 8, 4, nil})

var runMode = append(append(layout{
	bitsOf("mode", 6,
		part{"medium", 0, 4, []string{"", "narrowband carrier", "broadband carrier", "micro-power radio"}},
		part{"routes", 4, 1, noYes}, part{"wantsArchive", 5, 1, noYes},
		part{"reading", 6, 2, []string{"", "led by the concentrator", "led by the routing", "led by either"}},
		part{"delayOfRouteReading", 8, 1, noYes}, part{"delayOfMonitoring", 9, 1, noYes}, part{"delayOfBroadcast", 10, 1, noYes},
		part{"switchesBySelf", 11, 1, noYes}, part{"switchesWhenTold", 12, 1, noYes},
		part{"broadcastConfirmed", 13, 1, []string{"after it", "before it"}}, part{"broadcastByChannel", 14, 2, []string{"no", "yes"}},
		part{"channels", 16, 5, nil}, part{"phasesDown", 21, 3, nil}, part{"rates", 24, 4, nil}, part{"minuteCollection", 45, 1, noYes}),
	measured("monitorTimeout", 1, "s"), measured("broadcastTimeout", 2, "s"), measured("largestFrame", 2, "bytes"), measured("largestFilePart", 2, "bytes"),
	num("upgradeWait", 1), address("mainNode"), num("capacity", 2), num("nodes", 2), hexOf("released", 3), hexOf("filed", 3),
}, version...), atMost(15, rest("rates", rate)))

var controls = map[Fn]entry{
	1:   {name: "set the address of the main node", down: one(digits("mainNode"))},
	2:   {name: "reports of nodes", down: one(enum("reports", allowed...))},
	3:   {name: "broadcast", down: one(enum("control", "transparent", "DL/T 645-1997", "DL/T 645-2007", "identify phases"), message(1))},
	4:   {name: "set the timeout of reading a node", down: one(measured("timeout", 1, "s"))},
	5:   {name: "set radio parameters", down: one(num("group", 1), num("power", 1))},
	6:   {name: "identification of the supply area", down: one(enum("identification", allowed...))},
	10:  {name: "set the rate of the serial port", down: one(enum("rate", "9600", "19200", "38400", "57600", "115200")), origin: anhui},
	16:  {name: "set the HPLC band", down: one(bands)},
	100: {name: "set the field strength threshold", down: one(threshold)},
	101: {name: "set the clock of the main node", down: one(clock)},
	200: {name: "reports of refused nodes", down: one(enum("reports", allowed...))},
}

var reports = map[Fn]entry{
	1: {name: "nodes", up: one(list("nodes", 1, address("address"), protocol, num("index", 2)))},
	2: {name: "what was read", up: one(num("index", 2), protocol, delay, message(1))},
	3: {name: "change of work", up: one(enum("change", "", "reading has ended", "search for meters has ended", "search for the supply area has ended", "minute collection is idle (Anhui)"))},
	4: {name: "nodes and kinds of devices", up: one(list("nodes", 1,
		address("address"), protocol, num("index", 2), enum("device", "collector", "meter"), upTo("attachedInAll", 32),
		atMost(8, list("attached", 1, address("address"), protocol))))},
	5:   {name: "event", up: one(keptEnum("device", eventDevices...), field{name: "event", kind: kindEvent})},
	230: {name: "what a task has collected", up: one(num("task", 1), digits("meter"), protocol, field{name: "time", kind: kindClock, backwards: true}, message(2)), origin: anhui},
}

var eventDevices = []string{
	"collector", "meter", "HPLC module", "narrowband carrier module", "micro-power radio module", "radio and HPLC module", "radio and narrowband module",
}

var routeQueries = map[Fn]entry{
	1: {name: "number of nodes", down: none, up: one(num("nodes", 2), num("capacity", 2))},
	2: {name: "nodes", down: []layout{part3}, up: []layout{nodeStates}},
	3: {name: "relays above a node", down: one(digits("address")), up: one(list("relays", 1, address("address"), nodeWord))},
	4: {name: "state of the routing", down: none, up: []layout{routeState}},
	5: {name: "nodes that were not read", down: []layout{part3}, up: []layout{nodeStates}},
	6: {name: "nodes that registered themselves", down: []layout{part3}, up: []layout{nodeStates}},
	7: {name: "module IDs of nodes", down: []layout{part3}, up: one(num("total", 2), list("nodes", 1, append(layout{
		address("address"), bitsOf("node", 1, part{"module", 0, 4, []string{"meter", "collector"}}, part{"outdated", 7, 1, noYes})}, moduleID...)...))},
	9: {name: "size of the HPLC network", down: none, up: one(num("size", 2))},
	21: {name: "topology", down: []layout{part3}, up: one(num("total", 2), num("from", 2), list("nodes", 1,
		address("address"), num("tei", 2), num("proxyTEI", 2),
		bitsOf("node", 1, part{"level", 0, 4, nil}, part{"role", 4, 4, []string{"invalid", "leaf (STA)", "proxy (PCO)", "", "main node (CCO)"}})))},
	31: {name: "phases", down: []layout{part3}, up: one(num("total", 2), num("from", 2), atMost(64, list("nodes", 1, address("address"), phaseInfo)))},
	40: {name: "IDs on the production line", down: one(enum("device", deviceKinds...), address("address"), enum("of", idKinds...)),
		up: one(enum("device", deviceKinds...), address("address"), enum("of", idKinds...), kept("length", 1), keptHex("id"))},
	100: {name: "size of the network", down: none, up: one(num("size", 2))},
	101: {name: "radio nodes", down: []layout{part3}, up: one(num("total", 2), list("nodes", 1, address("address"), nodeWord, hexOf("version", 3)))},
	104: {name: "versions after an upgrade"},
	111: {name: "networks nearby", down: none, up: one(kept("networks", 1), num("nid", 3), address("mainNode"), keptList("neighbours", num("nid", 3)))},
	112: {name: "HPLC chips", down: []layout{part3}, up: one(num("total", 2), num("from", 2), list("nodes", 1,
		address("address"), enum("device", deviceKinds...), hexOf("chip", 24), bcd("version", 2)))},
	230: {name: "number of tasks", down: none, up: one(num("tasks", 1), setOf("numbers", 4, 0)), origin: anhui},
	231: {name: "a task", down: one(num("task", 1), protocol), origin: anhui,
		up: one(num("task", 1), protocol, measured("period", 1, "min"), num("meters", 2),
			each("kinds", MeterKinds, enum("kind", meterKinds...), list("items", 1, hexOf("item", 4))))},
	232: {name: "meters of a task", down: one(num("task", 1), num("from", 2), num("count", 1)), origin: anhui,
		up: one(num("task", 1), num("total", 2), list("meters", 1, address("address")))},
}

var phaseInfo = bitsOf("phases", 2,
	part{"phase1", 0, 1, noYes}, part{"phase2", 1, 1, noYes}, part{"phase3", 2, 1, noYes}, part{"fault", 3, 1, noYes},
	part{"meter", 4, 1, []string{"single-phase", "three-phase"}},
	part{"sequence", 5, 3, []string{"ABC (right)", "ACB", "BAC", "BCA", "CAB", "CBA", "neutral and phase swapped", ""}})

var steps = []string{"", "initial", "direct reading", "relay", "monitoring", "broadcast", "broadcast reading", "reading what is overheard", "idle"}

var routeState = layout{
	bitsOf("state", 1, part{"learned", 0, 1, noYes}, part{"working", 1, 1, noYes}, part{"event", 2, 1, noYes}, part{"correction", 4, 4, nil}),
	num("nodes", 2), num("read", 2), num("readByRelay", 2),
	bitsOf("switches", 1, part{"work", 0, 1, []string{"reading", "learning"}}, part{"registration", 1, 1, allowed}, part{"event", 2, 1, noYes},
		part{"areaIdentification", 3, 1, allowed}, part{"now", 6, 2, []string{"reading", "searching", "upgrading", "other"}}),
	num("rate", 2), num("relayLevel1", 1), num("relayLevel2", 1), num("relayLevel3", 1),
	enum("step1", steps...), enum("step2", steps...), enum("step3", steps...),
}

var routeSettings = map[Fn]entry{
	1: {name: "add nodes", down: one(list("nodes", 1, digits("address"), protocol))},
	2: {name: "delete nodes", down: one(list("nodes", 1, digits("address")))},
	3: {name: "fix the way to a node", down: one(digits("address"), atMost(MaxRelays, list("relays", 1, digits("address"))))},
	4: {name: "set the mode of routing", down: one(bitsOf("mode", 1,
		part{"work", 0, 1, []string{"reading", "learning"}}, part{"registration", 1, 1, allowed}, part{"correction", 4, 4, nil}), rate)},
	5:   {name: "let nodes register", down: one(clock, measured("duration", 2, "min"), num("repetitions", 1), measured("slots", 1, "of 150 ms"))},
	6:   {name: "end registration", down: none},
	100: {name: "set the size of the network", down: one(num("size", 2))},
	101: {name: "maintain the network", down: none},
	102: {name: "form the network", down: none},
	231: {name: "set or delete a task", origin: anhui, down: []layout{task(true), task(false)},
		up: one(num("task", 1), atMost(1, enum("enable", "delete", "enable")), protocol, measured("period", 1, "min"), enum("result", Anhui.Results...))},
	232: {name: "meters of a task", origin: anhui, down: one(num("task", 1), list("meters", 2, digits("address"))),
		up: one(num("task", 1), enum("result", "done", "no such task", "no such meter"))},
}

// task is the layout of 11H-F231: long, or without lengths of no items.
func task(long bool) layout {
	items := layout{enum("kind", meterKinds...), kept("count", 1), measured("replyLength", 2, "bytes"), keptList("items", hexOf("item", 4), num("length", 1))}
	if !long {
		items[2].kind = kindKeptLength
	}
	return layout{num("task", 1), atMost(1, enum("enable", "delete", "enable")), protocol, measured("period", 1, "min"), each("kinds", MeterKinds, items...)}
}
