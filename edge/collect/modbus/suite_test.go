package modbus

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect/drivertest"
	"gnomon/schema"
)

// none is a unit that isn't there, and beyond a register that no unit has.
const (
	none   = 99
	beyond = 5000
)

// strict makes a slave answer as the suite wants it: units but one, registers up
// to a limit, NaN where that is asked for; or nobody while it is muted.
func strict() (s *slave, mute func() (again func())) {
	var mu sync.Mutex
	muted := false
	s = &slave{}
	s.fault = func(_ int, q question, good []byte) []reply {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case muted || q.unit == none:
			return nil
		case q.address+q.quantity > beyond:
			return []reply{{0, s.frame(q, q.function|0x80, 2)}}
		case q.function == 4:
			return []reply{{0, s.frame(q, 4, 4, 0x7f, 0xc0, 0, 0)}}
		}
		return []reply{{0, good}}
	}
	return s, func() func() {
		set := func(to bool) { mu.Lock(); muted = to; mu.Unlock() }
		set(true)
		return func() { set(false) }
	}
}

// suiteRig is what all media have in common.
func suiteRig(s schema.Source) *drivertest.Rig {
	return &drivertest.Rig{
		Source: s,
		Meters: []schema.Meter{{ID: "a", Unit: 1}, {ID: "b", Unit: 2}, {ID: "c", Unit: 3}},
		Items:  append(registers(1, 2, 300), schema.Item{Name: "coil", Function: 1, Address: 5, Type: "bool", Order: "ABCD", Scale: 1}),
		Want: func(m schema.Meter, it schema.Item) string {
			n := worth(byte(m.Unit), it.Address)
			if it.Function == 1 {
				return strconv.FormatBool(n&1 == 1)
			}
			return strconv.Itoa(int(n))
		},
		Vain: []drivertest.Vain{
			{Item: schema.Item{Name: "beyond", Function: 3, Address: beyond, Type: "uint16", Order: "ABCD", Scale: 1}, Reason: "exception"},
			{Item: schema.Item{Name: "nan", Function: 4, Address: 0, Type: "float32", Order: "ABCD", Scale: 1}, Reason: "not-a-number"},
		},
		Dead: schema.Meter{ID: "dead", Unit: none},
	}
}

func TestSuite_RTU(t *testing.T) {
	drivertest.Run(t, drivertest.Config{In: synctest.Test, Fresh: func(t *testing.T) *drivertest.Rig {
		s, mute := strict()
		s.rtu = true
		w := &drivertest.Lines{Serve: func(c net.Conn) { s.serve(c) }}
		t.Cleanup(func() { w.Cut() })
		hole := 16
		r := suiteRig(schema.Source{Kind: schema.SourceModbusRTUOver, Address: "line:1", Timeout: calm, Tries: 2, MaxHole: &hole})
		r.Driver, r.Mute, r.Cut = NewOver(w.Open), mute, w.Cut
		r.Settle = func(int) { synctest.Wait() }
		r.Budget = 2*3*calm.D() + time.Second // two tries, each after the line has come to rest
		return r
	}})
}

func TestSuite_TCP(t *testing.T) {
	drivertest.Run(t, drivertest.Config{Fresh: func(t *testing.T) *drivertest.Rig {
		s, mute := strict()
		o := attach(t, schema.SourceModbusTCP, s)
		o.source.Timeout = calm
		r := suiteRig(o.source)
		r.Driver, r.Mute = New(), mute
		r.Cut = func() func() { o.cut(); return o.join }
		r.Budget = 20 * calm.D()
		return r
	}})
}
