package dlt645

import (
	"net"
	"testing"
	"testing/synctest"

	"gnomon/edge/collect/drivertest"
	"gnomon/schema"
)

func TestSuite(t *testing.T) {
	drivertest.Run(t, drivertest.Config{In: synctest.Test, Fresh: func(t *testing.T) *drivertest.Rig {
		s := &slave{meters: household()}
		w := &drivertest.Lines{Serve: func(c net.Conn) { s.serve(c) }}
		t.Cleanup(func() { w.Cut() })
		preamble := 4
		return &drivertest.Rig{
			Driver: NewOver(w.Open),
			Source: schema.Source{Kind: schema.SourceDLT645TCP, Address: "line:1", Timeout: schema.Duration(calm), Tries: 2, Preamble: &preamble},
			Meters: []schema.Meter{{ID: "one", Address: one}, {ID: "two", Address: two}},
			Items:  []schema.Item{item("E", "00010000", "XXXXXX.XX"), item("V", "02010100", "XXX.X"), item("F", "02800002", "XX.XX")},
			Want: func(m schema.Meter, it schema.Item) string {
				return map[string]string{"Eone": "0.26", "Vone": "100.1", "Fone": "50.01", "Etwo": "20", "Vtwo": "220", "Ftwo": "50.02"}[it.Name+m.ID]
			},
			Vain:   []drivertest.Vain{{Item: item("none", "02020100", "XXX.XXX"), Reason: "exception"}},
			Dead:   schema.Meter{ID: "dead", Address: "999999999998"},
			Budget: 7 * calm, // two tries, each after the line has come to rest
			Mute:   w.Mute,
			Cut:    w.Cut,
			Settle: func(int) { synctest.Wait() },
		}
	}})
}
