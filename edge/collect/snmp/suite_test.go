package snmp

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"gnomon/edge/collect/drivertest"
	"gnomon/schema"
)

func TestSuite(t *testing.T) {
	drivertest.Run(t, drivertest.Config{Fresh: func(t *testing.T) *drivertest.Rig {
		one, two := startAgent(t, 1), startAgent(t, 2)
		d := New("")
		return &drivertest.Rig{
			Driver: d, Source: source(),
			Meters: []schema.Meter{one.meter(), two.meter()},
			Items:  []schema.Item{item("V", enterprise+"1.0"), item("F", enterprise+"3.0"), item("count", enterprise+"8.0")},
			Want: func(m schema.Meter, it schema.Item) string {
				n := m.ID[len(m.ID)-1:]
				return map[string]string{"V": "230" + n, "F": "49.9" + n, "count": "12345"}[it.Name]
			},
			Vain: []drivertest.Vain{
				{Item: item("absent", enterprise+"99.0"), Reason: "exception"},
				{Item: item("text", enterprise+"4.0"), Reason: "not-a-number"},
				{Item: schema.Item{Name: "none", OID: enterprise + "9.0", Scale: 0.1, None: "-32768"}, Reason: "no-value"},
			},
			Dead:   silent(t),
			Budget: 10 * time.Second, // two tries of a second each, on a machine that is busy
			Mute: func() func() {
				one.signal(syscall.SIGSTOP)
				return func() { one.signal(syscall.SIGCONT) }
			},
			Cut: func() func() {
				one.kill()
				return one.start
			},
			Settle: func(waiting int) {
				for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
					if having, wait := d.agent(one.address).Load(); having == 1 && wait == waiting {
						return
					} else if time.Now().After(limit) {
						panic(fmt.Sprintf("%d have the turn and %d wait, want %d", having, wait, waiting))
					}
				}
			},
		}
	}})
}
