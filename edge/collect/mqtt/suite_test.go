package mqtt

import (
	"fmt"
	"testing"
	"time"

	"gnomon/edge/collect/drivertest"
	"gnomon/schema"
)

const open = "allow_anonymous true\npersistence false"

func TestSuite(t *testing.T) {
	drivertest.Run(t, drivertest.Config{Fresh: func(t *testing.T) *drivertest.Rig {
		m := startBroker(t, open)
		speak := func() {
			d := m.device("", "")
			for n := 1; n <= 3; n++ {
				d.say(fmt.Sprintf("plant/m%d", n), fmt.Sprintf(`{"V":230.%d,"energy":{"total":"12%d"},"s":"idle"}`, n, n), true)
				d.say(fmt.Sprintf("plant/m%d/raw", n), fmt.Sprint(n), true)
				d.say(fmt.Sprintf("plant/m%d/torn", n), `{"V":`, true)
			}
			d.leave()
		}
		speak()
		d := New(Config{BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond})
		return &drivertest.Rig{
			Driver: d, Source: m.source(), Listens: true,
			Meters: []schema.Meter{{ID: "m1", Address: "m1"}, {ID: "m2", Address: "m2"}, {ID: "m3", Address: "m3"}},
			Items:  []schema.Item{item("V", "plant/{address}", "V"), item("E", "plant/{address}", "energy.total"), item("raw", "plant/{address}/raw", "")},
			Want: func(m schema.Meter, it schema.Item) string {
				n := m.ID[1:]
				return map[string]string{"V": "230." + n, "E": "12" + n, "raw": n}[it.Name]
			},
			Vain: []drivertest.Vain{
				{Item: item("word", "plant/{address}", "s"), Reason: "not-a-number"},
				{Item: item("object", "plant/{address}", "energy"), Reason: "not-a-number"},
				{Item: item("absent", "plant/{address}", "nothing"), Reason: "no-value"},
				{Item: item("torn", "plant/{address}/torn", "V"), Reason: "garbled"},
			},
			Dead:   schema.Meter{ID: "dead", Address: "dead"},
			Budget: 30 * time.Second, // a time limit, on a machine that is busy
			Cut: func() func() {
				m.kill()
				b := d.broker(m.source())
				for {
					b.mu.Lock()
					up, changed := b.up, b.changed
					b.mu.Unlock()
					if !up {
						return func() { m.start(); speak() }
					}
					<-changed
				}
			},
		}
	}})
}
