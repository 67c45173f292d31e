package station

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect/drivertest"
	"gnomon/edge/collect/q376"
	"gnomon/schema"
)

// The driver for meters behind a CCO is held to what all drivers are.
func TestSuite(t *testing.T) {
	drivertest.Run(t, drivertest.Config{In: inBubble, Fresh: func(t *testing.T) *drivertest.Rig {
		area, err := New(Config{Meters: 4, Now: func() time.Time { return noon }, Dead: []Outage{{First: 4, Last: 4}}})
		if err != nil {
			t.Fatal(err)
		}
		w := &drivertest.Lines{Serve: func(c net.Conn) { area.Attach(c) }}
		t.Cleanup(func() { w.Cut(); area.Close() })
		r := rig{t: t, area: area}
		policy := r.parse(`,"parallel":1`, area.Meters())
		none := schema.Item{Name: "none", DI: "0206AA00", Format: "X.XXX", Scale: 1}
		return &drivertest.Rig{
			Driver: q376.NewOver(w.Open), Source: policy.Source,
			Meters: policy.Meters[:3], Dead: policy.Meters[3], Items: policy.ItemsOf(policy.Meters[0])[:6],
			Vain:   []drivertest.Vain{{Item: none, Reason: "exception"}},
			Budget: 2 * time.Minute, // a meter's turn takes 90 s at most
			Mute:   w.Mute, Cut: w.Cut, Settle: func(int) { synctest.Wait() },
		}
	}})
}
