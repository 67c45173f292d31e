package day

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"gnomon/edge/collect/medium"
	"gnomon/schema"
	"gnomon/simulator/station"
)

// area is one station area and the policy that reads it.
type area struct {
	name    string
	station *station.Station
	source  string // what its policy says of the line
	policy  *schema.Policy
	meters  map[string]*station.Meter // by their names in the policy
	wire    transcript

	mu   sync.Mutex
	line net.Conn // the node's end of it, now
}

// items are voltage, current, power factor, power and energy, as meters of either
// protocol have them.
const items = `[
	{"name":"V","di":"02010100","format":"XXX.X","unit":"V"},
	{"name":"I","di":"02020100","format":"XXX.XXX","signed":true,"unit":"A"},
	{"name":"PF","di":"02060000","format":"X.XXX","signed":true},
	{"name":"P","di":"02030000","format":"XX.XXXX","signed":true,"unit":"kW"},
	{"name":"E","di":"00010000","format":"XXXXXX.XX","unit":"kWh"},
	{"name":"V","oad":"20000201","scale":0.1,"unit":"V"},
	{"name":"I","oad":"20010201","scale":0.001,"unit":"A"},
	{"name":"PF","oad":"200A0201","scale":0.001},
	{"name":"P","oad":"20040201","scale":0.0001,"unit":"kW"},
	{"name":"E","oad":"00100201","scale":0.01,"unit":"kWh"}]`

// itemNames are those of a row.
var itemNames = []string{"V", "I", "PF", "P", "E"}

func newArea(name string, parallel int, cfg station.Config) (*area, error) {
	s, err := station.New(cfg)
	if err != nil {
		return nil, err
	}
	a := &area{name: name, station: s, meters: make(map[string]*station.Meter)}
	for _, m := range s.Meters() {
		a.meters[meterID(m)] = m
	}
	a.source = fmt.Sprintf(`,"parallel":%d,"baud":%d`, parallel, cfg.Baud)
	a.policy, err = a.parse(period, a.source)
	return a, err
}

func meterID(m *station.Meter) string { return fmt.Sprint("m", m.Number) }

// parse makes a policy for all meters of the area, with more said of its source.
func (a *area) parse(every time.Duration, source string) (*schema.Policy, error) {
	var meters []schema.Meter
	for _, m := range a.station.Meters() {
		meters = append(meters, schema.Meter{ID: meterID(m), Address: m.Digits(), Protocol: protocolOf(m)})
	}
	text, err := document(a.name, every, source, meters)
	if err != nil {
		return nil, err
	}
	return schema.ParsePolicy(text)
}

// document is a policy for the meters of an area: freezes, and what was missed is
// filled in from what meters keep, soon and in the night.
func document(name string, every time.Duration, source string, meters []schema.Meter) ([]byte, error) {
	type meter struct {
		ID       string          `json:"id"`
		Address  string          `json:"address"`
		Protocol schema.Protocol `json:"protocol"`
	}
	var list []meter
	for _, m := range meters {
		list = append(list, meter{m.ID, m.Address, m.Protocol})
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"period":%q,"collect":"freeze","delay":%q,"backfill":{"at":[%q,"00:30","01:00","02:00"],"days":1},
		"source":{"kind":"q376","port":"/dev/cco-%s"%s},"items":%s,"meters":%s}`,
		every, min(every/4, delay), "+"+min(every/2, soon).String(), name, source, items, text), nil
}

// After a slot, when it is read, and when what was missed is.
const (
	delay = time.Minute
	soon  = 6 * time.Minute
)

// open is a line to the CCO.
func (a *area) open() medium.Line {
	ours, theirs := net.Pipe()
	a.mu.Lock()
	a.line = ours
	a.mu.Unlock()
	go a.station.Attach(theirs)
	return medium.Over(&tapped{ours, &a.wire})
}

// hangUp ends the line that is open.
func (a *area) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.line != nil {
		_ = a.line.Close() // a pipe's end
	}
}

// What frames take within areas, and when a CCO repeats one that was lost.
const (
	resend     = 6500 * time.Millisecond
	hopDelay   = 60 * time.Millisecond
	meterDelay = 250 * time.Millisecond
)

// predicted is what reading all meters of the area is said to take, at the pace
// that they have on average, without losses and with them.
func (a *area) predicted(loss float64) (calm, lossy time.Duration) {
	hops := 0
	for _, m := range a.station.Meters() {
		hops += m.Hops
	}
	pace := schema.Pace{Reply: 2 * hopDelay * time.Duration(hops) / time.Duration(len(a.meters)), Frame: meterDelay}
	calm = a.policy.BusTime(pace).Slot
	pace.Again = time.Duration(loss * float64(resend))
	return calm, a.policy.BusTime(pace).Slot
}
